#include "core/attention/attention_map.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <utility>

#include "core/backend/backend.h"

namespace headscope::core {

AttentionMap::AttentionMap(std::shared_ptr<const Trace> trace, HeadRef head) : trace_(std::move(trace)), head_(head) {
  assert(head.layer >= 0 && head.layer < trace_->layersRun() && head.head >= 0 && head.head < trace_->rule(head.layer).heads);
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
  return trace_->backend().mapTile(trace_->input(head_.layer), trace_->statistics(head_.layer), head_.head, request, job);
}

std::vector<float> AttentionMap::row(int64_t query) const {
  Job job;
  const Matrix cells = tile({0, query, 1, 0, size(), Pooling::Max}, job);
  return {cells.data(), cells.data() + cells.size()};
}

float AttentionMap::at(int64_t query, int64_t key) const {
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
  return trace_->backend().columnMass(trace_->input(head_.layer), trace_->statistics(head_.layer), head_.head, job);
}

}  // namespace headscope::core
