#include "core/attention/attention_map.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <utility>

#include "core/attention/effective_maps.h"
#include "core/backend/backend.h"
#include "core/base/parallel.h"

namespace headscope::core {
namespace {

constexpr int64_t kBlockRows = 64;  // of another mechanism's map that are held at once, [64, N]

/// Adds a row [n] to its row of cells: the sum, or what is largest in size with its sign.
void pool(const float* row, int64_t n, const TileRequest& request, float* cells) {
  const int64_t first = request.firstCol << request.level, end = std::min(n, (request.firstCol + request.cols) << request.level);
  for (int64_t j = first; j < end; ++j) {
    float& cell = cells[(j >> request.level) - request.firstCol];
    if (request.pooling == Pooling::Mean)
      cell += row[j];
    else if (std::abs(row[j]) > std::abs(cell))
      cell = row[j];
  }
}

}  // namespace

std::optional<Matrix> EffectiveMaps::tile(HeadRef, const TileRequest&, Job&) const { return std::nullopt; }

AttentionMap::AttentionMap(std::shared_ptr<const Trace> trace, HeadRef head) : trace_(std::move(trace)), head_(head) {
  assert(head.layer >= 0 && head.layer < trace_->layersRun() && head.head >= 0 && head.head < trace_->rule(head.layer).heads);
  if (const EffectiveMaps* maps = trace_->effectiveMaps()) mechanism_ = maps->mechanismOf(head_);
}

bool AttentionMap::isSigned() const { return !mechanism_.empty() && !trace_->effectiveMaps()->isNormalised(head_); }
bool AttentionMap::readsOwnValues() const { return mechanism_.empty() || trace_->effectiveMaps()->readsOwnValues(head_); }

std::vector<std::string> AttentionMap::notes(Job& job) const {
  return mechanism_.empty() ? std::vector<std::string>{} : trace_->effectiveMaps()->notes(head_, job);
}

int64_t AttentionMap::size() const { return trace_->count(); }

int64_t AttentionMap::levels() const {
  int64_t levels = 1;
  while (sizeAt(levels - 1) > 1) ++levels;
  return levels;
}

int64_t AttentionMap::sizeAt(int64_t level) const { return (size() + (int64_t{1} << level) - 1) >> level; }

Matrix AttentionMap::tile(const TileRequest& request, Job& job) const {
  assert(request.level >= 0 && request.firstRow >= 0 && request.rows >= 0 && request.firstRow + request.rows <= sizeAt(request.level));
  assert(request.firstCol >= 0 && request.cols >= 0 && request.firstCol + request.cols <= sizeAt(request.level));
  if (!mechanism_.empty()) return effectiveTile(request, job);
  return trace_->backend().mapTile(trace_->input(head_.layer), trace_->statistics(head_.layer), head_.head, request, job);
}

Matrix AttentionMap::effectiveTile(const TileRequest& request, Job& job) const {
  if (auto pooled = trace_->effectiveMaps()->tile(head_, request, job)) return std::move(*pooled);
  Matrix cells = Matrix::zeros(request.rows, request.cols);
  const int64_t n = size(), height = int64_t{1} << request.level;  // tokens a cell
  const int64_t together = std::max<int64_t>(1, kBlockRows / height);
  parallelRanges(
      request.rows, together,
      [&](int64_t begin, int64_t end) {
        Matrix rows(std::min(kBlockRows, together * height), n);
        const int64_t last = std::min(n, (request.firstRow + end) << request.level);
        for (int64_t token = (request.firstRow + begin) << request.level; token < last; token += rows.rows()) {
          job.checkpoint();
          const int64_t count = std::min(rows.rows(), last - token);
          trace_->effectiveMaps()->rows(head_, token, rows.view().rowsFrom(0, count), job);
          for (int64_t r = 0; r < count; ++r) pool(rows.row(r), n, request, cells.row(((token + r) >> request.level) - request.firstRow));
        }
      },
      &job);
  for (int64_t r = 0; r < cells.rows() && request.pooling == Pooling::Mean; ++r) {
    const int64_t below = std::min(height, n - ((request.firstRow + r) << request.level));
    for (int64_t c = 0; c < cells.cols(); ++c)
      cells(r, c) /= static_cast<float>(below * std::min(height, n - ((request.firstCol + c) << request.level)));
  }
  return cells;
}

std::vector<float> AttentionMap::row(int64_t query) const {
  Job job;
  const Matrix cells = tile({0, query, 1, 0, size(), Pooling::Max}, job);
  return {cells.data(), cells.data() + cells.size()};
}

float AttentionMap::at(int64_t query, int64_t key) const {
  if (!mechanism_.empty()) return row(query)[static_cast<size_t>(key)];
  const float s = score(query, key);
  return isVisible(query, key)
             ? static_cast<float>(std::exp(static_cast<double>(s) - trace_->rows(head_).logSumExp[static_cast<size_t>(query)]))
             : 0.0f;
}

float AttentionMap::score(int64_t query, int64_t key) const {
  if (!isVisible(query, key)) return -std::numeric_limits<float>::infinity();
  const AttentionRule& rule = trace_->rule(head_.layer);
  const ConstMatrixView q = trace_->query(head_.layer, head_.head), k = trace_->key(head_.layer, rule.kvHeadOf(head_.head));
  double dot = 0;
  for (int64_t c = 0; c < q.cols; ++c) dot += static_cast<double>(q(query, c)) * k(key, c);
  dot *= rule.scale;
  return static_cast<float>(rule.softcap > 0 ? rule.softcap * std::tanh(dot / rule.softcap) : dot);
}

bool AttentionMap::isVisible(int64_t query, int64_t key) const {
  const AttentionRule& rule = trace_->rule(head_.layer);
  return key >= rule.firstKey(query) && key < rule.endKey(query, size());
}

std::vector<float> AttentionMap::received(Job& job) const {
  if (!mechanism_.empty()) {
    constexpr int64_t kRows = 1024;
    std::vector<double> sums(static_cast<size_t>(size()), 0.0);
    for (int64_t first = 0; first < size(); first += kRows) {
      const Matrix rows = tile({0, first, std::min(kRows, size() - first), 0, size(), Pooling::Max}, job);
      for (int64_t r = 0; r < rows.rows(); ++r) {
        for (int64_t j = 0; j < rows.cols(); ++j) sums[static_cast<size_t>(j)] += rows(r, j);
      }
    }
    return {sums.begin(), sums.end()};
  }
  return trace_->backend().columnMass(trace_->input(head_.layer), trace_->statistics(head_.layer), head_.head, job);
}

}  // namespace headscope::core
