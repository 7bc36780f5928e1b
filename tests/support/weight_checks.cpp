// The Backend's operations on weights against plain loops in double, on the table of cases.
#include <algorithm>
#include <cmath>
#include <sstream>

#include "tests/support/naive_ops.h"
#include "tests/support/naive_weights.h"
#include "tests/support/op_cases.h"
#include "tests/support/op_checks.h"

namespace headscope::tests {

using namespace core;

namespace {

std::string sizes(std::initializer_list<int64_t> numbers) {
  std::ostringstream text;
  for (const int64_t n : numbers) text << ' ' << n;
  return text.str();
}

/// Raises the difference by that of two lists, relative to the largest expected.
void compareValues(OpCheck& check, const std::vector<double>& got, const std::vector<double>& expected) {
  double scale = 1e-300;
  for (const double e : expected) scale = std::max(scale, std::abs(e));
  if (got.size() != expected.size()) check.difference = INFINITY;
  for (size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
    if (!std::isfinite(got[i])) check.isFinite = false;
    check.difference = std::max(check.difference, std::abs(got[i] - expected[i]) / scale);
  }
}

/// Random factors; with decades their product has singular values from 1 down to 10^-decades.
struct Factors {
  explicit Factors(const SpectraCase& c) : left(c.leftRank, c.leftWidth), right(c.rightRank, c.rightWidth) {
    if (c.decades > 0) {
      const DoubleMatrix u = orthonormalRows(c.leftRank, c.leftWidth, 1), v = orthonormalRows(c.rightRank, c.rightWidth, 2);
      for (int64_t i = 0; i < c.rightRank; ++i) {
        const double s = std::pow(10.0, -c.decades * static_cast<double>(i) / static_cast<double>(std::max<int64_t>(1, c.rightRank - 1)));
        for (int64_t j = 0; j < c.rightWidth; ++j) right(i, j) = static_cast<float>(v(i, j) * s);
      }
      left = floats(u);
    } else {
      left = randomMatrix(c.leftRank, c.leftWidth, 3), right = randomMatrix(c.rightRank, c.rightWidth, 4, 0.3);
    }
    if (c.dependentRows) {  // half of the left rows repeat the others
      for (int64_t i = c.leftRank / 2; i < c.leftRank; ++i) std::copy_n(left.row(i - c.leftRank / 2), left.cols(), left.row(i));
    }
    if (c.hasThrough) through = widened(randomMatrix(c.leftWidth, c.leftWidth, 5, 0.2));
    if (c.hasMiddle) middle = widened(randomMatrix(c.leftRank, c.rightRank, 6));
  }
  static Matrix floats(const DoubleMatrix& d) {
    Matrix m(d.rows, d.cols);
    for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(d.data()[i]);
    return m;
  }
  Matrix left, right;
  DoubleMatrix through, middle;
};

DoubleMatrix transposedOf(const DoubleMatrix& a) {
  DoubleMatrix t(a.cols, a.rows);
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t c = 0; c < a.cols; ++c) t(c, r) = a(r, c);
  }
  return t;
}

OpCheck checkSpectra(Backend& backend, const SpectraCase& c, SpectrumRoute route) {
  const bool isExact = route == SpectrumRoute::Householder;
  OpCheck check{Op::Spectra,
                (isExact ? "exact spectra" : "spectra") + sizes({c.leftRank, c.leftWidth, c.rightRank, c.rightWidth}) +
                    (c.decades > 0 ? " planted" : "") + (c.hasThrough ? " through" : "") + (c.hasMiddle ? " middle" : "") +
                    (c.dependentRows ? " dependent" : ""),
                0, isExact ? 1e-13 : 1e-6};
  const Factors f(c);
  SpectraBatch batch;
  batch.route = route;
  const Matrix zero = Matrix::zeros(c.leftRank, c.leftWidth);
  Matrix broken = f.left.clone();
  broken(c.leftRank - 1, c.leftWidth / 2) = std::nanf("");
  batch.factors = {{f.left, f.through.rows > 0 ? &f.through : nullptr}, {f.right, nullptr}, {zero, nullptr}, {broken, nullptr}};
  const DoubleMatrix* middle = f.middle.rows > 0 ? &f.middle : nullptr;
  batch.products = {{0, 1, middle}, {0, -1, nullptr}, {1, -1, nullptr}, {2, 1, middle}, {3, -1, nullptr}, {2, -1, nullptr}};
  const SpectraResult got = backend.spectra(batch, Job());
  DoubleMatrix left = widened(f.left);
  if (f.through.rows > 0) left = naiveProduct(left, f.through);
  const DoubleMatrix rl = naiveTriangle(left), rr = naiveTriangle(widened(f.right));
  const auto cut = [](std::vector<double> values, int64_t count) {
    values.resize(static_cast<size_t>(count));
    return values;
  };
  const int64_t most = std::min(std::min(c.leftRank, c.rightRank), std::min(c.leftWidth, c.rightWidth));
  const DoubleMatrix core = naiveProduct(middle != nullptr ? naiveProduct(rl, transposedOf(f.middle)) : rl, rr);
  compareValues(check, got.spectra[0].sigma, cut(naiveSingularValues(core), most));
  // A factor on its own is right to the square root of the rounding of its square, where its values end
  OpCheck alone = check;
  alone.difference = 0;
  compareValues(alone, got.spectra[1].sigma, cut(naiveSingularValues(rl), std::min(c.leftRank, c.leftWidth)));
  compareValues(alone, got.spectra[2].sigma, cut(naiveSingularValues(rr), std::min(c.rightRank, c.rightWidth)));
  check.difference = std::max(check.difference, alone.difference);
  for (const double s : got.spectra[3].sigma) check.difference = std::max(check.difference, std::abs(s));
  for (const double s : got.spectra[5].sigma) check.difference = std::max(check.difference, std::abs(s));
  const bool isNamed = !got.spectra[4].isFinite && got.isFinite[0] && got.isFinite[2] && !got.isFinite[3];
  if (!isNamed || static_cast<int64_t>(got.spectra[4].sigma.size()) != std::min(c.leftRank, c.leftWidth)) check.difference = INFINITY;
  for (const Spectrum* s : {&got.spectra[0], &got.spectra[1], &got.spectra[3]}) {
    if (s->route != route || !(s->noise >= 0) || !s->isFinite || s->noise > 1e-6 * std::max(1e-300, s->largest()) + 1e-6)
      check.difference = INFINITY;
  }
  return check;
}

OpCheck checkInnerProducts(Backend& backend) {
  OpCheck check{Op::InnerProducts, "inner products", 0, 1e-13};
  std::vector<Matrix> factors;
  const int64_t shapes[][2] = {{1, 1}, {3, 700}, {64, 768}, {65, 130}, {192, 33}, {16, 768}, {2, 5000}, {64, 768}};
  for (const auto& s : shapes) factors.push_back(randomMatrix(s[0], s[1], 10 + factors.size()));
  std::vector<FactorPair> pairs;
  for (const Matrix& f : factors) pairs.push_back({f, f});
  pairs.push_back({factors[5], factors[2]});
  pairs.push_back({factors[2], factors[7]});
  pairs.push_back({factors[2].view().colsFrom(5, 300), factors[5].view().colsFrom(9, 300)});
  const std::vector<DoubleMatrix> got = backend.innerProducts(pairs, Job());
  if (got.size() != pairs.size()) check.difference = INFINITY;
  for (size_t i = 0; i < std::min(got.size(), pairs.size()); ++i) {
    compareValues(check, got[i].values, naiveProduct(widened(pairs[i].left), widened(pairs[i].right)).values);
  }
  return check;
}

/// Values against the reference; with vectors also that they are orthonormal where the value is not zero, and give the matrix.
OpCheck checkSmallSvds(Backend& backend, bool withVectors) {
  OpCheck check{Op::SmallSvds, withVectors ? "small SVDs with vectors" : "small SVDs", 0, 2e-13};
  std::vector<DoubleMatrix> cores;
  const int64_t shapes[][2] = {{1, 1}, {2, 2}, {3, 5}, {5, 3}, {33, 33}, {64, 64}, {64, 64}, {96, 20}, {128, 128}, {192, 192}};
  for (const auto& s : shapes) {
    if (!isLeftOut(std::max(s[0], s[1]), 33)) cores.push_back(widened(randomMatrix(s[0], s[1], 20 + cores.size())));
  }
  cores.push_back(DoubleMatrix(7, 7));  // zero
  {                                     // eight decades
    const DoubleMatrix u = orthonormalRows(24, 24, 7), v = orthonormalRows(24, 24, 8);
    DoubleMatrix scaled = u;
    for (int64_t i = 0; i < 24; ++i) {
      for (int64_t j = 0; j < 24; ++j) scaled(i, j) *= std::pow(10.0, -8.0 * static_cast<double>(i) / 23);
    }
    cores.push_back(naiveProduct(transposedOf(scaled), transposedOf(v)));
  }
  DoubleMatrix low = naiveProduct(widened(randomMatrix(40, 3, 31)), widened(randomMatrix(40, 3, 32)));  // rank 3 of 40
  for (double& v : low.values) v *= 1e-200;                                                             // squares vanish
  cores.push_back(low);
  const std::vector<SmallSvd> got = backend.smallSvds(cores, withVectors, Job());
  if (got.size() != cores.size()) check.difference = INFINITY;
  for (size_t i = 0; i < std::min(got.size(), cores.size()); ++i) {
    const SmallSvd& s = got[i];
    DoubleMatrix a = cores[i];
    double largest = 0;
    for (const double v : a.values) largest = std::max(largest, std::abs(v));
    for (double& v : a.values) v = largest > 0 ? v / largest : 0;
    std::vector<double> sigma = s.sigma;
    for (double& v : sigma) v = largest > 0 ? v / largest : v;
    compareValues(check, sigma, naiveSingularValues(a));
    if (!withVectors) continue;
    const double top = sigma.empty() ? 0 : sigma[0];
    for (int64_t p = 0; p < a.rows; ++p) {
      for (int64_t q = 0; q < a.cols; ++q) {
        double sum = 0;
        for (size_t r = 0; r < sigma.size(); ++r)
          sum += s.left(static_cast<int64_t>(r), p) * sigma[r] * s.right(static_cast<int64_t>(r), q);
        check.difference = std::max(check.difference, std::abs(sum - a(p, q)) / std::max(top, 1.0) / 10);
      }
    }
    const DoubleMatrix uu = naiveProduct(s.left, s.left), vv = naiveProduct(s.right, s.right);
    for (size_t p = 0; p < sigma.size(); ++p) {
      for (size_t q = 0; q < sigma.size(); ++q) {
        if (sigma[p] <= 1e-7 * top || sigma[q] <= 1e-7 * top) continue;
        const double one = p == q ? 1 : 0;
        const int64_t r = static_cast<int64_t>(p), c = static_cast<int64_t>(q);
        check.difference = std::max({check.difference, std::abs(uu(r, c) - one) / 100, std::abs(vv(r, c) - one) / 100});
      }
    }
  }
  return check;
}

OpCheck checkWholeSpectrum(Backend& backend, int64_t rows, int64_t cols, SpectrumRoute route) {
  const bool isExact = route == SpectrumRoute::Householder;
  OpCheck check{Op::WholeSpectrum, (isExact ? "exact whole spectrum" : "whole spectrum") + sizes({rows, cols}), 0, isExact ? 1e-13 : 1e-6};
  const Matrix wide = randomMatrix(rows, cols + 3, 41);
  const ConstMatrixView m = wide.view().colsFrom(2, cols);
  compareValues(check, backend.wholeSpectrum(m, route, Job()), [&] {
    std::vector<double> values = naiveSingularValues(widened(m));
    values.resize(static_cast<size_t>(std::min(rows, cols)));
    return values;
  }());
  return check;
}

/// Values against the reference; energies against the projections on eigenvectors by their sums: a head's over all directions, all
/// heads' on one, and of every head on what the first directions hold together (single ones are any basis where values are close).
OpCheck checkStackDirections(Backend& backend, int64_t heads, int64_t perHead, int64_t width) {
  OpCheck check{Op::StackDirections, "stack directions" + sizes({heads, perHead, width}), 0, 2e-6};
  const int64_t rows = heads * perHead, p = std::min(rows, width);
  const Matrix wide = randomMatrix(rows, width + 5, 71);
  Matrix stack(rows, width);
  for (int64_t h = 0; h < heads; ++h) {  // heads of different weight
    for (int64_t r = h * perHead; r < (h + 1) * perHead; ++r) {
      for (int64_t c = 0; c < width; ++c) stack(r, c) = wide(r, c) * static_cast<float>(h % 3);
    }
  }
  Matrix apart(rows, width + 2);
  for (int64_t r = 0; r < rows; ++r) std::copy_n(stack.row(r), width, apart.row(r) + 1);
  const StackDirections got = backend.stackDirections(rows == 0 ? apart.view() : apart.view().colsFrom(1, width), perHead, Job());
  if (rows == 0) {
    if (!got.sigma.empty()) check.difference = INFINITY;
    return check;
  }
  if (static_cast<int64_t>(got.sigma.size()) != p || static_cast<int64_t>(got.energy.size()) != heads) check.difference = INFINITY;
  if (check.difference > 0) return check;
  std::vector<double> expected = naiveSingularValues(widened(stack));
  expected.resize(static_cast<size_t>(p));
  const double top = expected[0] > 0 ? expected[0] : 1.0;
  compareValues(check, got.sigma, expected);
  for (int64_t i = 0; i < p; ++i) {
    double all = 0;
    for (const auto& head : got.energy) all += head[static_cast<size_t>(i)];
    check.difference =
        std::max(check.difference, std::abs(all - expected[static_cast<size_t>(i)] * expected[static_cast<size_t>(i)]) / top / top);
  }
  for (int64_t h = 0; h < heads; ++h) {
    double all = 0, own = 0;
    for (const double e : got.energy[static_cast<size_t>(h)]) all += e;
    for (int64_t r = h * perHead; r < (h + 1) * perHead; ++r) {
      for (int64_t c = 0; c < width; ++c) own += static_cast<double>(stack(r, c)) * stack(r, c);
    }
    check.difference = std::max(check.difference, std::abs(all - own) / top / top);
  }
  // tr(S_h (S^T S) S_h^T) = sum_i sigma_i^2 energy_h(i): a head's energies weighted, which no choice of basis changes
  const DoubleMatrix s = widened(stack);
  for (int64_t h = 0; h < heads; ++h) {
    DoubleMatrix own(perHead, width);
    std::copy_n(s.row(h * perHead), own.values.size(), own.data());
    double expectedSum = 0, sum = 0;
    for (const double v : naiveProduct(own, s).values) expectedSum += v * v;
    for (int64_t i = 0; i < p; ++i)
      sum += got.sigma[static_cast<size_t>(i)] * got.sigma[static_cast<size_t>(i)] *
             got.energy[static_cast<size_t>(h)][static_cast<size_t>(i)];
    check.difference = std::max(check.difference, std::abs(sum - expectedSum) / std::pow(top, 4));
  }
  return check;
}

OpCheck checkPairSums(Backend& backend, int64_t width, int64_t split, int64_t side) {
  OpCheck check{Op::PairSums, "pair sums" + sizes({width, split, side}), 0, 2e-6};
  const int64_t counts[] = {3, 1, 0, 8, 17};
  std::vector<Matrix> writers, readers;
  for (const int64_t n : counts) writers.push_back(randomMatrix(n, width, 51 + writers.size()));
  for (const int64_t n : {5, 2, 9}) readers.push_back(randomMatrix(n, width, 61 + readers.size()));
  const auto stripOf = [&](int64_t first, int64_t columns) {
    PairStrip strip{columns, width, {}, {}, std::make_shared<char>()};
    const auto from = [first](const Matrix& m) { return m.rows() > 0 ? m.data() + first : nullptr; };
    for (const Matrix& w : writers) strip.writers.push_back({from(w), w.rows()});
    for (const Matrix& r : readers) strip.readers.push_back({from(r), r.rows()});
    return strip;
  };
  PairPlan plan;
  plan.side = side;
  plan.groups = {{0, 3, 0, 1}, {1, 4, 1, 2}};
  std::vector<double> sums(writers.size() * readers.size(), 0.5);
  if (split == width) {
    const PairStrip whole = stripOf(0, width);
    backend.addPairSums(whole, whole, plan, sums, Job());
  } else {
    const PairStrip a = stripOf(0, split), b = stripOf(split, width - split);
    backend.addPairSums(a, a, plan, sums, Job());
    backend.addPairSums(a, b, plan, sums, Job());
    backend.addPairSums(b, b, plan, sums, Job());
  }
  std::vector<double> expected(sums.size(), 0.5);
  for (const PairGroup& g : plan.groups) {
    for (int64_t w = g.firstWriter; w < g.firstWriter + g.writers; ++w) {
      for (int64_t r = g.firstReader; r < g.firstReader + g.readers; ++r) {
        const DoubleMatrix core = naiveProduct(widened(writers[static_cast<size_t>(w)]), widened(readers[static_cast<size_t>(r)]));
        for (const double v : core.values) expected[static_cast<size_t>(w) * readers.size() + static_cast<size_t>(r)] += v * v;
      }
    }
  }
  compareValues(check, sums, expected);
  return check;
}

}  // namespace

std::vector<OpCheck> checkWeights(Backend& backend) {
  std::vector<OpCheck> all;
  if (backend.supports(Op::Spectra)) {
    for (const SpectraCase& c : spectraCases()) {
      if (isLeftOut(std::max(c.leftRank, c.rightRank), 33)) continue;
      for (const SpectrumRoute route : {SpectrumRoute::Gram, SpectrumRoute::Householder}) all.push_back(checkSpectra(backend, c, route));
    }
  }
  if (backend.supports(Op::InnerProducts)) all.push_back(checkInnerProducts(backend));
  if (backend.supports(Op::SmallSvds)) {
    all.push_back(checkSmallSvds(backend, false));
    all.push_back(checkSmallSvds(backend, true));
  }
  if (backend.supports(Op::WholeSpectrum)) {
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {5, 9}, {40, 40}, {130, 200}}) {
      for (const SpectrumRoute route : {SpectrumRoute::Gram, SpectrumRoute::Householder})
        all.push_back(checkWholeSpectrum(backend, rows, cols, route));
    }
  }
  if (backend.supports(Op::StackDirections)) {
    const int64_t shapes[][3] = {{1, 1, 1}, {3, 5, 40}, {4, 15, 33}, {7, 9, 63}, {3, 1, 2}, {0, 4, 8}, {12, 20, 64}};
    for (const auto& s : shapes) all.push_back(checkStackDirections(backend, s[0], s[1], s[2]));
  }
  if (backend.supports(Op::PairSums)) {
    all.push_back(checkPairSums(backend, 40, 40, 96));
    all.push_back(checkPairSums(backend, 130, 130, 32));
    all.push_back(checkPairSums(backend, 131, 64, 32));
    all.push_back(checkPairSums(backend, 1, 1, 96));
  }
  return all;
}

}  // namespace headscope::tests
