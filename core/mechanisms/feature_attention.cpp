#include "core/mechanisms/feature_attention.h"
#include "core/mechanisms/vector_math.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace headscope::core {
namespace {

using ArrayMap = Eigen::Map<Eigen::ArrayXf>;
using ConstArrayMap = Eigen::Map<const Eigen::ArrayXf>;
constexpr float kNegative = -std::numeric_limits<float>::infinity();
// A denominator below this share of what the row's largest term would give is recomputed term by term.
constexpr float kSmallestDenominator = 1e-20f;

/// exp(a), 0 below exp(-80) so that no denormal enters a product.
void exponentiate(float* values, int64_t count) {
  ArrayMap a(values, count);
  a = (a > -80.0f).select(a.exp(), 0.0f);
}

}  // namespace

/// Sums over the keys so far. shift: what each feature's logarithm is kept relative to.
struct FeatureRun::State {
  Matrix sum;                // S [m, v]
  std::vector<float> total;  // z [m]
  std::vector<float> shift;  // [m], 0 for plain features
  explicit State(int64_t m, int64_t v, bool isLogarithmic)
      : sum(Matrix::zeros(m, v)), total(static_cast<size_t>(m), 0.0f), shift(static_cast<size_t>(m), isLogarithmic ? kNegative : 0.0f) {}
  double bytes() const { return 4.0 * (static_cast<double>(sum.size()) + 2.0 * static_cast<double>(total.size())); }
};

/// One chunk's features and products.
struct FeatureRun::Chunk {
  Matrix keys, queries;              // [chunk, m]: features; logarithms before exponentiate
  Matrix keyLogs, queryLogs;         // [chunk, m], logarithmic maps only
  Matrix weights;                    // [chunk, chunk]
  std::vector<float> shift, shrink;  // [m] shift after this chunk, and exp(old - new)
  Chunk(int64_t m, bool isLogarithmic)
      : keys(kChunk, m), queries(kChunk, m), weights(kChunk, kChunk), shift(static_cast<size_t>(m)), shrink(static_cast<size_t>(m), 1.0f) {
    if (isLogarithmic) {
      keyLogs = Matrix(kChunk, m);
      queryLogs = Matrix(kChunk, m);
    }
  }
  double bytes() const {
    return 4.0 * static_cast<double>(keys.size() + queries.size() + keyLogs.size() + queryLogs.size() + weights.size()) +
           8.0 * static_cast<double>(shift.size());
  }
};

FeatureRun::FeatureRun(const HeadInput& input, std::shared_ptr<const FeatureMap> map, std::vector<std::string> notes,
                       std::string featureFormula)
    : isCausal_(input.isCausal),
      query_(input.query),
      key_(input.key),
      value_(input.value),
      map_(std::move(map)),
      notes_(std::move(notes)),
      featureFormula_(std::move(featureFormula)) {
  if (input.softcap > 0) notes_.push_back("the model's soft cap on scores is left out");
  if (input.window > 0) notes_.push_back("the model's sliding window is left out");
}

/// Features of a chunk's keys, relative to the shift that includes them.
void FeatureRun::addKeys(int64_t first, int64_t count, State& state, Chunk& chunk, Work& work) const {
  const int64_t m = map_->count();
  const MatrixView features = chunk.keys.view().rowsFrom(0, count);
  map_->keys(key_.rowsFrom(first, count), features, work);
  chunk.shift = state.shift;
  if (!map_->isLogarithmic()) return;
  std::memcpy(chunk.keyLogs.data(), chunk.keys.data(), static_cast<size_t>(count * m) * sizeof(float));
  ArrayMap shift(chunk.shift.data(), m);
  for (int64_t r = 0; r < count; ++r) shift = shift.max(ConstArrayMap(features.row(r), m));
  for (int64_t f = 0; f < m; ++f) {
    const size_t i = static_cast<size_t>(f);
    chunk.shrink[i] = state.shift[i] == kNegative ? 0.0f : std::exp(state.shift[i] - chunk.shift[i]);
  }
  for (int64_t r = 0; r < count; ++r) {
    ArrayMap(features.row(r), m) -= shift;
    exponentiate(features.row(r), m);
  }
  work.operations += static_cast<double>(count * m);
}

void FeatureRun::answer(int64_t first, int64_t count, const State& state, Chunk& chunk, MatrixView out, Work& work,
                        std::vector<int64_t>& empty) const {
  const int64_t m = map_->count(), v = value_.cols;
  const MatrixView features = chunk.queries.view().rowsFrom(0, count);
  map_->queries(query_.rowsFrom(first, count), features, work);
  const bool isLogarithmic = map_->isLogarithmic();
  if (isLogarithmic) {
    std::memcpy(chunk.queryLogs.data(), chunk.queries.data(), static_cast<size_t>(count * m) * sizeof(float));
    for (int64_t r = 0; r < count; ++r) {
      ArrayMap row(features.row(r), m);
      row += ConstArrayMap(chunk.shift.data(), m);
      row -= row.maxCoeff();
      exponentiate(features.row(r), m);
    }
    work.operations += static_cast<double>(count * m);
  }
  const MatrixView block = out.rowsFrom(first, count);
  std::vector<float> denominator(static_cast<size_t>(count), 0.0f);
  if (isCausal_) {  // the chunk itself, before the queries are scaled to the older sums
    const MatrixView weights{chunk.weights.data(), count, count, kChunk};
    productByTransposed(features, chunk.keys.view().rowsFrom(0, count), weights, 1.0f, 0.0f, work);
    for (int64_t r = 0; r < count; ++r) {
      denominator[static_cast<size_t>(r)] = ArrayMap(weights.row(r), r + 1).sum();
      std::fill(weights.row(r) + r + 1, weights.row(r) + count, 0.0f);
    }
    product(weights, value_.rowsFrom(first, count), block, 1.0f, 0.0f, work);
    if (isLogarithmic) {
      for (int64_t r = 0; r < count; ++r) ArrayMap(features.row(r), m) *= ConstArrayMap(chunk.shrink.data(), m);
    }
  }
  product(features, state.sum, block, 1.0f, isCausal_ ? 1.0f : 0.0f, work);
  for (int64_t r = 0; r < count; ++r) {
    float& d = denominator[static_cast<size_t>(r)];
    d += (ArrayMap(features.row(r), m) * ConstArrayMap(state.total.data(), m)).sum();
    if (isLogarithmic && !(d > kSmallestDenominator)) {
      recomputeRow(first + r, r, state, chunk, block.row(r));
    } else if (std::abs(d) > std::numeric_limits<float>::min()) {
      ArrayMap(block.row(r), v) *= 1.0f / d;
    } else {
      std::fill_n(block.row(r), v, 0.0f);
      empty.push_back(first + r);
    }
  }
  work.operations += static_cast<double>(count) * static_cast<double>(2 * m + v);
}

/// A row whose chunk holds later keys so large that its own ones vanish beside them: summed again against its own largest term.
void FeatureRun::recomputeRow(int64_t row, int64_t within, const State& state, const Chunk& chunk, float* out) const {
  const int64_t m = map_->count(), v = value_.cols, keys = isCausal_ ? within + 1 : 0;
  const ConstArrayMap query(chunk.queryLogs.row(within), m);
  const Eigen::ArrayXf older = query + ConstArrayMap(state.shift.data(), m);
  float largest = older.maxCoeff();
  for (int64_t j = 0; j < keys; ++j) largest = std::max(largest, (query + ConstArrayMap(chunk.keyLogs.row(j), m)).maxCoeff());
  Eigen::ArrayXf sum = Eigen::ArrayXf::Zero(v);
  float denominator = 0;
  for (int64_t f = 0; f < m; ++f) {
    const float weight = older[f] == kNegative ? 0.0f : std::exp(older[f] - largest);
    sum += weight * ConstArrayMap(state.sum.row(f), v);
    denominator += weight * state.total[static_cast<size_t>(f)];
  }
  for (int64_t j = 0; j < keys; ++j) {
    const float weight = (query + ConstArrayMap(chunk.keyLogs.row(j), m) - largest).exp().sum();
    sum += weight * ConstArrayMap(value_.row(row - within + j), v);
    denominator += weight;
  }
  ArrayMap(out, v) = sum / denominator;
}

void FeatureRun::output(MatrixView out, Job& job) const {
  const int64_t count = query_.rows, m = map_->count();
  State state(m, value_.cols, map_->isLogarithmic());
  Chunk chunk(m, map_->isLogarithmic());
  Work work;
  std::vector<int64_t> empty;
  const auto absorb = [&](int64_t first, int64_t rows) {
    if (map_->isLogarithmic()) {
      for (int64_t f = 0; f < m; ++f) {
        ArrayMap(state.sum.row(f), value_.cols) *= chunk.shrink[static_cast<size_t>(f)];
        state.total[static_cast<size_t>(f)] *= chunk.shrink[static_cast<size_t>(f)];
      }
      state.shift = chunk.shift;
    }
    const ConstMatrixView features = chunk.keys.view().rowsFrom(0, rows);
    transposedProduct(features, value_.rowsFrom(first, rows), state.sum.view(), 1.0f, 1.0f, work);
    for (int64_t r = 0; r < rows; ++r) ArrayMap(state.total.data(), m) += ConstArrayMap(features.row(r), m);
    work.operations += static_cast<double>(rows * m);
  };
  for (int pass = isCausal_ ? 1 : 0; pass < 2; ++pass) {  // both ways: all keys first
    for (int64_t first = 0; first < count; first += kChunk) {
      job.checkpoint();
      const int64_t rows = std::min(kChunk, count - first);
      if (pass == 0 || isCausal_) addKeys(first, rows, state, chunk, work);
      if (pass == 1) answer(first, rows, state, chunk, out, work, empty);
      if (pass == 0 || isCausal_) absorb(first, rows);
    }
  }
  Cost cost;
  cost.operations = work.operations;
  cost.bytesMoved = 4.0 * static_cast<double>(count) * 2.0 * static_cast<double>(query_.cols + value_.cols);
  cost.bytesHeld = state.bytes() + chunk.bytes() + map_->bytes();
  cost.pairs = isCausal_ ? static_cast<double>(count / kChunk) * static_cast<double>(kChunk * kChunk) +
                               std::pow(static_cast<double>(count % kChunk), 2)
                         : 0;
  cost.keptPairs = isCausal_ ? (cost.pairs + static_cast<double>(count)) / 2 : 0;
  cost.formula = featureFormula_ + (isCausal_ ? " + N (4 m v + 2 C m + 2 C v + 3 m + v), C = 128 rows a chunk" : " + N (4 m v + 3 m + v)");
  cost.heldFormula = "4 (m v + 2 m) + chunk";
  const std::lock_guard lock(mutex_);
  cost_ = cost;
  empty_ = std::move(empty);
}

void FeatureRun::mapRows(int64_t first, int64_t count, MatrixView rows, Job& job) const {
  const int64_t m = map_->count(), all = query_.rows, keys = isCausal_ ? first + count : all;
  const bool isLogarithmic = map_->isLogarithmic();
  Work unused;
  Matrix queries(count, m), chunk(kChunk, m);
  map_->queries(query_.rowsFrom(first, count), queries.view(), unused);
  Eigen::ArrayXf shift = Eigen::ArrayXf::Zero(m);
  if (isLogarithmic) shift.setConstant(kNegative);
  const auto forChunks = [&](const auto& body) {
    for (int64_t k = 0; k < keys; k += kChunk) {
      job.checkpoint();
      const int64_t n = std::min(kChunk, keys - k);
      map_->keys(key_.rowsFrom(k, n), chunk.view().rowsFrom(0, n), unused);
      body(k, n);
    }
  };
  Matrix logs;
  if (isLogarithmic) {
    logs = queries.clone();
    forChunks([&](int64_t, int64_t n) {
      for (int64_t r = 0; r < n; ++r) shift = shift.max(ArrayMap(chunk.row(r), m));
    });
    for (int64_t r = 0; r < count; ++r) {
      ArrayMap row(queries.row(r), m);
      row += shift;
      row -= row.maxCoeff();
      exponentiate(queries.row(r), m);
    }
  }
  for (int64_t r = 0; r < count; ++r) std::fill_n(rows.row(r), rows.cols, 0.0f);
  forChunks([&](int64_t k, int64_t n) {
    if (isLogarithmic) {
      for (int64_t r = 0; r < n; ++r) {
        ArrayMap(chunk.row(r), m) -= shift;
        exponentiate(chunk.row(r), m);
      }
    }
    productByTransposed(queries, chunk.view().rowsFrom(0, n), rows.colsFrom(k, n), 1.0f, 0.0f, unused);
  });
  std::vector<int64_t> vanished;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t seen = isCausal_ ? first + r + 1 : all;
    std::fill(rows.row(r) + seen, rows.row(r) + all, 0.0f);
    const float d = ArrayMap(rows.row(r), seen).sum();
    if (isLogarithmic && !(d > kSmallestDenominator)) {
      vanished.push_back(r);
    } else if (std::abs(d) > std::numeric_limits<float>::min()) {
      ArrayMap(rows.row(r), seen) *= 1.0f / d;
    } else {
      std::fill_n(rows.row(r), all, 0.0f);
    }
  }
  if (vanished.empty()) return;
  forChunks([&](int64_t k, int64_t n) {  // log weights of those rows, then their softmax
    for (const int64_t r : vanished) {
      for (int64_t j = 0; j < n && k + j <= first + r; ++j) {
        const Eigen::ArrayXf terms = ArrayMap(logs.row(r), m) + ArrayMap(chunk.row(j), m);
        const float largest = terms.maxCoeff();
        rows(r, k + j) = largest + std::log((terms - largest).exp().sum());
      }
    }
  });
  for (const int64_t r : vanished) softmaxInPlace({rows.row(r), 1, isCausal_ ? first + r + 1 : all, rows.stride}, unused);
}

Cost FeatureRun::cost() const {
  const std::lock_guard lock(mutex_);
  return cost_;
}

std::vector<int64_t> FeatureRun::emptyRows() const {
  const std::lock_guard lock(mutex_);
  return empty_;
}

}  // namespace headscope::core
