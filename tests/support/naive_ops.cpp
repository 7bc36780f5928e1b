#include "tests/support/naive_ops.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>

namespace headscope::tests {

using namespace core;

Matrix randomMatrix(int64_t rows, int64_t cols, uint64_t seed, double size) {
  // The distribution of the standard library is not the same everywhere; Box and Muller's on raw bits is
  std::mt19937_64 bits(seed);
  const auto uniform = [&] { return (static_cast<double>(bits() >> 11) + 0.5) * 0x1p-53; };
  Matrix m(rows, cols);
  for (int64_t i = 0; i < m.size(); ++i) {
    m.data()[i] = static_cast<float>(size * std::sqrt(-2.0 * std::log(uniform())) * std::cos(2.0 * std::numbers::pi * uniform()));
  }
  return m;
}

Doubles naiveLinear(ConstMatrixView x, const Matrix& weights, const Linear& linear, const Matrix* before) {
  const int64_t outputs = weights.rows();
  Doubles out(static_cast<size_t>(x.rows * outputs));
  const LinearChange* change = linear.change.get();
  for (int64_t n = 0; n < x.rows; ++n) {
    for (int64_t o = 0; o < outputs; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < x.cols; ++i) sum += static_cast<double>(x(n, i)) * weights(o, i);
      if (change != nullptr) {
        for (const LowRank& term : change->terms) {
          for (int64_t r = 0; r < term.down.rows(); ++r) {
            double inner = 0;
            for (int64_t i = 0; i < x.cols; ++i) inner += static_cast<double>(x(n, i)) * term.down(r, i);
            sum += inner * term.up(o, r);
          }
        }
        if (!change->rowScale.empty()) sum *= change->rowScale[static_cast<size_t>(o)];
      }
      if (!linear.bias.empty()) sum += linear.bias[static_cast<size_t>(o)];
      if (before != nullptr) sum += (*before)(n, o);
      out[static_cast<size_t>(n * outputs + o)] = sum;
    }
  }
  return out;
}

Doubles naiveNorm(ConstMatrixView x, const NormRule& rule, const NormWeights& weights) {
  Doubles out(static_cast<size_t>(x.rows * x.cols));
  const int64_t width = x.cols / rule.groups;
  for (int64_t n = 0; n < x.rows; ++n) {
    for (int64_t g = 0; g < rule.groups; ++g) {
      double mean = 0, square = 0;
      for (int64_t c = 0; c < width; ++c) mean += x(n, g * width + c) / static_cast<double>(width);
      if (rule.kind == NormKind::RmsNorm) mean = 0;
      for (int64_t c = 0; c < width; ++c) square += std::pow(x(n, g * width + c) - mean, 2) / static_cast<double>(width);
      for (int64_t c = 0; c < width; ++c) {
        const double y = (x(n, g * width + c) - mean) / std::sqrt(square + rule.eps) * weights.gain[static_cast<size_t>(c)];
        out[static_cast<size_t>(n * x.cols + g * width + c)] = y + (weights.bias.empty() ? 0.0 : weights.bias[static_cast<size_t>(c)]);
      }
    }
  }
  return out;
}

Doubles naiveRope(ConstMatrixView x, const RopeRule& rule, const RopeSpec& spec) {
  Doubles out;
  for (int64_t n = 0; n < x.rows; ++n) out.insert(out.end(), x.row(n), x.row(n) + x.cols);
  for (int64_t n = 0; n < x.rows; ++n) {
    for (int64_t h = 0; h < rule.heads; ++h) {
      for (int64_t i = 0; i < spec.dims / 2; ++i) {
        const int64_t start = h * rule.headWidth + rule.offset;
        const int64_t a = start + (spec.isInterleaved ? 2 * i : i), b = start + (spec.isInterleaved ? 2 * i + 1 : i + spec.dims / 2);
        double angle = static_cast<float>(rule.firstPosition + n) * static_cast<float>(spec.frequencies[static_cast<size_t>(i)]);
        if (rule.isInverse) angle = -angle;
        const double m = rule.isInverse ? 1.0 / spec.magnitude : spec.magnitude;
        out[static_cast<size_t>(n * x.cols + a)] = m * (x(n, a) * std::cos(angle) - x(n, b) * std::sin(angle));
        out[static_cast<size_t>(n * x.cols + b)] = m * (x(n, b) * std::cos(angle) + x(n, a) * std::sin(angle));
      }
    }
  }
  return out;
}

double naiveActivation(Activation kind, double x) {
  const auto logistic = [](double t) { return 1.0 / (1.0 + std::exp(-t)); };
  switch (kind) {
    case Activation::GeluErf:
      return 0.5 * x * (1.0 + std::erf(x / std::numbers::sqrt2));
    case Activation::GeluTanh:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::GeluQuick:
      return x * logistic(1.702 * x);
    case Activation::Silu:
      return x * logistic(x);
    case Activation::Relu:
      return std::max(0.0, x);
    case Activation::ReluSquared:
      return std::pow(std::max(0.0, x), 2);
    case Activation::Tanh:
      return std::tanh(x);
    case Activation::Sigmoid:
      return logistic(x);
    case Activation::Identity:
      return x;
  }
  return x;
}

NaiveMap naiveMap(ConstMatrixView query, ConstMatrixView key, const AttentionRule& rule) {
  const int64_t n = query.rows;
  NaiveMap map;
  map.count = n;
  map.weights.assign(static_cast<size_t>(n * n), 0.0);
  for (int64_t i = 0; i < n; ++i) {
    double max = -std::numeric_limits<double>::infinity(), sum = 0, entropy = 0, distance = 0;
    std::vector<double> scores(static_cast<size_t>(n), max);
    for (int64_t j = 0; j < n; ++j) {
      const bool isVisible = (!rule.isCausal || j <= i) && (rule.window == 0 || std::abs(i - j) < rule.window);
      if (!isVisible) continue;
      double s = 0;
      for (int64_t c = 0; c < query.cols; ++c) s += static_cast<double>(query(i, c)) * key(j, c);
      s *= rule.scale;
      if (rule.softcap > 0) s = rule.softcap * std::tanh(s / rule.softcap);
      scores[static_cast<size_t>(j)] = s;
      max = std::max(max, s);
    }
    for (const double s : scores) sum += std::exp(s - max);
    for (int64_t j = 0; j < n; ++j) {
      const double a = std::exp(scores[static_cast<size_t>(j)] - max) / sum;
      map.weights[static_cast<size_t>(i * n + j)] = a;
      if (a > 0) entropy -= a * std::log2(a);
      distance += a * static_cast<double>(std::abs(i - j));
    }
    map.max.push_back(max);
    map.logSumExp.push_back(max + std::log(sum));
    map.entropy.push_back(entropy);
    map.distance.push_back(distance);
  }
  return map;
}

double naiveCell(const NaiveMap& map, int64_t level, int64_t row, int64_t col, Pooling pooling) {
  double max = 0, sum = 0;
  int64_t entries = 0;
  for (int64_t i = row << level; i < std::min(map.count, (row + 1) << level); ++i) {
    for (int64_t j = col << level; j < std::min(map.count, (col + 1) << level); ++j, ++entries) {
      max = std::max(max, map.at(i, j));
      sum += map.at(i, j);
    }
  }
  return pooling == Pooling::Max ? max : sum / static_cast<double>(entries);
}

double naiveKeysNeeded(std::vector<double> weights, double share) {
  std::sort(weights.begin(), weights.end(), std::greater<>());
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    sum += weights[i];
    if (sum >= share - 1e-9) return static_cast<double>(i + 1);
  }
  return static_cast<double>(weights.size());
}

}  // namespace headscope::tests
