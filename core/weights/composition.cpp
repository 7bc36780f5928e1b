#include "core/weights/composition.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <span>

#include "core/backend/backend.h"
#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/pair_sums.h"

namespace headscope::core {
namespace {

using Kind = CompositionKind;
constexpr int64_t kKinds = 3;

/// All thin matrices of a strip of the model axis: writers (and permuted writers after them) by layer, readers by layer, kind, head.
struct StripSet {
  int64_t first = 0;
  std::vector<CompositionHeads::Strip> layers;
  std::vector<std::vector<CompositionHeads::Strip>> permuted;  // by draw
  PairStrip thin;                                              // all of them, head by head
};

using Order = std::vector<int64_t>;  // of the model's coordinates

StripSet loadStrip(const CompositionHeads& heads, int64_t first, int64_t width, const std::vector<Order>& orders, const Job& job) {
  const int64_t L = heads.layers(), H = heads.heads();
  StripSet set{first, {}, {}, {width, width, {}, {}}};
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
        set.thin.writers.push_back({strips[static_cast<size_t>(l)].writers.row(row), count});
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
        set.thin.readers.push_back({set.layers[static_cast<size_t>(l)].readers[static_cast<size_t>(kind)].row(row), count});
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
  std::span<double> all() { return sums_; }

 private:
  int64_t layers_, heads_, readers_, sets_;
  std::vector<double> sums_;
};

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
      : heads_(heads),
        plan_(planTiles(heads, options)),
        sets_(setsOf(options)),
        sums_(heads.layers(), heads.heads(), sets_),
        backend_(options.backend && options.backend->supports(Op::PairSums) ? options.backend.get() : nullptr),
        job_(job),
        pairs_(pairPlan()) {
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
  /// Later layers in groups, so that the products are wide enough.
  int64_t group() const { return std::max<int64_t>(1, 96 / (kKinds * heads_.heads())); }

  /// A group sees every layer before its last.
  PairPlan pairPlan() {
    PairPlan plan;
    plan.side = plan_.side;
    const int64_t H = heads_.heads(), L = heads_.layers();
    for (int64_t first = 1; first < L; first += group()) {
      const int64_t last = std::min(first + group(), L);
      for (int64_t set = 0; set < sets_; ++set)
        plan.groups.push_back({set * (L - 1) * H, (last - 1) * H, (first - 1) * kKinds * H, (last - first) * kKinds * H});
    }
    plan.progress = [this](double area) {
      doneArea_ += area;
      const double d = static_cast<double>(heads_.width());
      job_.report(0.1 + 0.9 * doneArea_ / (d * d), "pairs of heads");
    };
    return plan;
  }

  void pair(const StripSet& a, const StripSet& b) {
    if (backend_ != nullptr) {
      backend_->addPairSums(a.thin, b.thin, pairs_, sums_.all(), job_);
    } else {
      addPairSums(a.thin, b.thin, pairs_, sums_.all(), job_);
    }
  }

  const CompositionHeads& heads_;
  TilePlan plan_;
  int64_t sets_;
  PairSums sums_;
  Backend* backend_;  // where the sums are taken; null: here
  Job& job_;
  std::vector<Order> orders_;
  PairPlan pairs_;
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
