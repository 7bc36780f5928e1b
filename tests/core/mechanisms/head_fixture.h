#pragma once
// Heads for tests: seeded random Q, K, V of any size, and the naive way to attend, in double.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "core/mechanisms/mechanism.h"
#include "core/mechanisms/random.h"

namespace headscope::tests {

struct RandomHead {
  core::Matrix query, key, value, output, normed, queryWeight, keyWeight, valueWeight;
  core::HeadInput input;

  RandomHead(int64_t n, int64_t k, int64_t v, double spread = 1.5, bool isCausal = true, uint64_t seed = 3, int64_t d = 24)
      : query(n, k), key(n, k), value(n, v), output(v, d), normed(n, d), queryWeight(k, d), keyWeight(k, d), valueWeight(v, d) {
    core::Random random(seed);
    for (core::Matrix* m : {&query, &key, &value, &output, &normed, &queryWeight, &keyWeight, &valueWeight}) {
      const double size = m == &query || m == &key ? spread : 1.0;
      for (int64_t i = 0; i < m->size(); ++i) m->data()[i] = static_cast<float>(size * random.normal());
    }
    input.query = query;
    input.key = key;
    input.value = value;
    input.scale = 1.0 / std::sqrt(static_cast<double>(k));
    input.isCausal = isCausal;
    input.normedInput = normed;
    input.queryWeight = queryWeight;
    input.keyWeight = keyWeight;
    input.valueWeight = valueWeight;
  }
};

/// Map [N, N] of softmax over the keys that `sees` lets through, rows without any zero; bias added to the scaled score.
inline std::vector<double> naiveMap(
    const core::HeadInput& in, const std::function<bool(int64_t, int64_t)>& sees,
    const std::function<double(int64_t, int64_t)>& bias = [](int64_t, int64_t) { return 0.0; }) {
  const int64_t n = in.count();
  std::vector<double> map(static_cast<size_t>(n * n), 0.0);
  for (int64_t i = 0; i < n; ++i) {
    double largest = -1e300, sum = 0;
    std::vector<double> scores(static_cast<size_t>(n));
    for (int64_t j = 0; j < n; ++j) {
      double s = 0;
      for (int64_t c = 0; c < in.query.cols; ++c) s += static_cast<double>(in.query(i, c)) * static_cast<double>(in.key(j, c));
      s *= in.scale;
      if (in.softcap > 0) s = in.softcap * std::tanh(s / in.softcap);
      scores[static_cast<size_t>(j)] = s + bias(i, j);
      if (sees(i, j)) largest = std::max(largest, scores[static_cast<size_t>(j)]);
    }
    for (int64_t j = 0; j < n; ++j) {
      if (sees(i, j)) sum += map[static_cast<size_t>(i * n + j)] = std::exp(scores[static_cast<size_t>(j)] - largest);
    }
    for (int64_t j = 0; j < n && sum > 0; ++j) map[static_cast<size_t>(i * n + j)] /= sum;
  }
  return map;
}

/// map [N, N] times V [N, v].
inline std::vector<double> naiveOutput(const std::vector<double>& map, core::ConstMatrixView value) {
  const int64_t n = value.rows;
  std::vector<double> out(static_cast<size_t>(n * value.cols), 0.0);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t c = 0; c < value.cols; ++c)
        out[static_cast<size_t>(i * value.cols + c)] += map[static_cast<size_t>(i * n + j)] * static_cast<double>(value(j, c));
    }
  }
  return out;
}

/// Largest difference over the largest expected entry; infinite when anything is not finite.
inline double relativeError(core::ConstMatrixView got, const std::vector<double>& expected) {
  double worst = 0, largest = 1e-30;
  for (int64_t r = 0; r < got.rows; ++r) {
    for (int64_t c = 0; c < got.cols; ++c) {
      const double want = expected[static_cast<size_t>(r * got.cols + c)], have = static_cast<double>(got(r, c));
      if (!std::isfinite(have)) return INFINITY;
      worst = std::max(worst, std::abs(have - want));
      largest = std::max(largest, std::abs(want));
    }
  }
  return worst / largest;
}

/// The whole map [N, N] of a run, in uneven pieces.
inline core::Matrix wholeMap(const core::HeadRun& run, int64_t n, core::Job& job) {
  core::Matrix map(n, n);
  for (int64_t first = 0; first < n;) {
    const int64_t count = std::min<int64_t>(n - first, 1 + first % 37);
    run.mapRows(first, count, map.view().rowsFrom(first, count), job);
    first += count;
  }
  return map;
}

inline core::Matrix wholeOutput(const core::HeadRun& run, int64_t n, int64_t v, core::Job& job) {
  core::Matrix out(n, v);
  run.output(out.view(), job);
  return out;
}

/// Map and output of a run against a naive map.
inline void expectMap(const std::string& what, const core::HeadInput& input, const core::HeadRun& run, const std::vector<double>& map,
                      double tolerance = 2e-5) {
  core::Job job;
  EXPECT_LE(relativeError(wholeMap(run, input.count(), job), map), tolerance) << what;
  EXPECT_LE(relativeError(wholeOutput(run, input.count(), input.value.cols, job), naiveOutput(map, input.value)), tolerance) << what;
}

}  // namespace headscope::tests
