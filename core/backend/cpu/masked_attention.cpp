// Attention under a listed mask, row by row. What mechanisms do on the CPU is core/mechanisms/softmax_attention.cpp, in blocks; this is
// what a device's is checked by and what stands in when one fails.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/dot.h"
#include "core/backend/cpu/vector_math.h"
#include "core/base/parallel.h"

namespace headscope::core {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

float scoreOf(const MaskedHead& head, int64_t row, int64_t key) {
  float score = static_cast<float>(head.scale) * cpu::dot(head.query.row(row), head.key.row(key), head.query.cols);
  const auto cap = static_cast<float>(head.softcap);
  if (cap > 0) score = cap * std::tanh(score / cap);
  if (head.slope != 0) score -= static_cast<float>(head.slope) * static_cast<float>(std::abs(row + head.firstRow - key));
  return score;
}

/// Returns the row's log-sum-exp.
float attendRow(const MaskedHead& head, const RangeList& seen, int64_t row, std::vector<float>& scores, float* out) {
  const KeyRange *first = seen.ranges.data() + seen.begin[static_cast<size_t>(row)],
                 *last = seen.ranges.data() + seen.begin[static_cast<size_t>(row) + 1];
  std::fill_n(out, head.value.cols, 0.0f);
  scores.clear();
  float max = kMinusInfinity;
  for (const KeyRange* r = first; r != last; ++r) {
    for (int64_t j = r->first; j < r->end; ++j) {
      scores.push_back(scoreOf(head, row, j));
      max = scores.back() > max || std::isnan(scores.back()) ? scores.back() : max;
    }
  }
  if (max == kMinusInfinity) return kMinusInfinity;
  double sum = 0;
  size_t at = 0;
  for (const KeyRange* r = first; r != last; ++r) {
    for (int64_t j = r->first; j < r->end; ++j) {
      const float weight = cpu::exponential(scores[at++] - max);
      sum += weight;
      const float* value = head.value.row(j);
#pragma omp simd
      for (int64_t c = 0; c < head.value.cols; ++c) out[c] += weight * value[c];
    }
  }
  const auto inverse = static_cast<float>(1.0 / sum);
  for (int64_t c = 0; c < head.value.cols; ++c) out[c] *= inverse;
  return static_cast<float>(max + std::log(sum));
}

}  // namespace

MaskedRows CpuBackend::maskedAttention(const MaskedHead& head, const RangeList& seen, MatrixView out, const Job& job) {
  MaskedRows result;
  result.logSumExp.resize(static_cast<size_t>(head.query.rows));
  parallelRanges(
      head.query.rows, 16,
      [&](int64_t begin, int64_t end) {
        std::vector<float> scores;
        for (int64_t r = begin; r < end; ++r) result.logSumExp[static_cast<size_t>(r)] = attendRow(head, seen, r, scores, out.row(r));
      },
      &job);
  for (const KeyRange& r : seen.ranges) result.pairs += static_cast<double>(r.end - r.first);
  result.keyRows = result.pairs;
  return result;
}

namespace {

/// One row's keys, their scores, and which of them are attended to.
struct ChosenRow {
  std::vector<int64_t> keys;
  std::vector<float> scores, weights;  // of exp(score - largest), 0 where not chosen
  double logSumExp = kMinusInfinity, logSumSquares = kMinusInfinity, sum = 0;
  int64_t kept = 0;
};

/// Leaves the weights of the chosen; order: the indices of all by falling score, earlier keys first.
void keepChosen(const KeyChoice& choice, ChosenRow& row) {
  const auto count = static_cast<int64_t>(row.keys.size());
  row.kept = count;
  if (choice.keys <= 0 && !(choice.mass > 0)) return;
  std::vector<int64_t> order(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) order[static_cast<size_t>(i)] = i;
  const std::vector<float>& by = choice.keys > 0 ? row.scores : row.weights;
  const auto value = [&](int64_t i) { return by[static_cast<size_t>(i)]; };
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return value(a) != value(b) ? value(a) > value(b) : a < b; });
  if (choice.keys > 0) {
    row.kept = std::min(choice.keys, count);
  } else {
    double total = 0, sum = 0;
    for (const float w : row.weights) total += static_cast<double>(w);
    row.kept = 0;
    while (row.kept < count && (row.kept == 0 || sum / total < choice.mass - 1e-12))
      sum += static_cast<double>(row.weights[static_cast<size_t>(order[static_cast<size_t>(row.kept++)])]);
  }
  for (int64_t i = row.kept; i < count; ++i) row.weights[static_cast<size_t>(order[static_cast<size_t>(i)])] = 0;
}

ChosenRow chosenRow(const MaskedHead& head, const KeyChoice& choice, int64_t r) {
  ChosenRow row;
  for (size_t i = choice.seen->begin[static_cast<size_t>(r)]; i < choice.seen->begin[static_cast<size_t>(r) + 1]; ++i) {
    for (int64_t j = choice.seen->ranges[i].first; j < choice.seen->ranges[i].end; ++j) row.keys.push_back(j);
  }
  float largest = kMinusInfinity;
  for (const int64_t j : row.keys) {
    row.scores.push_back(scoreOf(head, r, j));
    largest = row.scores.back() > largest || std::isnan(row.scores.back()) ? row.scores.back() : largest;
  }
  for (const float s : row.scores) row.weights.push_back(largest == kMinusInfinity ? 0.0f : std::exp(s - largest));
  if (largest == kMinusInfinity) return row;
  if (!std::isnan(largest)) keepChosen(choice, row);
  double squares = 0;
  for (const float w : row.weights) row.sum += static_cast<double>(w), squares += static_cast<double>(w) * static_cast<double>(w);
  row.logSumExp = static_cast<double>(largest) + std::log(row.sum);
  row.logSumSquares = 2 * static_cast<double>(largest) + std::log(squares);
  return row;
}

}  // namespace

ChosenRows CpuBackend::chosenAttention(const MaskedHead& head, const KeyChoice& choice, MatrixView out, const Job& job) {
  ChosenRows result;
  result.logSumExp.resize(static_cast<size_t>(head.query.rows)), result.logSumSquares = result.logSumExp;
  std::vector<int64_t> kept(result.logSumExp.size());
  parallelRanges(
      head.query.rows, 16,
      [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          const ChosenRow row = chosenRow(head, choice, r);
          const auto at = static_cast<size_t>(r);
          result.logSumExp[at] = row.logSumExp, result.logSumSquares[at] = row.logSumSquares, kept[at] = row.kept;
          std::fill_n(out.row(r), out.cols, 0.0f);
          for (size_t i = 0; i < row.keys.size() && out.cols > 0; ++i) {
            if (row.weights[i] == 0.0f) continue;
            const auto weight = static_cast<float>(static_cast<double>(row.weights[i]) / row.sum);
            for (int64_t c = 0; c < out.cols; ++c) out(r, c) += weight * head.value(row.keys[i], c);
          }
        }
      },
      &job);
  for (const int64_t k : kept) result.kept += static_cast<double>(k);
  for (const KeyRange& r : choice.seen->ranges) result.pairs += static_cast<double>(r.end - r.first);
  result.keyRows = result.pairs;
  return result;
}

Matrix CpuBackend::chosenTile(const MaskedHead& head, const KeyChoice& choice, const TileRequest& request, const Job& job) {
  Matrix cells = Matrix::zeros(request.rows, request.cols);
  const int64_t side = int64_t{1} << request.level, n = head.key.rows;
  const auto extent = [&](int64_t cell) { return std::min(n, (cell + 1) * side) - cell * side; };
  const bool isMean = request.pooling == Pooling::Mean;
  parallelRanges(
      request.rows, 1,
      [&](int64_t begin, int64_t end) {
        for (int64_t cell = begin; cell < end; ++cell) {
          for (int64_t r = cell * side; r < std::min(head.query.rows, (cell + 1) * side); ++r) {
            const ChosenRow row = chosenRow(head, choice, r);
            for (size_t i = 0; i < row.keys.size(); ++i) {
              const int64_t col = (row.keys[i] >> request.level) - request.firstCol;
              if (col < 0 || col >= request.cols || row.sum == 0) continue;
              const auto weight = static_cast<float>(static_cast<double>(row.weights[i]) / row.sum);
              cells(cell, col) = isMean ? cells(cell, col) + weight : std::max(cells(cell, col), weight);
            }
          }
          for (int64_t c = 0; c < cells.cols() && isMean; ++c)
            cells(cell, c) /= static_cast<float>(extent(request.firstRow + cell)) * static_cast<float>(extent(request.firstCol + c));
        }
      },
      &job);
  return cells;
}

}  // namespace headscope::core
