#include "core/weights/composition.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/parallel.h"

namespace headscope::core {
namespace {

using Kind = CompositionKind;
constexpr int64_t kKinds = 3;

/// One head's thin matrix inside a strip.
struct Slot {
  int64_t layer = 0, head = 0;
  const float* rows = nullptr;  // [count, strip width]
  int64_t count = 0;
};

/// All thin matrices of a strip of the model axis: writers (and permuted writers after them) by layer, readers by layer, kind, head.
struct StripSet {
  int64_t first = 0, width = 0;
  std::vector<CompositionHeads::Strip> layers;
  std::vector<std::vector<CompositionHeads::Strip>> permuted;  // by draw
  std::vector<Slot> writers, readers;
};

using Order = std::vector<int64_t>;  // of the model's coordinates

StripSet loadStrip(const CompositionHeads& heads, int64_t first, int64_t width, const std::vector<Order>& orders, const Job& job) {
  const int64_t L = heads.layers(), H = heads.heads();
  StripSet set{first, width, {}, {}, {}, {}};
  for (int64_t l = 0; l < L; ++l) set.layers.push_back(heads.strip(l, first, width, l > 0, nullptr, job));
  for (const Order& order : orders) {
    set.permuted.emplace_back();
    for (int64_t l = 0; l + 1 < L; ++l) set.permuted.back().push_back(heads.strip(l, first, width, false, &order, job));
  }
  const auto addWriters = [&](const std::vector<CompositionHeads::Strip>& strips) {
    for (int64_t l = 0; l + 1 < L; ++l) {
      int64_t row = 0;
      for (int64_t h = 0; h < H; ++h) {
        const int64_t count = heads.writer(l, h).turn.rows();
        set.writers.push_back({l, h, strips[static_cast<size_t>(l)].writers.row(row), count});
        row += count;
      }
    }
  };
  addWriters(set.layers);
  for (const auto& draw : set.permuted) addWriters(draw);
  for (int64_t l = 1; l < L; ++l) {
    for (int64_t kind = 0; kind < kKinds; ++kind) {
      int64_t row = 0;
      for (int64_t h = 0; h < H; ++h) {
        const int64_t count = heads.reader(static_cast<Kind>(kind), l, h).turn.rows();
        set.readers.push_back({l, h, set.layers[static_cast<size_t>(l)].readers[static_cast<size_t>(kind)].row(row), count});
        row += count;
      }
    }
  }
  return set;
}

/// Sums of <G_w, G_r> over the tiles done so far.
class PairSums {
 public:
  PairSums(int64_t layers, int64_t heads, int64_t sets)
      : layers_(layers),
        heads_(heads),
        readers_((layers - 1) * kKinds * heads),
        sets_(sets),
        sums_(static_cast<size_t>(sets_ * (layers - 1) * heads * readers_), 0.0) {}

  int64_t readers() const { return readers_; }
  double at(int64_t set, int64_t fromLayer, int64_t fromHead, int64_t toLayer, Kind kind, int64_t toHead) const {
    const int64_t writer = (set * (layers_ - 1) + fromLayer) * heads_ + fromHead;
    return sums_[static_cast<size_t>(writer * readers_ + ((toLayer - 1) * kKinds + static_cast<int64_t>(kind)) * heads_ + toHead)];
  }
  /// Adds weight * part [count, cols] at writers [writer, ...), readers [reader, ...).
  void add(int64_t writer, int64_t count, int64_t reader, int64_t cols, const Matrix& part, double weight) {
    for (int64_t w = 0; w < count; ++w) {
      double* to = sums_.data() + (writer + w) * readers_ + reader;
      const float* from = part.data() + w * cols;
      for (int64_t r = 0; r < cols; ++r) to[r] += weight * from[r];
    }
  }
  void add(const PairSums& other) {
    for (size_t i = 0; i < sums_.size(); ++i) sums_[i] += other.sums_[i];
  }

 private:
  int64_t layers_, heads_, readers_, sets_;
  std::vector<double> sums_;
};

/// Gram tiles [rows of a, rows of b] of every slot, one a row.
void formTiles(const std::vector<Slot>& a, const std::vector<Slot>& b, int64_t aCol, int64_t rows, int64_t aStride, int64_t bCol,
               int64_t cols, int64_t bStride, Matrix& tiles, const Job& job) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (i % 16 == 0) job.checkpoint();
    float* tile = tiles.data() + static_cast<int64_t>(i) * rows * cols;
    if (a[i].count == 0) {
      std::fill_n(tile, rows * cols, 0.0F);
      continue;
    }
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, static_cast<int>(rows), static_cast<int>(cols), static_cast<int>(a[i].count), 1.0F,
                a[i].rows + aCol, static_cast<int>(aStride), b[i].rows + bCol, static_cast<int>(bStride), 0.0F, tile,
                static_cast<int>(cols));
  }
}

/// Kinds of writers: as they are, and one more for each permutation.
int64_t setsOf(const CompositionOptions& options) { return 1 + (options.withNull ? std::max<int64_t>(1, options.draws) : 0); }

struct TilePlan {
  int64_t side = 0;        // of a tile
  int64_t stripWidth = 0;  // a multiple of side, or the whole width
};

TilePlan planTiles(const CompositionHeads& heads, const CompositionOptions& options) {
  const int64_t L = heads.layers(), H = heads.heads(), d = heads.width();
  const double sets = static_cast<double>(setsOf(options));
  double rows = 0;
  for (int64_t l = 0; l < L; ++l) rows += sets * static_cast<double>(heads.writerRows(l)) + static_cast<double>(heads.readerRows(l));
  const double slots = static_cast<double>((L - 1) * H) * (sets + kKinds), threads = threadCount(),
               budget = static_cast<double>(options.memoryBytes);
  TilePlan plan;
  plan.side = 96;
  while (plan.side > 32 && slots * static_cast<double>(plan.side * plan.side) * 4 * threads > 0.25 * budget) plan.side -= 32;
  plan.side = std::min(plan.side, d);
  const double room = std::max(0.0, budget * 0.65 / (rows * 4));  // columns that fit
  if (room >= static_cast<double>(d)) {
    plan.stripWidth = d;
  } else {
    plan.stripWidth = std::max<int64_t>(1, static_cast<int64_t>(room / 2) / plan.side) * plan.side;
  }
  return plan;
}

class TileSums {
 public:
  TileSums(const CompositionHeads& heads, const CompositionOptions& options, Job& job)
      : heads_(heads), plan_(planTiles(heads, options)), sets_(setsOf(options)), sums_(heads.layers(), heads.heads(), sets_), job_(job) {
    for (int64_t draw = 0; draw + 1 < sets_; ++draw) {
      Order order(static_cast<size_t>(heads.width()));
      std::iota(order.begin(), order.end(), 0);
      std::mt19937_64 engine(options.seed + static_cast<uint64_t>(draw));
      for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[engine() % i]);
      orders_.push_back(std::move(order));
    }
  }

  const PairSums& run() {
    const int64_t d = heads_.width(), strips = (d + plan_.stripWidth - 1) / plan_.stripWidth;
    const auto load = [&](int64_t s) {
      return loadStrip(heads_, s * plan_.stripWidth, std::min(plan_.stripWidth, d - s * plan_.stripWidth), orders_, job_);
    };
    for (int64_t i = 0; i < strips; ++i) {
      const StripSet a = load(i);
      pair(a, a);
      for (int64_t j = i + 1; j < strips; ++j) pair(a, load(j));
    }
    return sums_;
  }

 private:
  /// What one tile needs, kept from tile to tile: fresh pages cost as much as the products.
  struct Buffers {
    Matrix writers, readers;  // [slots, area], packed at the front
    Matrix part;              // [earlier heads, readers of a group]
  };
  struct Borrowed {
    Borrowed(TileSums& o, int64_t writers, int64_t readers) : owner(o) {
      {
        std::lock_guard lock(owner.mutex_);
        if (!owner.spare_.empty()) {
          buffers = std::move(owner.spare_.back());
          owner.spare_.pop_back();
        }
      }
      if (buffers) return;
      const int64_t area = owner.plan_.side * owner.plan_.side, H = owner.heads_.heads();
      buffers = std::make_unique<Buffers>(
          Buffers{Matrix(writers, area), Matrix(readers, area), Matrix(H * owner.heads_.layers(), owner.group() * kKinds * H)});
    }
    ~Borrowed() {
      std::lock_guard lock(owner.mutex_);
      owner.spare_.push_back(std::move(buffers));
    }
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;
    TileSums& owner;
    std::unique_ptr<Buffers> buffers;
  };

  /// Later layers in groups, so that the products are wide enough.
  int64_t group() const { return std::max<int64_t>(1, 96 / (kKinds * heads_.heads())); }

  /// All tiles between two strips; the upper triangle where they are one.
  void pair(const StripSet& a, const StripSet& b) {
    struct Tile {
      int64_t row, col;
    };
    std::vector<Tile> tiles;
    for (int64_t r = 0; r < a.width; r += plan_.side) {
      for (int64_t c = &a == &b ? r : 0; c < b.width; c += plan_.side) tiles.push_back({r, c});
    }
    parallelFor(
        static_cast<int64_t>(tiles.size()),
        [&](int64_t i) {
          const auto [row, col] = tiles[static_cast<size_t>(i)];
          tile(a, b, row, col);
        },
        &job_);
  }

  void tile(const StripSet& a, const StripSet& b, int64_t row, int64_t col) {
    const int64_t rows = std::min(plan_.side, a.width - row), cols = std::min(plan_.side, b.width - col), area = rows * cols;
    const double weight = &a == &b && row == col ? 1.0 : 2.0;
    const Borrowed tiles(*this, static_cast<int64_t>(a.writers.size()), static_cast<int64_t>(a.readers.size()));
    Matrix &writers = tiles.buffers->writers, &readers = tiles.buffers->readers;
    formTiles(a.writers, b.writers, row, rows, a.width, col, cols, b.width, writers, job_);
    formTiles(a.readers, b.readers, row, rows, a.width, col, cols, b.width, readers, job_);
    const int64_t H = heads_.heads(), L = heads_.layers();
    for (int64_t first = 1; first < L; first += group()) {  // a group sees every layer before its last
      const int64_t last = std::min(first + group(), L), reader = (first - 1) * kKinds * H, count = (last - first) * kKinds * H;
      for (int64_t set = 0; set < sets_; ++set) {
        job_.checkpoint();
        const int64_t writer = set * (L - 1) * H, earlier = (last - 1) * H;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(earlier), static_cast<int>(count), static_cast<int>(area),
                    1.0F, writers.data() + writer * area, static_cast<int>(area), readers.data() + reader * area, static_cast<int>(area),
                    0.0F, tiles.buffers->part.data(), static_cast<int>(count));
        std::lock_guard lock(mutex_);
        sums_.add(writer, earlier, reader, count, tiles.buffers->part, weight);
      }
    }
    std::lock_guard lock(mutex_);
    doneArea_ += weight * static_cast<double>(area);
    const double d = static_cast<double>(heads_.width());
    job_.report(0.1 + 0.9 * doneArea_ / (d * d), "pairs of heads");
  }

  const CompositionHeads& heads_;
  TilePlan plan_;
  int64_t sets_;
  PairSums sums_;
  Job& job_;
  std::vector<Order> orders_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Buffers>> spare_;
  double doneArea_ = 0;
};

float score(CompositionMetric metric, double sum, double from, double to) {
  if (std::isnan(from) || std::isnan(to)) return std::numeric_limits<float>::quiet_NaN();
  if (from <= 0 || to <= 0) return 0.0F;
  const double squared = std::max(0.0, sum);
  return static_cast<float>(metric == CompositionMetric::Kernel ? squared / std::min(from, to) : std::sqrt(squared) / (from * to));
}

}  // namespace

double Composition::baseline(CompositionKind kind, int64_t fromLayer, int64_t fromHead, int64_t toLayer, int64_t toHead) const {
  const auto& sample = null[static_cast<size_t>(kind)];
  return sample.empty() ? expectation : sample[index(fromLayer, fromHead, toLayer, toHead)];
}

double compositionBytes(const ModelSpec& spec, const CompositionOptions& options) {
  const double L = static_cast<double>(options.layers.empty() ? spec.layers : static_cast<int64_t>(options.layers.size()));
  const double H = static_cast<double>(spec.heads), pairs = L * H * L * H * kKinds, k = static_cast<double>(spec.headWidth),
               v = static_cast<double>(spec.valueWidth);
  double turns = v * v + 2 * k * k + v * v;  // floats a head: the writer, and the readers of three kinds
  if (spec.mla) {
    const double latent = static_cast<double>(spec.mla->latentRank), query = static_cast<double>(spec.mla->queryRank),
                 rope = static_cast<double>(spec.mla->rope);
    turns = v * v + k * (query > 0 ? query : k) + k * (latent + rope) + v * latent;
  }
  const double results = 4.0 * pairs * (options.withNull ? 3 : 1), sums = 8.0 * pairs * static_cast<double>(setsOf(options));
  return results + sums + 4.0 * turns * L * H;
}

namespace {

std::vector<int64_t> layersOf(const ModelSpec& spec, const CompositionOptions& options) {
  std::vector<int64_t> layers = options.layers;
  if (layers.empty()) {
    layers.resize(static_cast<size_t>(spec.layers));
    std::iota(layers.begin(), layers.end(), 0);
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i] < 0 || layers[i] >= spec.layers || (i > 0 && layers[i] <= layers[i - 1]))
      throw Error("layers to compose must be ascending and in the model, which has " + std::to_string(spec.layers),
                  "layer " + std::to_string(layers[i]));
  }
  return layers;
}

void requireMemory(const Model& model, const CompositionOptions& options, size_t layers) {
  const double bytes = compositionBytes(model.spec(), options), limit = static_cast<double>(options.memoryBytes);
  if (bytes <= std::max(limit, double{1 << 28})) return;
  const double heads = static_cast<double>(layers) * static_cast<double>(model.spec().heads);
  char text[200];
  std::snprintf(text, sizeof text, "composition of all pairs of %.0f heads would hold %.1f GB, more than the %.1f GB allowed", heads,
                bytes / 1e9, limit / 1e9);
  throw Error(text, model.name(), "compose fewer layers at a time: --layers 0-7");
}

struct Draws {
  double mean = 0, deviation = 0;
};

Draws drawsOf(const std::vector<float>& values) {
  Draws d;
  for (const float v : values) d.mean += v / static_cast<double>(values.size());
  for (const float v : values) d.deviation += (v - d.mean) * (v - d.mean);
  d.deviation = values.size() > 1 ? std::sqrt(d.deviation / static_cast<double>(values.size() - 1)) : d.mean * 0;
  return d;
}

}  // namespace

Composition composition(const Model& model, const CompositionOptions& options, Job& job) {
  Composition out;
  const ModelSpec& spec = model.spec();
  out.layerNumbers = layersOf(spec, options);
  out.layers = static_cast<int64_t>(out.layerNumbers.size());
  out.heads = spec.heads, out.width = spec.width, out.metric = options.metric;
  requireMemory(model, options, out.layerNumbers.size());
  const double d = static_cast<double>(spec.width);
  out.expectation =
      options.metric == CompositionMetric::Kernel ? static_cast<double>(std::max(spec.headWidth, spec.valueWidth)) / d : 1.0 / std::sqrt(d);
  const size_t size = static_cast<size_t>(out.layers * out.heads * out.layers * out.heads);
  for (auto& v : out.values) v.assign(size, 0.0F);
  for (size_t k = 0; options.withNull && k < 3; ++k) out.null[k].assign(size, 0.0F), out.nullDeviation[k].assign(size, 0.0F);
  if (out.layers < 2) {
    out.notes.push_back(spec.layers < 2 ? "the model has one layer: no head comes before another, so there is nothing to compose"
                                        : "one layer is chosen: no head comes before another, so there is nothing to compose");
    job.report(1.0);
    return out;
  }
  const CompositionHeads heads(model, options.fold, options.metric, out.layerNumbers, job);
  TileSums tiles(heads, options, job);
  const PairSums& sums = tiles.run();
  std::vector<float> drawn(static_cast<size_t>(setsOf(options) - 1));
  for (int64_t a = 0; a + 1 < out.layers; ++a) {
    for (int64_t i = 0; i < out.heads; ++i) {
      const double from = heads.writer(a, i).norm;
      for (int64_t b = a + 1; b < out.layers; ++b) {
        for (int64_t j = 0; j < out.heads; ++j) {
          for (const Kind kind : {Kind::Query, Kind::Key, Kind::Value}) {
            const double to = heads.reader(kind, b, j).norm;
            const size_t k = static_cast<size_t>(kind), at = out.index(a, i, b, j);
            out.values[k][at] = score(options.metric, sums.at(0, a, i, b, kind, j), from, to);
            if (!options.withNull) continue;
            for (size_t n = 0; n < drawn.size(); ++n)
              drawn[n] = score(options.metric, sums.at(static_cast<int64_t>(n) + 1, a, i, b, kind, j), from, to);
            const Draws spread = drawsOf(drawn);
            out.null[k][at] = static_cast<float>(spread.mean), out.nullDeviation[k][at] = static_cast<float>(spread.deviation);
          }
        }
      }
    }
  }
  out.notes = heads.notes();
  return out;
}

}  // namespace headscope::core
