#include "core/weights/lora.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/model/adapter.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/lora_sides.h"

namespace headscope::core {
namespace {

constexpr int64_t kTopVectors = 10;
constexpr double kIntruderCosine = 0.5;

/// [a, b; b^T, c]
DoubleMatrix blocks(const DoubleMatrix& a, const DoubleMatrix& b, const DoubleMatrix& c) {
  const int64_t n = a.rows, m = c.rows;
  DoubleMatrix out(n + m, n + m);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) out(i, j) = a(i, j);
    for (int64_t j = 0; j < m; ++j) out(i, n + j) = out(n + j, i) = b(i, j);
  }
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < m; ++j) out(n + i, n + j) = c(i, j);
  }
  return out;
}

double trace(const DoubleMatrix& a) {
  double sum = 0;
  for (int64_t i = 0; i < a.rows; ++i) sum += a(i, i);
  return sum;
}

void scaleBlock(DoubleMatrix& g, int64_t first, int64_t count, double factor) {
  for (int64_t i = first; i < first + count; ++i) {
    for (int64_t j = 0; j < g.cols; ++j) g(i, j) *= factor;
    for (int64_t j = 0; j < g.rows; ++j) g(j, i) *= factor;
  }
}

/// C^T G C
DoubleMatrix within(const DoubleMatrix& c, const DoubleMatrix& g) { return transposedMultiply(c, multiply(g, c)); }

/// dW = [D_a; C_b^T F_a]^T [C_a^T F_b,after; D_b] as Gram matrices of the two stacks, the halves brought to one size.
struct Stacks {
  DoubleMatrix left, right;
  double firstScale = 1, secondScale = 1;  // what D_a and C_b^T F_a were multiplied by; their partners by the inverse
};

double balance(double left, double right) { return left > 0 && right > 0 ? std::pow(right / left, 0.25) : 1.0; }

Stacks stacksOf(const HeadSide& a, const HeadSide& b) {
  const DoubleMatrix leftSecond = within(b.coefficients, a.gram), rightFirst = within(a.coefficients, b.after);
  // F_b,after D_b^T = F_b D_b^T + C_b D_b D_b^T
  DoubleMatrix meeting = b.cross.transposed();
  const DoubleMatrix own = multiply(b.coefficients, b.directionGram);
  for (size_t i = 0; i < meeting.values.size(); ++i) meeting.values[i] += own.values[i];
  Stacks s;
  s.left = blocks(a.directionGram, multiply(a.cross, b.coefficients), leftSecond);
  s.right = blocks(rightFirst, transposedMultiply(a.coefficients, meeting), b.directionGram);
  s.firstScale = balance(trace(a.directionGram), trace(rightFirst));
  s.secondScale = balance(trace(leftSecond), trace(b.directionGram));
  const int64_t ra = a.rank(), rb = b.rank();
  scaleBlock(s.left, 0, ra, s.firstScale), scaleBlock(s.right, 0, ra, 1 / s.firstScale);
  scaleBlock(s.left, ra, rb, s.secondScale), scaleBlock(s.right, ra, rb, 1 / s.secondScale);
  return s;
}

/// The stacks themselves, for the Householder route.
Spectrum exactChange(const HeadSide& a, const HeadSide& b) {
  const DoubleMatrix da = DoubleMatrix::from(a.directions), db = DoubleMatrix::from(b.directions), fa = DoubleMatrix::from(a.base);
  DoubleMatrix after = DoubleMatrix::from(b.base);
  const DoubleMatrix change = multiply(b.coefficients, db);
  for (size_t i = 0; i < change.values.size(); ++i) after.values[i] += change.values[i];
  const auto stack = [](const DoubleMatrix& x, const DoubleMatrix& y) {
    DoubleMatrix out(x.rows + y.rows, std::max(x.cols, y.cols));
    std::copy(x.values.begin(), x.values.end(), out.values.begin());
    std::copy(y.values.begin(), y.values.end(), out.values.begin() + static_cast<int64_t>(x.values.size()));
    return out;
  };
  return householderSpectrum(stack(da, transposedMultiply(b.coefficients, fa)), stack(transposedMultiply(a.coefficients, after), db));
}

/// Orthonormal coordinates of a factor from its Gram matrix: turn F has orthonormal rows, F = turn^+ (turn F).
struct Basis {
  DoubleMatrix turn;     // Lambda^-1/2 E [r, k]
  DoubleMatrix reverse;  // Lambda^1/2 E [r, k]: F = reverse^T (turn F)
};

Basis basisOf(const DoubleMatrix& g) {
  DoubleMatrix vectors;
  const std::vector<double> values = symmetricEigen(g, vectors);
  int64_t rank = 0;
  while (rank < g.rows && values[static_cast<size_t>(rank)] > 0 && values[static_cast<size_t>(rank)] > 1e-12 * values[0]) ++rank;
  Basis b{DoubleMatrix(rank, g.rows), DoubleMatrix(rank, g.rows)};
  for (int64_t r = 0; r < rank; ++r) {
    const double root = std::sqrt(values[static_cast<size_t>(r)]);
    for (int64_t c = 0; c < g.rows; ++c) b.turn(r, c) = vectors(r, c) / root, b.reverse(r, c) = vectors(r, c) * root;
  }
  return b;
}

int64_t countIntruders(const DoubleMatrix& cosines) {
  int64_t count = 0;
  for (int64_t i = 0; i < std::min(cosines.rows, kTopVectors); ++i) {
    double best = 0;
    for (int64_t j = 0; j < cosines.cols; ++j) best = std::max(best, std::abs(cosines(i, j)));
    count += best < kIntruderCosine;
  }
  return count;
}

/// Of W = F_a^T F_b: singular vectors after against the base's, on both sides.
void findIntruders(const HeadSide& a, const HeadSide& b, LoraCircuit& out) {
  const Basis a0 = basisOf(a.gram), b0 = basisOf(b.gram), a1 = basisOf(a.after), b1 = basisOf(b.after);
  const SmallSvd before = smallSvd(multiplyTransposed(a0.reverse, b0.reverse)),
                 after = smallSvd(multiplyTransposed(a1.reverse, b1.reverse));
  const auto cosines = [](const DoubleMatrix& u1, const Basis& t1, const DoubleMatrix& cross, const Basis& t0, const DoubleMatrix& u0) {
    return multiplyTransposed(multiply(u1, multiplyTransposed(multiply(t1.turn, cross), t0.turn)), u0);
  };
  out.intrudersLeft = countIntruders(cosines(after.left, a1, a.afterTimesBase(), a0, before.left));
  out.intrudersRight = countIntruders(cosines(after.right, b1, b.afterTimesBase(), b0, before.right));
}

LoraCircuit circuitOf(const HeadSide& a, const HeadSide& b, const LoraOptions& options) {
  LoraCircuit out;
  const int64_t k = a.base.rows, d = a.base.cols, n = std::min(d, 2 * k);
  out.before = fusedSpectrum(a.core, b.core);
  out.after = fusedSpectrum(a.coreAfter, b.coreAfter);
  const double base = innerProduct(a.gram, b.gram);
  if (!out.before.isFinite || !out.after.isFinite) {
    out.change = out.after;
    out.change.sigma.assign(static_cast<size_t>(n), std::numeric_limits<double>::quiet_NaN());
    out.change.isFinite = false;
    out.relative = std::numeric_limits<double>::quiet_NaN();
    return out;
  }
  if (a.isChanged() || b.isChanged()) {
    const Stacks s = stacksOf(a, b);
    out.change = fusedSpectrum(factorCore(s.left, d), factorCore(s.right, d));
    if (needsHouseholder(out.change)) out.change = exactChange(a, b);
    double squared = 0;
    for (const double v : out.change.sigma) squared += v * v;
    out.relative = base > 0 ? std::sqrt(squared / base) : squared > 0 ? std::numeric_limits<double>::infinity() : 0.0;

    const DoubleMatrix middle = transposedMultiply(a.coefficients, b.coefficients);
    const DoubleMatrix firstRight = within(a.coefficients, b.gram), secondLeft = within(b.coefficients, a.gram);
    const auto norm = [](double squaredNorm) { return std::sqrt(std::max(0.0, squaredNorm)); };
    out.termNorms = {norm(innerProduct(a.directionGram, firstRight)), norm(innerProduct(secondLeft, b.directionGram)),
                     norm(innerProduct(multiply(multiply(a.directionGram, middle), b.directionGram), middle))};
    if (options.withDetails) {
      const FactorCore da = factorCore(a.directionGram, d), db = factorCore(b.directionGram, d);
      out.termSigma = {fusedSpectrum(da, factorCore(firstRight, d)).sigma, fusedSpectrum(factorCore(secondLeft, d), db).sigma,
                       fusedSpectrum(da, db, &middle).sigma};
    }
  }
  out.change.sigma.resize(static_cast<size_t>(n), 0.0);
  if (options.withDetails) findIntruders(a, b, out);
  return out;
}

/// Principal cosines between the row spaces of dW_OV's right stack and of the base's W_O.
std::vector<double> writeCosines(const HeadSide& v, const HeadSide& o) {
  if (!v.isChanged() && !o.isChanged()) return {};
  const Stacks s = stacksOf(v, o);
  // Rows of the right stack against F_O: [C_V^T F_O,after F_O^T; D_O F_O^T], scaled as the stack is.
  const DoubleMatrix first = transposedMultiply(v.coefficients, o.afterTimesBase());
  DoubleMatrix cross(v.rank() + o.rank(), o.base.rows);
  for (int64_t i = 0; i < v.rank(); ++i) {
    for (int64_t j = 0; j < cross.cols; ++j) cross(i, j) = first(i, j) / s.firstScale;
  }
  for (int64_t i = 0; i < o.rank(); ++i) {
    for (int64_t j = 0; j < cross.cols; ++j) cross(v.rank() + i, j) = o.cross(i, j) / s.secondScale;
  }
  std::vector<double> cosines = singularValues(multiplyTransposed(multiply(basisOf(s.right).turn, cross), basisOf(o.gram).turn));
  for (double& c : cosines) c = std::min(1.0, c);
  return cosines;
}

int64_t wholeIntruders(const Linear& before, const Linear& after) {
  const SmallSvd w0 = smallSvd(DoubleMatrix::from(decodeLinear(before))), w1 = smallSvd(DoubleMatrix::from(decodeLinear(after)));
  return countIntruders(multiplyTransposed(w1.left, w0.left));
}

}  // namespace

LoraLayer layerLora(const Model& base, const Model& adapted, int64_t layer, const LoraOptions& options, const Job& job) {
  if (base.spec().mla) {
    throw Error("what an adapter changes per head is not computed for multi-head latent attention", base.name(),
                "its spectra with the adapter are: headscope spectra --adapter");
  }
  const HeadWeights w0 = headWeights(base, layer, Fold::Off, MlaSplit::Heads, {}, &job),
                    w1 = headWeights(adapted, layer, Fold::Off, MlaSplit::Heads, {}, &job);
  const AttentionWeights a0 = base.attention(layer), a1 = adapted.attention(layer);
  using Kind = LoraSide::Kind;
  const LoraSide q(Kind::Query, w0, w1, a0, a1, job), k(Kind::Key, w0, w1, a0, a1, job), v(Kind::Value, w0, w1, a0, a1, job),
      o(Kind::Output, w0, w1, a0, a1, job);
  LoraLayer out;
  out.layer = layer;
  out.heads.resize(static_cast<size_t>(w0.heads));
  const double sums[] = {q.squaredChange(), k.squaredChange(), v.squaredChange(), o.squaredChange()};
  parallelFor(
      w0.heads,
      [&](int64_t h) {
        const int64_t g = w0.kvHeadOf(h);
        const HeadSide &hq = q.head(h), &hk = k.head(g), &hv = v.head(g), &ho = o.head(h);
        HeadLora& head = out.heads[static_cast<size_t>(h)];
        head.layer = layer, head.head = h;
        head.qk = circuitOf(hq, hk, options);
        head.ov = circuitOf(hv, ho, options);
        const auto share = [](double part, double whole) { return whole > 0 ? part / whole : 0.0; };
        head.shareQ = share(hq.squaredChange(), sums[0]), head.shareK = share(hk.squaredChange(), sums[1]);
        head.shareV = share(hv.squaredChange(), sums[2]), head.shareO = share(ho.squaredChange(), sums[3]);
        if (options.withDetails && head.ov.before.isFinite && head.ov.after.isFinite) head.writeCosines = writeCosines(hv, ho);
      },
      &job);
  struct Whole {
    const LoraSide* side;
    const Linear *before, *after;
  };
  for (const Whole& whole :
       {Whole{&q, &a0.query, &a1.query}, {&k, &a0.key, &a1.key}, {&v, &a0.value, &a1.value}, {&o, &a0.output, &a1.output}}) {
    if (!options.withDetails || !whole.side->isChanged()) continue;
    job.checkpoint();
    const char* part = whole.side == &q ? " (q)" : whole.side == &k ? " (k)" : whole.side == &v ? " (v)" : "";
    const bool isFused = whole.before->weight.outputs() != whole.before->weight.storedRows || whole.before->weight.isInByOut;
    const std::string name = whole.before->module + (isFused ? part : "");
    if (std::max(whole.before->outputs(), whole.before->inputs()) > options.wholeIntruderWidth) {
      out.notes.push_back(name + ": intruder dimensions of the whole matrix left out, it is wider than " +
                          std::to_string(options.wholeIntruderWidth));
      continue;
    }
    out.intruders.push_back({name, layer, wholeIntruders(*whole.before, *whole.after)});
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
        for (double& s : m.sigma) s *= std::abs(m.scale);
        m.effectiveRank = effectiveRank(m.sigma, 0.001);
        m.wastedRank = m.effectiveRank < 0 ? 0 : m.rank - m.effectiveRank;
      },
      &job);
  return modules;
}

}  // namespace headscope::core
