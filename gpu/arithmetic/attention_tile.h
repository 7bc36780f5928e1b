#pragma once
// Attention of one block of 64 queries over tiles of 64 keys with the online softmax (Milakov & Gimelshein 2018; Dao 2022), as a block of
// 256 threads does it: thread (x, y) of 16 x 16 holds rows 4y.. and columns 4x.. of the scores and of the output. Products go through
// shared memory in slices of 32; scores exist for one tile at a time; a tile that no row sees is not in the list of keys at all.
//
// The whole block algorithm is a template over the team of threads, so that CPU tests run every index of it (HostTileTeam):
//
//   team.each(f)               f(thread, registers) for every thread, then a barrier
//   team.joinRows(f, combine)  f(registers) is a float[4], one number a row: each becomes the combination over the row's 16 threads
//
// Keys say which keys the block's rows may see (SpanKeys: the model's own rule; ListedKeys: any mask):
//   tiles()   key(tile, column): -1 beyond the last   seen(tile, row, query, column): bits of columns column .. column + 3
#include <cstdint>

#include "gpu/arithmetic/four.h"
#include "gpu/arithmetic/online_softmax.h"

#if defined(__CUDA_ARCH__)
#define HEADSCOPE_UNROLL _Pragma("unroll")
#else
#define HEADSCOPE_UNROLL
#endif

namespace headscope::gpu {

inline constexpr int kTileSide = 64;      // queries of a block, keys of a tile, columns of V worked on at once
inline constexpr int kTileSlice = 32;     // dimensions, or keys, between two barriers
inline constexpr int kTilePitch = 68;     // floats between rows in shared memory: four a bank apart, and 16 bytes aligned
inline constexpr int kTileThreads = 256;  // 16 x 16
inline constexpr int kWidestHead = 256;   // of keys and of values
inline constexpr int kTileLanes = 16;     // threads of one row

/// One head. Columns are packed; rows are a stride apart.
struct TileHead {
  const float* query;  // [queries, keyWidth]
  const float* key;    // [N, keyWidth]
  const float* value;  // [N, valueWidth]
  float* out;          // [queries, valueWidth]
  int64_t queryStride, keyStride, valueStride, outStride;
  int64_t queries;
  int64_t firstPosition;  // of query 0, for distances and biases
  int keyWidth, valueWidth;
  float scale, softcap;
  float slope;  // of a linear bias: score -= slope |i - j|
};

/// Where the rows' statistics go, one number a query; null: not wanted.
struct TileStatistics {
  float *max, *logSumExp, *entropy, *distance;
};

/// The model's own rule: keys [begin, end) of the block, row by row those of online_softmax.h.
struct SpanKeys {
  int64_t begin, end, count;
  int64_t window;
  bool isCausal;

  HEADSCOPE_HD static SpanKeys of(int64_t firstQuery, int64_t lastQuery, int64_t count, bool isCausal, int64_t window) {
    return {visibleKeys(firstQuery, count, isCausal, window).begin, visibleKeys(lastQuery, count, isCausal, window).end, count, window,
            isCausal};
  }
  HEADSCOPE_HD int64_t tiles() const { return (end - begin + kTileSide - 1) / kTileSide; }
  HEADSCOPE_HD int64_t key(int64_t tile, int column) const {
    const int64_t at = begin + tile * kTileSide + column;
    return at < end ? at : -1;
  }
  HEADSCOPE_HD unsigned seen(int64_t tile, int, int64_t query, int column) const {
    const KeySpan span = visibleKeys(query, count, isCausal, window);
    const int64_t first = begin + tile * kTileSide + column;
    unsigned bits = 0;
    HEADSCOPE_UNROLL
    for (int j = 0; j < 4; ++j) bits |= first + j >= span.begin && first + j < span.end ? 1u << j : 0u;
    return bits;
  }
};

/// Any mask: the keys that the block sees at all, and a bit for each row and key.
struct ListedKeys {
  const int32_t* columns;  // [count], ascending
  const uint64_t* masks;   // [tiles, 64]: bit j of row r: columns[64 tile + j] is seen
  int64_t count;

  HEADSCOPE_HD int64_t tiles() const { return (count + kTileSide - 1) / kTileSide; }
  HEADSCOPE_HD int64_t key(int64_t tile, int column) const {
    const int64_t at = tile * kTileSide + column;
    return at < count ? columns[at] : -1;
  }
  HEADSCOPE_HD unsigned seen(int64_t tile, int row, int64_t, int column) const {
    return static_cast<unsigned>(masks[tile * kTileSide + row] >> column) & 15u;
  }
};

/// What one thread keeps. kGroups: columns of the output in units of 64.
template <int kGroups>
struct TileRegisters {
  float score[4][4];         // [row, column] of this tile; weights once they are made
  float sum[kGroups][4][4];  // of weights times values
  SoftmaxRow rows[4];        // max is the row's; the sums are of this thread's columns
  float joined[4];
};

/// The larger; a number that is not one wins.
struct LargerOf {
  HEADSCOPE_HD float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};
struct SumOf {
  HEADSCOPE_HD float operator()(float a, float b) const { return a + b; }
};

/// c [4, 4] += a^T b over one slice, a and b [32, 64] in shared memory.
HEADSCOPE_HD void multiplySlice(const float* a, const float* b, float (&c)[4][4]) {
  HEADSCOPE_UNROLL
  for (int s = 0; s < kTileSlice; ++s) {
    float left[4], right[4];
    loadFour(a + s * kTilePitch, left);
    loadFour(b + s * kTilePitch, right);
    HEADSCOPE_UNROLL
    for (int i = 0; i < 4; ++i) {
      HEADSCOPE_UNROLL
      for (int j = 0; j < 4; ++j) c[i][j] += left[i] * right[j];
    }
  }
}

HEADSCOPE_HD int slicesOf(int width) { return (width + kTileSlice - 1) / kTileSlice; }
/// Floats of shared memory: queries, a slice of keys or values, weights.
HEADSCOPE_HD int64_t tileFloats(int keyWidth) {
  return static_cast<int64_t>(slicesOf(keyWidth) * kTileSlice + kTileSlice + kTileSide) * kTilePitch;
}

/// Eight neighbouring dimensions of each row go to one warp: whole sectors of memory, and no two lanes to one bank.
struct TurnedPlace {
  int dimension, row;
};
HEADSCOPE_HD TurnedPlace turnedPlace(int index) { return {(index >> 9) * 8 + (index & 7), (index >> 3) & (kTileSide - 1)}; }

template <int kGroups, typename Team, typename Keys>
class TileAttention {
 public:
  using Registers = TileRegisters<kGroups>;

  HEADSCOPE_HD TileAttention(Team& team, const TileHead& head, int64_t firstQuery, const Keys& keys, float* memory)
      : team_(team),
        head_(head),
        keys_(keys),
        first_(firstQuery),
        queries_(memory),
        slice_(memory + slicesOf(head.keyWidth) * kTileSlice * kTilePitch),
        weights_(slice_ + kTileSlice * kTilePitch) {}

  HEADSCOPE_HD void run(const TileStatistics& statistics) {
    begin();
    const int64_t tiles = keys_.tiles();
    for (int64_t tile = 0; tile < tiles; ++tile) {
      scoreTile(tile);
      weighTile(tile);
      addValues(tile);
    }
    finish(statistics);
  }

 private:
  HEADSCOPE_HD static int column(int thread) { return (thread & (kTileLanes - 1)) * 4; }
  HEADSCOPE_HD static int row(int thread) { return (thread / kTileLanes) * 4; }

  HEADSCOPE_HD void begin() {
    team_.each([&](int thread, Registers& r) {
      const int size = slicesOf(head_.keyWidth) * kTileSlice * kTileSide;
      for (int e = thread; e < size; e += kTileThreads) {
        const TurnedPlace at = turnedPlace(e);
        const bool isInside = at.dimension < head_.keyWidth && first_ + at.row < head_.queries;
        queries_[at.dimension * kTilePitch + at.row] = isInside ? head_.query[(first_ + at.row) * head_.queryStride + at.dimension] : 0.0f;
      }
      HEADSCOPE_UNROLL
      for (int g = 0; g < kGroups; ++g) {
        HEADSCOPE_UNROLL
        for (int i = 0; i < 4; ++i) {
          HEADSCOPE_UNROLL
          for (int j = 0; j < 4; ++j) r.sum[g][i][j] = 0.0f;
        }
      }
      HEADSCOPE_UNROLL
      for (int i = 0; i < 4; ++i) r.rows[i] = SoftmaxRow{};
    });
  }

  HEADSCOPE_HD void scoreTile(int64_t tile) {
    const int slices = slicesOf(head_.keyWidth);
    for (int s = 0; s < slices; ++s) {
      team_.each([&](int thread, Registers&) {
        for (int e = thread; e < kTileSlice * kTileSide; e += kTileThreads) {
          const TurnedPlace at = turnedPlace(e);
          const int dimension = s * kTileSlice + at.dimension;
          const int64_t key = keys_.key(tile, at.row);
          slice_[at.dimension * kTilePitch + at.row] =
              key >= 0 && dimension < head_.keyWidth ? head_.key[key * head_.keyStride + dimension] : 0.0f;
        }
      });
      team_.each([&](int thread, Registers& r) {
        if (s == 0) {
          HEADSCOPE_UNROLL
          for (int i = 0; i < 4; ++i) {
            HEADSCOPE_UNROLL
            for (int j = 0; j < 4; ++j) r.score[i][j] = 0.0f;
          }
        }
        multiplySlice(queries_ + s * kTileSlice * kTilePitch + row(thread), slice_ + column(thread), r.score);
      });
    }
  }

  /// Scores into weights relative to the row's maximum so far; what was summed before shrinks to it.
  HEADSCOPE_HD void weighTile(int64_t tile) {
    team_.each([&](int thread, Registers& r) {
      HEADSCOPE_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int64_t query = first_ + row(thread) + i;
        const unsigned seen = query < head_.queries ? keys_.seen(tile, row(thread) + i, query, column(thread)) : 0u;
        float top = -INFINITY;
        HEADSCOPE_UNROLL
        for (int j = 0; j < 4; ++j) {
          float score = -INFINITY;
          if ((seen >> j & 1u) != 0) {
            score = softCapped(r.score[i][j] * head_.scale, head_.softcap);
            if (head_.slope != 0.0f) score -= head_.slope * distance(query, keys_.key(tile, column(thread) + j));
          }
          r.score[i][j] = score;
          top = LargerOf{}(top, score);
        }
        r.joined[i] = top;
      }
    });
    team_.joinRows([](Registers& r) -> float(&)[4] { return r.joined; }, LargerOf{});
    team_.each([&](int thread, Registers& r) {
      HEADSCOPE_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int64_t query = first_ + row(thread) + i;
        raise(r, i, LargerOf{}(r.joined[i], r.rows[i].max));
        const float shift = r.rows[i].max == -INFINITY ? 0.0f : r.rows[i].max;  // nothing seen yet: exp(-inf - 0) is 0
        float sum = 0.0f, scores = 0.0f, distances = 0.0f;
        HEADSCOPE_UNROLL
        for (int j = 0; j < 4; ++j) {
          const float shifted = r.score[i][j] - shift;
          const float weight = expf(shifted);
          sum += weight;
          scores += weight > 0.0f ? weight * shifted : 0.0f;
          distances += weight > 0.0f ? weight * distance(query, keys_.key(tile, column(thread) + j)) : 0.0f;
          r.score[i][j] = weight;
        }
        r.rows[i].sum += sum, r.rows[i].scoreSum += scores, r.rows[i].distanceSum += distances;
      }
      HEADSCOPE_UNROLL
      for (int j = 0; j < 4; ++j) {
        const float four[4] = {r.score[0][j], r.score[1][j], r.score[2][j], r.score[3][j]};
        storeFour(four, weights_ + (column(thread) + j) * kTilePitch + row(thread));
      }
    });
  }

  HEADSCOPE_HD void raise(Registers& r, int i, float top) {
    if (top == r.rows[i].max) return;
    // The output so far shrinks for every thread of the row, also where its own columns saw nothing yet
    const float factor = r.rows[i].max == -INFINITY ? 0.0f : expf(r.rows[i].max - top);
    HEADSCOPE_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      HEADSCOPE_UNROLL
      for (int j = 0; j < 4; ++j) r.sum[g][i][j] *= factor;
    }
    raiseMax(r.rows[i], top);
  }

  HEADSCOPE_HD void addValues(int64_t tile) {
    HEADSCOPE_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      for (int s = 0; s < kTileSide / kTileSlice; ++s) {
        team_.each([&](int thread, Registers&) {
          for (int e = thread; e < kTileSlice * kTileSide; e += kTileThreads) {
            const int c = g * kTileSide + (e & (kTileSide - 1)), j = e / kTileSide;
            const int64_t key = keys_.key(tile, s * kTileSlice + j);
            slice_[j * kTilePitch + (e & (kTileSide - 1))] =
                key >= 0 && c < head_.valueWidth ? head_.value[key * head_.valueStride + c] : 0.0f;
          }
        });
        team_.each([&](int thread, Registers& r) {
          multiplySlice(weights_ + s * kTileSlice * kTilePitch + row(thread), slice_ + column(thread), r.sum[g]);
        });
      }
    }
  }

  HEADSCOPE_HD void finish(const TileStatistics& statistics) {
    joinSums([](SoftmaxRow& row) -> float& { return row.sum; });
    joinSums([](SoftmaxRow& row) -> float& { return row.scoreSum; });
    joinSums([](SoftmaxRow& row) -> float& { return row.distanceSum; });
    team_.each([&](int thread, Registers& r) {
      HEADSCOPE_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int64_t query = first_ + row(thread) + i;
        if (query >= head_.queries) continue;
        const SoftmaxRow& sums = r.rows[i];
        const float inverse = sums.sum == 0.0f ? 0.0f : 1.0f / sums.sum;
        HEADSCOPE_UNROLL
        for (int g = 0; g < kGroups; ++g) {
          HEADSCOPE_UNROLL
          for (int j = 0; j < 4; ++j) {
            const int c = g * kTileSide + column(thread) + j;
            if (c < head_.valueWidth) head_.out[query * head_.outStride + c] = r.sum[g][i][j] * inverse;
          }
        }
        if (column(thread) != 0) continue;
        if (statistics.max != nullptr) statistics.max[query] = sums.max;
        if (statistics.logSumExp != nullptr) statistics.logSumExp[query] = logSumExpOf(sums);
        if (statistics.entropy != nullptr) statistics.entropy[query] = entropyBitsOf(sums);
        if (statistics.distance != nullptr) statistics.distance[query] = distanceOf(sums);
      }
    });
  }

  template <typename Part>
  HEADSCOPE_HD void joinSums(Part part) {
    team_.each([&](int, Registers& r) {
      HEADSCOPE_UNROLL
      for (int i = 0; i < 4; ++i) r.joined[i] = part(r.rows[i]);
    });
    team_.joinRows([](Registers& r) -> float(&)[4] { return r.joined; }, SumOf{});
    team_.each([&](int, Registers& r) {
      HEADSCOPE_UNROLL
      for (int i = 0; i < 4; ++i) part(r.rows[i]) = r.joined[i];
    });
  }

  HEADSCOPE_HD float distance(int64_t query, int64_t key) const {
    const int64_t apart = query + head_.firstPosition - key;
    return static_cast<float>(apart < 0 ? -apart : apart);
  }

  Team& team_;
  const TileHead& head_;
  const Keys& keys_;
  int64_t first_;
  float *queries_, *slice_, *weights_;
};

/// The threads of a block one after another, on the host. isBackwards: in reverse order, which shows where a step depends on it.
template <typename Registers>
class HostTileTeam {
 public:
  explicit HostTileTeam(bool isBackwards = false) : isBackwards_(isBackwards) {}
  template <typename F>
  void each(F f) {
    for (int t = 0; t < kTileThreads; ++t) {
      const int thread = isBackwards_ ? kTileThreads - 1 - t : t;
      f(thread, registers_[thread]);
    }
  }
  template <typename Part, typename Combine>
  void joinRows(Part part, Combine combine) {
    for (int first = 0; first < kTileThreads; first += kTileLanes) {
      for (int i = 0; i < 4; ++i) {
        float all = part(registers_[first])[i];
        for (int l = 1; l < kTileLanes; ++l) all = combine(all, part(registers_[first + l])[i]);
        for (int l = 0; l < kTileLanes; ++l) part(registers_[first + l])[i] = all;
      }
    }
  }

 private:
  Registers registers_[kTileThreads] = {};
  bool isBackwards_;
};

}  // namespace headscope::gpu
