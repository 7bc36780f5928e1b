#include "core/tensor/matrix_unit.h"

#include <algorithm>
#include <cstring>

#if defined(__linux__) && defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AVX512F__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#define HEADSCOPE_AMX 1
#endif

namespace headscope::core {
namespace {

constexpr int64_t kSide = MatrixTile::kSide;
typedef uint32_t Words __attribute__((vector_size(64)));
typedef float Floats __attribute__((vector_size(64)));

template <typename To, typename From>
To as(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

/// To the nearest bf16 number, in the upper half.
Words nearest(const Floats& x) { return (as<Words>(x) + 0x8000U) & 0xFFFF0000U; }

template <TileNumbers kNumbers>
void setLines(const Floats& even, const Floats& odd, MatrixTile& tile, int64_t line) {
  void *first = tile.parts[0][static_cast<size_t>(line)].data(), *second = tile.parts[1][static_cast<size_t>(line)].data();
  if constexpr (kNumbers == TileNumbers::Whole) {
    std::memcpy(first, &even, sizeof even), std::memcpy(second, &odd, sizeof odd);
  } else {
    const Words a = nearest(even), b = nearest(odd), pairs = (a >> 16) | b,
                rest = (nearest(even - as<Floats>(a)) >> 16) | nearest(odd - as<Floats>(b));
    std::memcpy(first, &pairs, sizeof pairs), std::memcpy(second, &rest, sizeof rest);
  }
}

/// 16 x 16 numbers, rows to columns.
void turn(std::array<MatrixTile::Line, 16>& tile) {
  Words a[16], b[16];
  for (int r = 0; r < 16; ++r) std::memcpy(&a[r], tile[static_cast<size_t>(r)].data(), sizeof a[r]);
  for (int r = 0; r < 16; r += 2) {  // pairs of rows
    b[r] = __builtin_shufflevector(a[r], a[r + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
    b[r + 1] = __builtin_shufflevector(a[r], a[r + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
  }
  for (int r = 0; r < 16; r += 4) {  // of fours
    for (int s = r; s < r + 2; ++s) {
      a[s] = __builtin_shufflevector(b[s], b[s + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
      a[s + 2] = __builtin_shufflevector(b[s], b[s + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
  }
  for (int r = 0; r < 16; r += 8) {  // of eights
    for (int s = r; s < r + 4; ++s) {
      b[s] = __builtin_shufflevector(a[s], a[s + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
      b[s + 4] = __builtin_shufflevector(a[s], a[s + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    }
  }
  for (int s = 0; s < 8; ++s) {
    a[s] = __builtin_shufflevector(b[s], b[s + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    a[s + 8] = __builtin_shufflevector(b[s], b[s + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  }
  for (int r = 0; r < 16; ++r) std::memcpy(tile[static_cast<size_t>(r)].data(), &a[r], sizeof a[r]);
}

template <TileNumbers kNumbers>
void packColumnsOf(const float* rows, int64_t stride, int64_t count, int64_t columns, int64_t depth, MatrixTile* tiles) {
  const auto load = [&](int64_t row, int64_t first) {
    Floats x{};
    if (row < count && first < columns)
      std::memcpy(&x, rows + row * stride + first, sizeof(float) * static_cast<size_t>(std::min(kSide, columns - first)));
    return x;
  };
  const int64_t across = (columns + 2 * kSide - 1) / (2 * kSide) * 2, wholeColumns = columns / kSide, wholePairs = count / 2;
  for (int64_t pair = 0; pair < depth * kSide; ++pair) {
    const float* even = rows + 2 * pair * stride;
    int64_t c = 0;
    for (; c < wholeColumns && pair < wholePairs; ++c) {
      Floats a, b;
      std::memcpy(&a, even + c * kSide, sizeof a), std::memcpy(&b, even + stride + c * kSide, sizeof b);
      setLines<kNumbers>(a, b, tiles[c * depth + pair / kSide], pair % kSide);
    }
    for (; c < across; ++c)
      setLines<kNumbers>(load(2 * pair, c * kSide), load(2 * pair + 1, c * kSide), tiles[c * depth + pair / kSide], pair % kSide);
  }
}

template <TileNumbers kNumbers>
void packLinesOf(const float* rows, int64_t stride, int64_t count, int64_t across, int64_t line, MatrixTile* tiles) {
  for (int64_t r = 0; r < count; r += 2) {
    for (int64_t c = 0; c < across; ++c) {
      Floats even, odd;
      std::memcpy(&even, rows + r * stride + c * kSide, sizeof even);
      std::memcpy(&odd, rows + (r + 1) * stride + c * kSide, sizeof odd);
      setLines<kNumbers>(even, odd, *tiles++, line);
    }
  }
}

}  // namespace

void packColumns(TileNumbers numbers, const float* rows, int64_t stride, int64_t count, int64_t columns, int64_t depth, MatrixTile* tiles) {
  (numbers == TileNumbers::Whole ? packColumnsOf<TileNumbers::Whole> : packColumnsOf<TileNumbers::Parts>)(rows, stride, count, columns,
                                                                                                          depth, tiles);
}

void packLines(TileNumbers numbers, const float* rows, int64_t stride, int64_t count, int64_t across, int64_t line, MatrixTile* tiles) {
  (numbers == TileNumbers::Whole ? packLinesOf<TileNumbers::Whole> : packLinesOf<TileNumbers::Parts>)(rows, stride, count, across, line,
                                                                                                      tiles);
}

void clearLines(int64_t count, int64_t line, MatrixTile* tiles) {
  for (int64_t t = 0; t < count; ++t) {
    for (auto& part : tiles[t].parts) part[static_cast<size_t>(line)].fill(0);
  }
}

void turnTiles(int64_t count, MatrixTile* tiles) {
  for (int64_t t = 0; t < count; ++t) {
    for (auto& part : tiles[t].parts) turn(part);
  }
}

void setBytes(const int32_t* values, int64_t line, ByteTile& tile) {
  typedef uint8_t Bytes __attribute__((vector_size(64)));
  constexpr uint32_t kCarry = 0x00808080U;  // a byte of 128 and more is one less of the next
  Bytes fours[4];
  for (int i = 0; i < 4; ++i) {
    Words x;
    std::memcpy(&x, values + 16 * i, sizeof x);
    fours[i] = as<Bytes>((x + kCarry) ^ kCarry);
  }
  const auto take = [&](Bytes low, Bytes high, MatrixTile::Line& to) {  // every fourth byte of all
    const Bytes all = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
                                              23, 24, 25, 26, 27, 28, 29, 30, 31, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77,
                                              78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95);
    std::memcpy(to.data(), &all, sizeof all);
  };
#define HEADSCOPE_FOURTHS(a, b, i)                                                                                                       \
  __builtin_shufflevector(a, b, i, i + 4, i + 8, i + 12, i + 16, i + 20, i + 24, i + 28, i + 32, i + 36, i + 40, i + 44, i + 48, i + 52, \
                          i + 56, i + 60, i + 64, i + 68, i + 72, i + 76, i + 80, i + 84, i + 88, i + 92, i + 96, i + 100, i + 104,      \
                          i + 108, i + 112, i + 116, i + 120, i + 124, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, \
                          i, i, i, i, i, i, i, i, i, i)
  const auto at = static_cast<size_t>(line);
  take(HEADSCOPE_FOURTHS(fours[0], fours[1], 0), HEADSCOPE_FOURTHS(fours[2], fours[3], 0), tile.bytes[0][at]);
  take(HEADSCOPE_FOURTHS(fours[0], fours[1], 1), HEADSCOPE_FOURTHS(fours[2], fours[3], 1), tile.bytes[1][at]);
  take(HEADSCOPE_FOURTHS(fours[0], fours[1], 2), HEADSCOPE_FOURTHS(fours[2], fours[3], 2), tile.bytes[2][at]);
  take(HEADSCOPE_FOURTHS(fours[0], fours[1], 3), HEADSCOPE_FOURTHS(fours[2], fours[3], 3), tile.bytes[3][at]);
#undef HEADSCOPE_FOURTHS
}

void turnTiles(int64_t count, ByteTile* tiles) {
  for (int64_t t = 0; t < count; ++t) {
    for (auto& byte : tiles[t].bytes) turn(byte);
  }
}

#ifdef HEADSCOPE_AMX

namespace {

/// The intrinsics do not tell the compiler which bytes they read: what was written before must be in memory, not in its registers.
void finishWrites() { asm volatile("" ::: "memory"); }

struct alignas(64) TileShapes {
  uint8_t palette = 1, startRow = 0, reserved[14] = {};
  uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

}  // namespace

bool MatrixUnit::isThere() {
  static const bool isGranted = [] {
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return isGranted;
}

MatrixUnit::MatrixUnit() {
  if (!isThere()) return;
  static const TileShapes kShapes;
  finishWrites();
  _tile_loadconfig(&kShapes);
}

MatrixUnit::~MatrixUnit() {
  if (isThere()) _tile_release();
}

namespace {

/// Tiles 0 to 3 hold the sums, 4 and 5 left parts, 6 and 7 right parts.
void multiplyOnUnit(const MatrixTile* left, int64_t leftNext, const MatrixTile* right, int64_t rightNext, int64_t depth, float* sums,
                    int64_t stride, bool isAdded) {
  const int64_t bytes = stride * static_cast<int64_t>(sizeof(float));
  finishWrites();
  if (isAdded) {
    _tile_loadd(0, sums, bytes);
    _tile_loadd(1, sums + kSide, bytes);
    _tile_loadd(2, sums + kSide * stride, bytes);
    _tile_loadd(3, sums + kSide * stride + kSide, bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
#define HEADSCOPE_LEFT(part)                      \
  _tile_loadd(4, left[i].parts[part].data(), 64); \
  _tile_loadd(5, left[leftNext + i].parts[part].data(), 64)
#define HEADSCOPE_RIGHT(part)                      \
  _tile_loadd(6, right[i].parts[part].data(), 64); \
  _tile_loadd(7, right[rightNext + i].parts[part].data(), 64)
#define HEADSCOPE_ADD      \
  _tile_dpbf16ps(0, 4, 6); \
  _tile_dpbf16ps(1, 4, 7); \
  _tile_dpbf16ps(2, 5, 6); \
  _tile_dpbf16ps(3, 5, 7)
  for (int64_t i = 0; i < depth; ++i) {
    HEADSCOPE_LEFT(0);
    HEADSCOPE_RIGHT(1);
    HEADSCOPE_ADD;
    HEADSCOPE_RIGHT(0);
    HEADSCOPE_ADD;
    HEADSCOPE_LEFT(1);
    HEADSCOPE_ADD;
    HEADSCOPE_RIGHT(1);
    HEADSCOPE_ADD;
  }
#undef HEADSCOPE_LEFT
#undef HEADSCOPE_RIGHT
#undef HEADSCOPE_ADD
  _tile_stored(0, sums, bytes);
  _tile_stored(1, sums + kSide, bytes);
  _tile_stored(2, sums + kSide * stride, bytes);
  _tile_stored(3, sums + kSide * stride + kSide, bytes);
}

#define HEADSCOPE_LEFT(byte) _tile_loadd(7, left[i].bytes[byte].data(), 64)
#define HEADSCOPE_RIGHT(tile, byte) _tile_loadd(tile, right[i].bytes[byte].data(), 64)
#define HEADSCOPE_ADD(sum, tile) _tile_dpbssd(sum, 7, tile)
#define HEADSCOPE_STORE(tile, s) _tile_stored(tile, sums[s].data(), 64)

/// Sums 0 to 3 in tiles of their numbers; right bytes in 4 to 6, a left one in 7.
void lowSums(const ByteTile* left, const ByteTile* right, int64_t depth, MatrixUnit::ByteSums& sums) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t i = 0; i < depth; ++i) {
    HEADSCOPE_LEFT(0);
    HEADSCOPE_RIGHT(6, 3);
    HEADSCOPE_ADD(3, 6);
    HEADSCOPE_RIGHT(4, 0);
    HEADSCOPE_RIGHT(5, 1);
    HEADSCOPE_RIGHT(6, 2);
    HEADSCOPE_ADD(0, 4);
    HEADSCOPE_ADD(1, 5);
    HEADSCOPE_ADD(2, 6);
    HEADSCOPE_LEFT(1);
    HEADSCOPE_ADD(1, 4);
    HEADSCOPE_ADD(2, 5);
    HEADSCOPE_ADD(3, 6);
    HEADSCOPE_LEFT(2);
    HEADSCOPE_ADD(2, 4);
    HEADSCOPE_ADD(3, 5);
    HEADSCOPE_LEFT(3);
    HEADSCOPE_ADD(3, 4);
  }
  HEADSCOPE_STORE(0, 0);
  HEADSCOPE_STORE(1, 1);
  HEADSCOPE_STORE(2, 2);
  HEADSCOPE_STORE(3, 3);
}

/// Sums 4 to 6 in tiles 0 to 2.
void highSums(const ByteTile* left, const ByteTile* right, int64_t depth, MatrixUnit::ByteSums& sums) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  for (int64_t i = 0; i < depth; ++i) {
    HEADSCOPE_RIGHT(4, 1);
    HEADSCOPE_RIGHT(5, 2);
    HEADSCOPE_RIGHT(6, 3);
    HEADSCOPE_LEFT(1);
    HEADSCOPE_ADD(0, 6);
    HEADSCOPE_LEFT(2);
    HEADSCOPE_ADD(0, 5);
    HEADSCOPE_ADD(1, 6);
    HEADSCOPE_LEFT(3);
    HEADSCOPE_ADD(0, 4);
    HEADSCOPE_ADD(1, 5);
    HEADSCOPE_ADD(2, 6);
  }
  HEADSCOPE_STORE(0, 4);
  HEADSCOPE_STORE(1, 5);
  HEADSCOPE_STORE(2, 6);
}
#undef HEADSCOPE_LEFT
#undef HEADSCOPE_RIGHT
#undef HEADSCOPE_ADD
#undef HEADSCOPE_STORE

}  // namespace

#else

bool MatrixUnit::isThere() { return false; }
MatrixUnit::MatrixUnit() = default;
MatrixUnit::~MatrixUnit() = default;

#endif

namespace {

constexpr int64_t kRows = 8;  // whose sums stay in registers

/// Rows [row, row + 8) of a row of left tiles by two columns of right ones, in float32.
void multiplyRows(const MatrixTile* left, int64_t row, const MatrixTile* right, int64_t rightNext, int64_t depth, float* sums,
                  int64_t stride, bool isAdded) {
  Floats low[kRows] = {}, high[kRows] = {};
  for (int64_t i = 0; i < depth; ++i) {
    for (size_t p = 0; p < 2; ++p) {
      const MatrixTile::Line* rows = left[i].parts[p].data() + row;
      for (size_t k = 0; k < 16; ++k) {
        Floats a, b;
        std::memcpy(&a, right[i].parts[p][k].data(), sizeof a);
        std::memcpy(&b, right[rightNext + i].parts[p][k].data(), sizeof b);
        for (int64_t r = 0; r < kRows; ++r) {
          const float x = as<float>(rows[r][k]);
          low[r] += x * a, high[r] += x * b;
        }
      }
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {  // added last: a sum of short sums rounds less
    float* to = sums + r * stride;
    if (isAdded) {
      Floats a, b;
      std::memcpy(&a, to, sizeof a), std::memcpy(&b, to + kSide, sizeof b);
      low[r] += a, high[r] += b;
    }
    std::memcpy(to, &low[r], sizeof low[r]), std::memcpy(to + kSide, &high[r], sizeof high[r]);
  }
}

/// One 16 x 16 tile of sums, without the unit.
void multiplyPlainly(const MatrixTile& left, const MatrixTile& right, float* sums, int64_t stride) {
  for (const auto& rightPart : right.parts) {
    for (size_t pair = 0; pair < 16; ++pair) {
      Words columns;
      std::memcpy(&columns, rightPart[pair].data(), sizeof columns);
      const Floats even = as<Floats>(columns << 16), odd = as<Floats>(columns & 0xFFFF0000U);
      for (const auto& leftPart : left.parts) {
        for (size_t r = 0; r < 16; ++r) {
          const uint32_t row = leftPart[r][pair];
          float* to = sums + static_cast<int64_t>(r) * stride;
          Floats sum;
          std::memcpy(&sum, to, sizeof sum);
          sum += even * as<float>(row << 16) + odd * as<float>(row & 0xFFFF0000U);
          std::memcpy(to, &sum, sizeof sum);
        }
      }
    }
  }
}

}  // namespace

void MatrixUnit::multiply(TileNumbers numbers, const MatrixTile* left, int64_t leftNext, const MatrixTile* right, int64_t rightNext,
                          int64_t depth, float* sums, int64_t stride, bool isAdded) const {
  if (numbers == TileNumbers::Whole) {
    for (int64_t r = 0; r < 2; ++r) {
      for (int64_t row = 0; row < kSide; row += kRows)
        multiplyRows(left + r * leftNext, row, right, rightNext, depth, sums + (r * kSide + row) * stride, stride, isAdded);
    }
    return;
  }
#ifdef HEADSCOPE_AMX
  if (isThere()) {
    multiplyOnUnit(left, leftNext, right, rightNext, depth, sums, stride, isAdded);
    return;
  }
#endif
  for (int64_t r = 0; r < 2 * kSide && !isAdded; ++r) std::memset(sums + r * stride, 0, 2 * kSide * sizeof(float));
  for (int64_t i = 0; i < depth; ++i) {
    for (int64_t r = 0; r < 2; ++r) {
      for (int64_t c = 0; c < 2; ++c)
        multiplyPlainly(left[r * leftNext + i], right[c * rightNext + i], sums + r * kSide * stride + c * kSide, stride);
    }
  }
}

void MatrixUnit::multiply(const ByteTile* left, const ByteTile* right, int64_t depth, ByteSums& sums) const {
#ifdef HEADSCOPE_AMX
  if (isThere()) {
    finishWrites();
    lowSums(left, right, depth, sums);
    highSums(left, right, depth, sums);
    return;
  }
#endif
  sums = {};
  const auto byteOf = [](uint32_t four, int which) { return static_cast<int32_t>(static_cast<int8_t>(four >> (8 * which))); };
  for (int64_t i = 0; i < depth; ++i) {
    for (size_t l = 0; l < 4; ++l) {
      for (size_t n = 0; n < 4; ++n) {
        for (size_t r = 0; r < 16; ++r) {
          for (size_t four = 0; four < 16; ++four) {
            for (int which = 0; which < 4; ++which) {
              const int32_t row = byteOf(left[i].bytes[l][r][four], which);
              for (size_t c = 0; c < 16; ++c) sums[l + n][r][c] += row * byteOf(right[i].bytes[n][four][c], which);
            }
          }
        }
      }
    }
  }
}

}  // namespace headscope::core
