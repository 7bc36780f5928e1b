#include "core/weights/composition.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <utility>

#include "core/backend/backend.h"
#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/pair_sums.h"

namespace headscope::core {
namespace {

using Kind = CompositionKind;
constexpr int64_t kKinds = 3;
constexpr int64_t kWriters = 512;  // of one product

/// All thin matrices of a strip of the model axis: writers (and permuted writers after them) by layer, readers by layer, kind, head.
struct StripSet {
  std::vector<CompositionHeads::Strip> layers;
  std::vector<std::vector<CompositionHeads::Strip>> permuted;  // by draw
  std::vector<PairStrip> blocks;                               // of the strip's coordinates: all of them, head by head
};

using Order = std::vector<int64_t>;  // of the model's coordinates

/// Later layers [first, end) whose readers are composed with the writers of all layers before; end <= CompositionHeads::layers().
struct ReaderRange {
  int64_t first = 0, end = 0;
  int64_t count() const { return end - first; }
};

/// side: of a block of coordinates whose rows lie together.
StripSet loadStrip(const CompositionHeads& heads, ReaderRange range, int64_t first, int64_t width, int64_t side,
                   const std::vector<Order>& orders, const Job& job) {
  const int64_t L = range.end, H = heads.heads();
  StripSet set;
  for (int64_t l = 0; l < L; ++l) set.layers.push_back(heads.strip(l, first, width, side, l >= range.first, nullptr, job));
  for (const Order& order : orders) {
    set.permuted.emplace_back();
    for (int64_t l = 0; l + 1 < L; ++l) set.permuted.back().push_back(heads.strip(l, first, width, side, false, &order, job));
  }
  for (int64_t block = 0; block * side < width; ++block) {
    PairStrip thin{std::min(side, width - block * side), side, {}, {}, std::make_shared<char>()};
    const auto addHeads = [&](const Matrix& rows, const auto& headOf, std::vector<ThinRows>& to) {
      int64_t total = 0;
      for (int64_t h = 0; h < H; ++h) total += headOf(h).turn.rows();
      int64_t row = block * total;
      for (int64_t h = 0; h < H; ++h) {
        const int64_t count = headOf(h).turn.rows();
        to.push_back({rows.row(row), count});
        row += count;
      }
    };
    const auto addWriters = [&](const std::vector<CompositionHeads::Strip>& strips) {
      for (int64_t l = 0; l + 1 < L; ++l) {
        addHeads(
            strips[static_cast<size_t>(l)].writers, [&](int64_t h) -> const ThinHead& { return heads.writer(l, h); }, thin.writers);
      }
    };
    addWriters(set.layers);
    for (const auto& draw : set.permuted) addWriters(draw);
    for (int64_t l = range.first; l < L; ++l) {
      for (int64_t kind = 0; kind < kKinds; ++kind) {
        addHeads(
            set.layers[static_cast<size_t>(l)].readers[static_cast<size_t>(kind)],
            [&](int64_t h) -> const ThinHead& { return heads.reader(static_cast<Kind>(kind), l, h); }, thin.readers);
      }
    }
    set.blocks.push_back(std::move(thin));
  }
  return set;
}

/// Sums of <G_w, G_r> over the tiles done so far.
class PairSums {
 public:
  PairSums(ReaderRange range, int64_t heads, int64_t sets)
      : range_(range),
        heads_(heads),
        readers_(range.count() * kKinds * heads),
        sets_(sets),
        sums_(static_cast<size_t>(sets_ * (range.end - 1) * heads * readers_), 0.0) {}

  int64_t readers() const { return readers_; }
  double at(int64_t set, int64_t fromLayer, int64_t fromHead, int64_t toLayer, Kind kind, int64_t toHead) const {
    const int64_t writer = (set * (range_.end - 1) + fromLayer) * heads_ + fromHead;
    return sums_[static_cast<size_t>(writer * readers_ + ((toLayer - range_.first) * kKinds + static_cast<int64_t>(kind)) * heads_ +
                                     toHead)];
  }
  std::span<double> all() { return sums_; }

 private:
  ReaderRange range_;
  int64_t heads_, readers_, sets_;
  std::vector<double> sums_;
};

/// Kinds of writers: as they are, and one more for each permutation.
int64_t setsOf(const CompositionOptions& options) { return 1 + (options.withNull ? std::max<int64_t>(1, options.draws) : 0); }

/// What a computation holds beside strips and tiles.
struct HeldBytes {
  double writers = 0;      // small matrices of all writing heads
  double readerLayer = 0;  // small matrices of one later layer's readers, and its pairs with all earlier heads
};

HeldBytes heldBytes(const ModelSpec& spec, const CompositionOptions& options, int64_t layers) {
  const double L = static_cast<double>(layers), H = static_cast<double>(spec.heads), k = static_cast<double>(spec.headWidth),
               v = static_cast<double>(spec.valueWidth);
  double readers = 2 * k * k + v * v;  // floats a head of the three kinds
  if (spec.mla) {
    const double latent = static_cast<double>(spec.mla->latentRank), query = static_cast<double>(spec.mla->queryRank),
                 rope = static_cast<double>(spec.mla->rope);
    readers = k * (query > 0 ? query : k) + k * (latent + rope) + v * latent;
  }
  const double pair = 8.0 * static_cast<double>(setsOf(options)) + 4.0 * (options.withNull ? 3 : 1);
  return {4.0 * v * v * L * H, 4.0 * readers * H + pair * kKinds * H * L * H};
}

/// Layers whose readers are held at once.
int64_t readersAtOnce(const ModelSpec& spec, const CompositionOptions& options, int64_t layers) {
  const HeldBytes held = heldBytes(spec, options, layers);
  const double room = 0.55 * static_cast<double>(options.memoryBytes) - held.writers;
  return std::clamp<int64_t>(static_cast<int64_t>(room / held.readerLayer), 1, std::max<int64_t>(1, layers - 1));
}

struct TilePlan {
  int64_t side = 0;  // of a tile
  // Of the strip that stays and of those that pass by it, multiples of side; wide: the whole width where it fits. Every wide strip
  // costs a pass over the coordinates after it, narrow strips cost their number of tiles only.
  int64_t wide = 0, narrow = 0;
};

TilePlan planTiles(const CompositionHeads& heads, ReaderRange range, const CompositionOptions& options, const HeldBytes& held) {
  const int64_t H = heads.heads(), d = heads.width();
  const double sets = static_cast<double>(setsOf(options));
  double rows = 0;
  for (int64_t l = 0; l < range.end; ++l)
    rows += sets * static_cast<double>(heads.writerRows(l)) + static_cast<double>(heads.readerRows(l));
  const double slots = static_cast<double>((range.end - 1) * H) * sets + static_cast<double>(range.count() * H * kKinds),
               budget = static_cast<double>(options.memoryBytes);
  const auto tileBytes = [&](int64_t side) { return pairTileBytes(slots, side); };
  TilePlan plan;
  plan.side = 96;
  while (plan.side > 32 && tileBytes(plan.side) > 0.25 * budget) plan.side -= 32;
  plan.side = std::min(plan.side, d);
  const double free = budget - held.writers - static_cast<double>(range.count()) * held.readerLayer - tileBytes(plan.side);
  const double room = std::max(0.0, std::min(0.65 * budget, free) / (rows * 4));  // columns that fit
  if (room >= static_cast<double>(d)) {
    plan.wide = plan.narrow = d;
  } else {
    plan.narrow = std::max<int64_t>(1, std::llround(room / 6 / static_cast<double>(plan.side))) * plan.side;
    const int64_t narrow = plan.narrow * (options.backend != nullptr ? 2 : 1);  // one more is made while a device works
    plan.wide = std::max<int64_t>(1, (static_cast<int64_t>(room) - narrow) / plan.side) * plan.side;
  }
  return plan;
}

class TileSums {
 public:
  /// share: of the job's whole, [first, first + second).
  TileSums(const CompositionHeads& heads, ReaderRange range, const CompositionOptions& options, const HeldBytes& held,
           std::pair<double, double> share, Job& job)
      : heads_(heads),
        range_(range),
        plan_(planTiles(heads, range, options, held)),
        sets_(setsOf(options)),
        sums_(range, heads.heads(), sets_),
        share_(share),
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
    const int64_t d = heads_.width();
    const auto load = [&](int64_t first, int64_t width) {
      const int64_t columns = std::min(width, d - first);
      return loadStrip(heads_, range_, first, columns, backend_ == nullptr ? plan_.side : columns, orders_, job_);
    };
    for (int64_t first = 0; first < d; first += plan_.wide) {
      const StripSet a = load(first, plan_.wide);
      StripSet passing, next;
      const StripSet* other = &a;
      for (int64_t c = first + plan_.wide;; c += plan_.narrow) {
        const auto makeNext = [&] {
          if (c < d) next = load(c, plan_.narrow);
        };
        if (backend_ != nullptr) {  // while the device sums, the next strip is made here
          parallelFor(2, [&](int64_t i) { i == 0 ? pair(a, *other) : makeNext(); });
        } else {
          pair(a, *other);
          passing = StripSet{};
          makeNext();
        }
        if (c >= d) break;
        passing = std::exchange(next, StripSet{});
        other = &passing;
      }
    }
    return sums_;
  }

 private:
  /// Later layers in groups. A device's product packs all its writers anew, and a group of g layers multiplies about g/2 layers of writers
  /// for nothing: the sum of both is least near 4 sqrt(layers / heads). Here blocks of pairs are multiplied that a group wants.
  int64_t group() const {
    const double layers = static_cast<double>(range_.count()), heads = static_cast<double>(heads_.heads());
    return backend_ == nullptr ? 1 : std::max<int64_t>({1, 96 / (kKinds * heads_.heads()), std::llround(4 * std::sqrt(layers / heads))});
  }

  /// A group sees every layer before its last.
  PairPlan pairPlan() {
    PairPlan plan;
    plan.side = plan_.side;
    const int64_t H = heads_.heads(), L = range_.end;
    for (int64_t first = range_.first; first < L; first += group()) {
      const int64_t last = std::min(first + group(), L);
      const int64_t reader = (first - range_.first) * kKinds * H, readers = (last - first) * kKinds * H;
      for (int64_t set = 0; set < sets_; ++set) {
        for (int64_t w = 0; w < (last - 1) * H; w += kWriters)  // a product is a piece that can't be stopped
          plan.groups.push_back({set * (L - 1) * H + w, std::min(kWriters, (last - 1) * H - w), reader, readers});
      }
    }
    plan.progress = [this](double area) {
      doneArea_ += area;
      const double d = static_cast<double>(heads_.width());
      job_.report(share_.first + share_.second * doneArea_ / (d * d), "pairs of heads");
    };
    return plan;
  }

  void pair(const StripSet& a, const StripSet& b) {
    for (size_t i = 0; i < a.blocks.size(); ++i) {
      for (size_t j = &a == &b ? i : 0; j < b.blocks.size(); ++j) add(a.blocks[i], b.blocks[j]);
    }
  }

  void add(const PairStrip& a, const PairStrip& b) {
    if (backend_ != nullptr) {
      backend_->addPairSums(a, b, pairs_, sums_.all(), job_);
    } else {
      addPairSums(a, b, pairs_, sums_.all(), job_, pairNumbers(heads_.width()), &scratch_);
    }
  }

  const CompositionHeads& heads_;
  ReaderRange range_;
  TilePlan plan_;
  int64_t sets_;
  PairSums sums_;
  std::pair<double, double> share_;
  Backend* backend_;  // where the sums are taken; null: here
  Job& job_;
  std::vector<Order> orders_;
  PairPlan pairs_;
  PairScratch scratch_;
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

namespace {

int64_t layersIn(const ModelSpec& spec, const CompositionOptions& options) {
  return options.layers.empty() ? spec.layers : static_cast<int64_t>(options.layers.size());
}

constexpr double kResultShare = 0.4;  // of the limit that the values may take, so that strips and tiles have room beside them

/// Bytes of the values that composition() returns.
double resultBytes(const ModelSpec& spec, const CompositionOptions& options) {
  const double heads = static_cast<double>(layersIn(spec, options) * spec.heads);
  return 4.0 * kKinds * heads * heads * (options.withNull ? 3 : 1);
}

}  // namespace

double compositionBytes(const ModelSpec& spec, const CompositionOptions& options) {
  const int64_t layers = layersIn(spec, options);
  const HeldBytes held = heldBytes(spec, options, layers);
  return held.writers + static_cast<double>(layers) * held.readerLayer;
}

bool fitsComposition(const ModelSpec& spec, const CompositionOptions& options) {
  const HeldBytes held = heldBytes(spec, options, layersIn(spec, options));
  const double limit = std::max(static_cast<double>(options.memoryBytes), double{1 << 28}), result = resultBytes(spec, options);
  return result <= kResultShare * limit && result + held.writers + held.readerLayer <= limit;
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

[[noreturn]] void refuse(const Model& model, const CompositionOptions& options, const char* hint) {
  const double heads = static_cast<double>(layersIn(model.spec(), options) * model.spec().heads);
  char text[200];
  std::snprintf(text, sizeof text, "composition of all pairs of %.0f heads would hold %.1f GB, more than the %.1f GB allowed", heads,
                compositionBytes(model.spec(), options) / 1e9, static_cast<double>(options.memoryBytes) / 1e9);
  throw Error(text, model.name(), hint);
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

namespace {

/// Everything but the values.
Composition describe(const Model& model, const CompositionOptions& options) {
  Composition out;
  const ModelSpec& spec = model.spec();
  out.layerNumbers = layersOf(spec, options);
  out.layers = static_cast<int64_t>(out.layerNumbers.size());
  out.heads = spec.heads, out.width = spec.width, out.metric = options.metric;
  const double d = static_cast<double>(spec.width);
  out.expectation =
      options.metric == CompositionMetric::Kernel ? static_cast<double>(std::max(spec.headWidth, spec.valueWidth)) / d : 1.0 / std::sqrt(d);
  return out;
}

CompositionPart partOf(const CompositionHeads& heads, ReaderRange range, const PairSums& sums, const CompositionOptions& options) {
  CompositionPart part;
  part.heads = heads.heads(), part.firstReader = range.first, part.readerLayers = range.count();
  const size_t size = part.row(part.writerLayers(), 0);
  for (auto& v : part.values) v.assign(size, 0.0F);
  for (size_t k = 0; options.withNull && k < 3; ++k) part.null[k].assign(size, 0.0F), part.nullDeviation[k].assign(size, 0.0F);
  std::vector<float> drawn(static_cast<size_t>(setsOf(options) - 1));
  for (int64_t a = 0; a < part.writerLayers(); ++a) {
    for (int64_t i = 0; i < part.heads; ++i) {
      const double from = heads.writer(a, i).norm;
      for (int64_t b = std::max(range.first, a + 1); b < range.end; ++b) {
        for (int64_t j = 0; j < part.heads; ++j) {
          for (const Kind kind : {Kind::Query, Kind::Key, Kind::Value}) {
            const double to = heads.reader(kind, b, j).norm;
            const size_t k = static_cast<size_t>(kind), at = part.row(a, i) + static_cast<size_t>((b - range.first) * part.heads + j);
            part.values[k][at] = score(options.metric, sums.at(0, a, i, b, kind, j), from, to);
            if (!options.withNull) continue;
            for (size_t n = 0; n < drawn.size(); ++n)
              drawn[n] = score(options.metric, sums.at(static_cast<int64_t>(n) + 1, a, i, b, kind, j), from, to);
            const Draws spread = drawsOf(drawn);
            part.null[k][at] = static_cast<float>(spread.mean), part.nullDeviation[k][at] = static_cast<float>(spread.deviation);
          }
        }
      }
    }
  }
  return part;
}

/// Products of the pairs of the first `layers` layers, up to a factor.
double pairsBelow(int64_t layers) { return static_cast<double>(layers) * static_cast<double>(layers - 1); }

}  // namespace

Composition eachCompositionPart(const Model& model, const CompositionOptions& options, Job& job,
                                const std::function<void(const CompositionPart&)>& take) {
  Composition out = describe(model, options);
  const ModelSpec& spec = model.spec();
  const HeldBytes held = heldBytes(spec, options, out.layers);
  if (held.writers + held.readerLayer > std::max(static_cast<double>(options.memoryBytes), double{1 << 28}))
    refuse(model, options, "compose fewer layers at a time: --layers 0-7");
  if (out.layers < 2) {
    out.notes.push_back(spec.layers < 2 ? "the model has one layer: no head comes before another, so there is nothing to compose"
                                        : "one layer is chosen: no head comes before another, so there is nothing to compose");
    job.report(1.0);
    return out;
  }
  const int64_t step = readersAtOnce(spec, options, out.layers);
  CompositionHeads heads(model, options.fold, options.metric, out.layerNumbers, job, std::min(out.layers, 1 + step));
  for (int64_t first = 1; first < out.layers; first += step) {
    const ReaderRange range{first, std::min(out.layers, first + step)};
    heads.loadReaders(range.first, range.end, job);
    const double whole = pairsBelow(out.layers), before = pairsBelow(range.first) / whole, after = pairsBelow(range.end) / whole;
    TileSums tiles(heads, range, options, held, {0.1 + 0.9 * before, 0.9 * (after - before)}, job);
    take(partOf(heads, range, tiles.run(), options));
  }
  out.notes = heads.notes();
  return out;
}

Composition composition(const Model& model, const CompositionOptions& options, Job& job) {
  if (!fitsComposition(model.spec(), options))
    refuse(model, options, "headscope compose writes them part by part; or compose fewer layers at a time: --layers 0-7");
  Composition out = describe(model, options);
  const size_t size = static_cast<size_t>(out.layers * out.heads * out.layers * out.heads);
  for (auto& v : out.values) v.assign(size, 0.0F);
  for (size_t k = 0; options.withNull && k < 3; ++k) out.null[k].assign(size, 0.0F), out.nullDeviation[k].assign(size, 0.0F);
  const auto place = [&](const CompositionPart& part, const std::array<std::vector<float>, 3>& from,
                         std::array<std::vector<float>, 3>& to) {
    for (size_t k = 0; k < 3 && !from[k].empty(); ++k) {
      for (int64_t a = 0; a < part.writerLayers(); ++a) {
        for (int64_t i = 0; i < part.heads; ++i)
          std::copy_n(from[k].begin() + static_cast<std::ptrdiff_t>(part.row(a, i)), part.readerLayers * part.heads,
                      to[k].begin() + static_cast<std::ptrdiff_t>(out.index(a, i, part.firstReader, 0)));
      }
    }
  };
  CompositionOptions beside = options;  // what the values leave of the limit
  beside.memoryBytes -= std::min(options.memoryBytes, static_cast<uint64_t>(resultBytes(model.spec(), options)));
  out.notes = eachCompositionPart(model, beside, job, [&](const CompositionPart& part) {
                place(part, part.values, out.values);
                place(part, part.null, out.null);
                place(part, part.nullDeviation, out.nullDeviation);
              }).notes;
  return out;
}

}  // namespace headscope::core
