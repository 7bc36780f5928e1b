#include "core/weights/lora.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <numeric>
#include <optional>

#include "core/backend/backend.h"
#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/model/adapter.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/intruders.h"
#include "core/weights/layer_factors.h"
#include "core/weights/lora_decompositions.h"
#include "core/weights/lora_sides.h"
#include "core/weights/lora_stacks.h"
#include "core/weights/small_norms.h"

namespace headscope::core {
namespace {

/// One head's two sides, the second one after the rotation.
struct HeadPair {
  const LoraSide &left, &right;
  int64_t leftIndex = 0, rightIndex = 0;
  const DoubleMatrix* middle = nullptr;  // R(Delta); null: none
  std::optional<HeadSide> turned;

  HeadPair(const LoraSide& l, int64_t li, const LoraSide& r, int64_t ri, const DoubleMatrix* m)
      : left(l), right(r), leftIndex(li), rightIndex(ri), middle(m) {
    if (m != nullptr) turned = r.head(ri).turned(*m);
  }
  const HeadSide& a() const { return left.head(leftIndex); }
  const HeadSide& b() const { return turned ? *turned : right.head(rightIndex); }
};

/// The stacks themselves, for the Householder route.
Spectrum exactChange(const HeadPair& pair) {
  const HeadSide &a = pair.a(), &b = pair.b();
  const HeadStacks sa = pair.left.stacks(pair.leftIndex), sb = pair.right.stacks(pair.rightIndex);
  DoubleMatrix after = pair.middle != nullptr ? multiply(*pair.middle, sb.base) : sb.base;
  if (b.isChanged()) {
    const DoubleMatrix change = multiply(b.coefficients, sb.directions);
    for (size_t i = 0; i < change.values.size(); ++i) after.values[i] += change.values[i];
  }
  const auto stack = [](const DoubleMatrix& x, bool hasX, const DoubleMatrix& y, bool hasY) {
    DoubleMatrix out((hasX ? x.rows : 0) + (hasY ? y.rows : 0), std::max(x.cols, y.cols));
    if (hasX) std::copy(x.values.begin(), x.values.end(), out.values.begin());
    if (hasY) std::copy(y.values.begin(), y.values.end(), out.values.end() - static_cast<int64_t>(y.values.size()));
    return out;
  };
  return householderSpectrum(stack(sa.directions, a.isChanged(), transposedMultiply(b.coefficients, sa.base), b.isChanged()),
                             stack(transposedMultiply(a.coefficients, after), a.isChanged(), sb.directions, b.isChanged()));
}

int64_t countIntruders(const DoubleMatrix& cosines) {
  int64_t count = 0;
  for (int64_t i = 0; i < std::min(cosines.rows, kIntruderVectors); ++i) {
    double best = 0;
    for (int64_t j = 0; j < cosines.cols; ++j) best = std::max(best, std::abs(cosines(i, j)));
    count += best < kIntruderCosine;
  }
  return count;
}

/// Of W = F_a^T F_b: singular vectors after against the base's, on both sides.
void findIntruders(const HeadSide& a, const HeadSide& b, LoraDecompositions& decompositions, LoraCircuit& out) {
  const GramBasis a0 = decompositions.basis(a.core.gram), b0 = decompositions.basis(b.core.gram),
                  a1 = decompositions.basis(a.coreAfter().gram), b1 = decompositions.basis(b.coreAfter().gram);
  const SmallSvd before = decompositions.svd(multiplyTransposed(a0.reverse, b0.reverse)),
                 after = decompositions.svd(multiplyTransposed(a1.reverse, b1.reverse));
  const auto cosines = [](const DoubleMatrix& u1, const GramBasis& t1, const DoubleMatrix& cross, const GramBasis& t0,
                          const DoubleMatrix& u0) {
    return multiplyTransposed(multiply(u1, multiplyTransposed(multiply(t1.turn, cross), t0.turn)), u0);
  };
  out.intrudersLeft = countIntruders(cosines(after.left, a1, a.afterTimesBase(), a0, before.left));
  out.intrudersRight = countIntruders(cosines(after.right, b1, b.afterTimesBase(), b0, before.right));
}

/// False where C D is exactly zero: heads that an adapter of their module leaves alone. NaN counts as an effect.
bool hasEffect(const HeadSide& side) {
  const auto hasEntry = [](const DoubleMatrix& m) {
    return std::any_of(m.values.begin(), m.values.end(), [](double v) { return v != 0; });
  };
  return side.isChanged() && hasEntry(side.coefficients) && hasEntry(side.directionGram);
}

/// What the spectra of one head's circuit are made of: before, after, and, where the adapter has an effect, the change.
struct CircuitCores {
  const HeadPair pair;
  const bool isChanged;
  LoraStacks stacks;
  FactorCore changeLeft, changeRight;
  std::vector<CorePair> pairs;  // of this and of the sides: it stays where it is

  CircuitCores(const LoraSide& l, int64_t li, const LoraSide& r, int64_t ri, const DoubleMatrix* middle)
      : pair(l, li, r, ri, middle), isChanged(hasEffect(pair.a()) || hasEffect(pair.b())) {
    const HeadSide &a = pair.a(), &b = pair.b();
    pairs.push_back({&a.core, &b.core});
    if (!isChanged) return;
    pairs.push_back({&a.coreAfter(), &b.coreAfter()});
    for (const CorePair& p : pairs) {
      if (!p.left->isFinite || !p.right->isFinite) return;
    }
    stacks = LoraStacks(a, b);
    changeLeft = gramCore(std::move(stacks.left), a.depth), changeRight = gramCore(std::move(stacks.right), a.depth);
    pairs.push_back({&changeLeft, &changeRight});
  }
  CircuitCores(const CircuitCores&) = delete;
};

LoraCircuit circuitOf(const CircuitCores& cores, std::span<Spectrum> spectra, const LoraOptions& options,
                      LoraDecompositions& decompositions) {
  LoraCircuit out;
  const HeadSide &a = cores.pair.a(), &b = cores.pair.b();
  const LoraStacks& s = cores.stacks;
  const int64_t k = a.width, d = a.depth, n = std::min(d, 2 * k);
  const bool isChanged = cores.isChanged;
  out.before = std::move(spectra[0]);
  out.after = isChanged ? std::move(spectra[1]) : out.before;
  const double base = innerProduct(a.core.gram, b.core.gram);
  if (!out.before.isFinite || !out.after.isFinite) {
    out.change = out.after;
    out.change.sigma.assign(static_cast<size_t>(n), std::numeric_limits<double>::quiet_NaN());
    out.change.isFinite = false;
    out.relative = std::numeric_limits<double>::quiet_NaN();
    return out;
  }
  if (isChanged) {
    out.change = std::move(spectra[2]);
    if (needsHouseholder(out.change)) out.change = exactChange(cores.pair);
    double squared = 0;
    for (const double v : out.change.sigma) squared += v * v;
    out.relative = base > 0 ? std::sqrt(squared / base) : squared > 0 ? std::numeric_limits<double>::infinity() : 0.0;

    const auto norm = [](double squaredNorm) { return std::sqrt(std::max(0.0, squaredNorm)); };
    out.termNorms = {norm(innerProduct(a.directionGram, s.rightBase)), norm(innerProduct(s.leftSecond, b.directionGram)),
                     norm(innerProduct(multiply(a.directionGram, s.middleEnd), s.middle))};
    if (options.withDetails) {
      const FactorCore da = gramCore(a.directionGram, d), db = gramCore(b.directionGram, d);
      out.termSigma = {decompositions.fusedExactly(da, gramCore(s.rightBase, d)).sigma,
                       decompositions.fusedExactly(gramCore(s.leftSecond, d), db).sigma,
                       decompositions.fusedExactly(da, db, &s.middle).sigma};
    }
  }
  out.change.sigma.resize(static_cast<size_t>(n), 0.0);
  if (options.withDetails && isChanged) findIntruders(a, b, decompositions, out);
  if (options.withDetails && !isChanged) out.intrudersLeft = out.intrudersRight = 0;  // the vectors are the base's own
  return out;
}

constexpr int64_t kTogether = 4;      // heads
constexpr double kIndependent = 1e4;  // condition of rows that are taken as independent

/// L = M B with orthonormal rows B: M^T [p, k] from L L^T. Directions below 1e-5 of the largest are left out: what decoding to float32
/// leaves of rows that depend on each other.
DoubleMatrix coordinatesOf(GramBasis basis) {
  DoubleMatrix& m = basis.reverse;
  const auto energy = [&](int64_t i) { return std::inner_product(m.row(i), m.row(i) + m.cols, m.row(i), 0.0); };
  while (m.rows > 1 && energy(m.rows - 1) < 1e-10 * energy(0)) --m.rows;
  m.values.resize(static_cast<size_t>(m.rows * m.cols));
  return std::move(m);
}

/// Principal cosines between the row spaces of dW_OV = L^T R and of the base's W_O. R's rows are more than dW_OV writes where those of
/// L depend on each other: ranks above the head's width, rows that DoRA changes one by one. Then M^T R takes R's place.
std::vector<double> writeCosines(const HeadSide& v, const HeadSide& o, LoraDecompositions& decompositions) {
  if (!hasEffect(v) && !hasEffect(o)) return {};
  const LoraStacks s(v, o);
  // Rows of the right stack against F_O: [C_V^T F_O,after F_O^T; D_O F_O^T], scaled as the stack is.
  const DoubleMatrix first = transposedMultiply(v.coefficients, o.afterTimesBase());
  DoubleMatrix cross(v.rank() + o.rank(), o.width);
  for (int64_t i = 0; i < v.rank(); ++i) {
    for (int64_t j = 0; j < cross.cols; ++j) cross(i, j) = first(i, j) / s.firstScale;
  }
  for (int64_t i = 0; i < o.rank(); ++i) {
    for (int64_t j = 0; j < cross.cols; ++j) cross(v.rank() + i, j) = o.cross(i, j) / s.secondScale;
  }
  double condition = 0;
  choleskyFactor(s.left, &condition);
  DoubleMatrix written = s.right;
  if (!(condition < kIndependent)) {
    const DoubleMatrix m = coordinatesOf(decompositions.basis(s.left));
    written = multiplyTransposed(multiply(m, s.right), m);
    cross = multiply(m, cross);
  }
  std::vector<double> cosines = decompositions.values(
      multiplyTransposed(multiply(decompositions.basis(written).turn, cross), decompositions.basis(o.core.gram).turn));
  for (double& c : cosines) c = std::min(1.0, c);
  return cosines;
}

/// Nothing where a number is not finite.
std::optional<IntruderCount> wholeIntruders(const Linear& before, const Linear& after, int64_t denseWidth, Backend* backend,
                                            const Job& job) {
  const Matrix w0 = decodeLinear(before, 0, -1, &job), w1 = decodeLinear(after, 0, -1, &job);
  if (!isAllFinite(w0) || !isAllFinite(w1)) return std::nullopt;
  return std::max(w0.rows(), w0.cols()) <= denseWidth ? denseIntruders(w0, w1) : krylovIntruders(w0, w1, job, backend);
}

/// One of the layer's attention maps, for the whole-matrix measures.
struct WholeMap {
  std::string name;
  const Linear *before, *after;
  bool isChanged() const { return before->weight.data != after->weight.data || after->change; }
};

std::vector<WholeMap> attentionMaps(const AttentionWeights& a0, const AttentionWeights& a1) {
  struct Part {
    Linear AttentionWeights::*map;
    const char* part;
  };
  using A = AttentionWeights;
  std::vector<WholeMap> maps;
  for (const Part& p : {Part{&A::query, " (q)"},
                        {&A::key, " (k)"},
                        {&A::value, " (v)"},
                        {&A::output, ""},
                        {&A::queryDown, ""},
                        {&A::queryUp, ""},
                        {&A::latentDown, " (latent)"},
                        {&A::ropeKey, " (rotary key)"},
                        {&A::keyUp, " (k)"},
                        {&A::valueUp, " (v)"}}) {
    const Linear &before = a0.*p.map, &after = a1.*p.map;
    if (before.empty()) continue;
    const bool isFused = before.weight.outputs() != before.weight.storedRows || before.weight.isInByOut;
    maps.push_back({before.module + (isFused ? p.part : ""), &before, &after});
  }
  return maps;
}

/// Where heads got their NaN and infinite numbers from, as it is stored.
std::vector<std::string> brokenTensors(const std::vector<WholeMap>& maps, const Job& job) {
  std::vector<std::string> notes;
  for (const WholeMap& map : maps) {
    if (!isAllFinite(decodeLinear(*map.before, 0, -1, &job))) {
      notes.push_back(map.name + ": NaN or infinite values");
    } else if (map.isChanged() && !isAllFinite(decodeLinear(*map.after, 0, -1, &job))) {
      notes.push_back(map.name + ": NaN or infinite values in the adapter");
    }
  }
  return notes;
}

}  // namespace

LoraLayer layerLora(const Model& base, const Model& adapted, int64_t layer, const LoraOptions& options, const Job& job) {
  const ModelSpec& spec = base.spec();
  if (options.offset != 0 && spec.positions != PositionKind::Rope)
    throw Error("the model has no rotary positions, so W_QK does not depend on an offset", spec.familyTitle, "leave --rope-offset out");
  using Kind = LoraSide::Kind;
  Backend* backend = options.backend.get();
  Backend* products = backend != nullptr && backend->supports(Op::InnerProducts) ? backend : nullptr;
  const auto maps = std::make_shared<const LoraMaps>(LoraMaps{base.attention(layer), adapted.attention(layer), spec});
  std::optional<DoubleMatrix> rotation;
  if (options.offset != 0) rotation = rotationMatrix(spec.rope, spec.headWidth, spec.mla ? spec.mla->nope : 0, options.offset);
  LoraLayer out;
  out.layer = layer;
  out.heads.resize(static_cast<size_t>(spec.heads));
  const bool isOnDevice = backend != nullptr && backend->supports(Op::SmallSvds);
  for (int64_t h = 0; h < spec.heads; ++h) out.heads[static_cast<size_t>(h)].layer = layer, out.heads[static_cast<size_t>(h)].head = h;
  const auto circuits = [&](bool isQk) {
    const LoraSide a(isQk ? Kind::Query : Kind::Value, maps, job, products), b(isQk ? Kind::Key : Kind::Output, maps, job, products);
    const double wholeA = a.squaredChange(), wholeB = b.squaredChange();
    std::vector<LoraDecompositions> decompositions(out.heads.size());
    // Values of several heads' cores are found side by side (tridiagonal_values.h), where threads are not short of work.
    const int64_t together = std::clamp<int64_t>(spec.heads / (2 * threadCount()), 1, kTogether);
    const auto someHeads = [&](int64_t first, int64_t count) {
      std::deque<CircuitCores> cores;
      std::vector<CorePair> pairs;
      for (int64_t h = first; h < first + count; ++h) {
        job.checkpoint();
        cores.emplace_back(a, h * a.heads() / spec.heads, b, h * b.heads() / spec.heads, isQk && rotation ? &*rotation : nullptr);
        pairs.insert(pairs.end(), cores.back().pairs.begin(), cores.back().pairs.end());
      }
      std::vector<Spectrum> spectra = isOnDevice ? std::vector<Spectrum>() : LoraDecompositions::fusedHere(pairs);
      size_t next = 0;
      for (int64_t h = first; h < first + count; ++h) {
        job.checkpoint();
        const CircuitCores& c = cores[static_cast<size_t>(h - first)];
        LoraDecompositions& own = decompositions[static_cast<size_t>(h)];
        HeadLora& head = out.heads[static_cast<size_t>(h)];
        LoraCircuit& circuit = isQk ? head.qk : head.ov;
        std::vector<Spectrum> noted;
        if (isOnDevice) noted = own.fused(c.pairs);
        circuit = circuitOf(c, isOnDevice ? noted : std::span(spectra).subspan(next, c.pairs.size()), options, own);
        next += c.pairs.size();
        const auto share = [](double part, double whole) { return whole > 0 ? part / whole : 0.0; };
        (isQk ? head.shareQ : head.shareV) = share(a.head(c.pair.leftIndex).squaredChange, wholeA);
        (isQk ? head.shareK : head.shareO) = share(b.head(c.pair.rightIndex).squaredChange, wholeB);
        if (!isQk && options.withDetails && circuit.before.isFinite && circuit.after.isFinite)
          head.writeCosines = writeCosines(c.pair.a(), c.pair.b(), own);
      }
    };
    const auto eachHead = [&] {
      parallelFor((spec.heads + together - 1) / together,
                  [&](int64_t i) { someHeads(i * together, std::min(together, spec.heads - i * together)); }, &job);
    };
    if (isOnDevice) {
      for (LoraDecompositions& d : decompositions) d.note();
      eachHead();
      LoraDecompositions::compute(decompositions, *backend, job);
    }
    eachHead();
  };
  if (backend != nullptr) {
    circuits(true), circuits(false);
  } else {  // side by side: what each does outside its heads' tasks takes one thread
    parallelFor(
        2, [&](int64_t i) { circuits(i == 0); }, &job);
  }
  for (const HeadLora& head : out.heads) {
    for (const auto& [circuit, name] : {std::pair{&head.qk, "W_QK"}, std::pair{&head.ov, "W_OV"}}) {
      if (!circuit->before.isFinite || !circuit->after.isFinite)
        out.notes.push_back("layer " + std::to_string(layer) + ": NaN or infinite values in " + name + " of head " +
                            std::to_string(head.head));
    }
  }
  const std::vector<WholeMap> whole = attentionMaps(maps->before, maps->after);
  if (!out.notes.empty()) {
    const std::vector<std::string> names = brokenTensors(whole, job);
    out.notes.insert(out.notes.begin(), names.begin(), names.end());
  }
  for (const WholeMap& map : whole) {
    if (!options.withDetails || !map.isChanged()) continue;
    job.checkpoint();
    if (const auto found = wholeIntruders(*map.before, *map.after, options.denseIntruderWidth, backend, job)) {
      out.intruders.push_back({map.name, layer, found->intruders, found->undecided});
    } else {
      out.notes.push_back(map.name + ": intruder dimensions of the whole matrix left out");
    }
  }
  return out;
}

std::vector<LoraModule> loraModules(const Model& adapted, const Job& job) {
  const Adapter* adapter = adapted.adapter();
  std::vector<LoraModule> modules;
  if (adapter == nullptr) return modules;
  const auto& factors = adapter->factors();
  modules.resize(factors.size());
  parallelFor(
      static_cast<int64_t>(factors.size()),
      [&](int64_t i) {
        const AdapterFactors& f = factors[static_cast<size_t>(i)];
        LoraModule& m = modules[static_cast<size_t>(i)];
        m.path = f.path;
        m.isAttention = f.path.find("attn") != std::string::npos || f.path.find("attention") != std::string::npos;
        if (f.down == nullptr || f.up == nullptr || f.down->shape.size() != 2 || f.up->shape.size() != 2) return;
        m.rank = f.down->shape[0];
        m.scale = adapter->config().scaleOf(f.path) * adapted.strength();
        const int64_t in = f.down->shape[1], out = f.up->shape[0];
        Matrix down(m.rank, in), up(out, m.rank), turned(m.rank, out);
        decodeToFloat(f.down->dtype, f.down->data, down.size(), down.data());
        decodeToFloat(f.up->dtype, f.up->data, up.size(), up.data());
        for (int64_t r = 0; r < m.rank; ++r) {
          for (int64_t c = 0; c < out; ++c) turned(r, c) = up(c, r);
        }
        m.sigma = FactoredMatrix(turned, down).spectrum().sigma;
        m.effectiveRank = effectiveRank(m.sigma, 0.001);  // of B A, whatever the strength
        for (double& s : m.sigma) s *= std::abs(m.scale);
        m.wastedRank = m.effectiveRank < 0 ? 0 : m.rank - m.effectiveRank;
      },
      &job);
  return modules;
}

}  // namespace headscope::core
