#include "core/attention/trace.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/backend/backend.h"

namespace headscope::core {
namespace {

std::span<const float> rowOf(ConstMatrixView matrix, int64_t row) { return {matrix.row(row), static_cast<size_t>(matrix.cols)}; }

uint64_t bytesOf(const Tensor& tensor) { return static_cast<uint64_t>(tensor.size()) * sizeof(float); }

}  // namespace

ConstMatrixView Trace::onHost(const Tensor& tensor) const {
  if (const float* data = backend_->hostData(tensor)) return {data, tensor.rows, tensor.cols, tensor.stride};
  std::lock_guard lock(copiesMutex_);
  // Tensors of a trace are whole storages, so that the storage names the copy
  for (const auto& [storage, matrix] : copies_) {
    if (storage == tensor.storage.get()) return matrix.view();
  }
  copies_.emplace_back(tensor.storage.get(), backend_->download(tensor));
  return std::as_const(copies_.back().second).view();
}

ConstMatrixView Trace::query(int64_t layer, int64_t head) const {
  const AttentionInput& in = input(layer);
  return onHost(in.query).colsFrom(head * in.rule.keyWidth, in.rule.keyWidth);
}

ConstMatrixView Trace::key(int64_t layer, int64_t kvHead) const {
  const AttentionInput& in = input(layer);
  return onHost(in.key).colsFrom(kvHead * in.rule.keyWidth, in.rule.keyWidth);
}

ConstMatrixView Trace::value(int64_t layer, int64_t kvHead) const {
  const AttentionInput& in = input(layer);
  return onHost(in.value).colsFrom(kvHead * in.rule.valueWidth, in.rule.valueWidth);
}

RowStatistics Trace::rows(HeadRef head) const {
  const AttentionStatistics& s = statistics(head.layer);
  return {rowOf(onHost(s.max), head.head), rowOf(onHost(s.logSumExp), head.head), rowOf(onHost(s.entropy), head.head),
          rowOf(onHost(s.distance), head.head)};
}

ConstMatrixView Trace::hidden(int64_t index) const { return onHost(hidden_.at(static_cast<size_t>(index))); }

const AttentionRule& Trace::rule(int64_t layer) const { return input(layer).rule; }
const AttentionInput& Trace::input(int64_t layer) const { return layers_.at(static_cast<size_t>(layer)).input; }
const AttentionStatistics& Trace::statistics(int64_t layer) const { return layers_.at(static_cast<size_t>(layer)).rows; }

bool Trace::hasLogits() const { return spec().head != HeadKind::None && layersRun() == spec().layers && model_->hasUnembedding(); }

int64_t Trace::logitRows() const { return spec().head == HeadKind::Classifier ? std::min<int64_t>(1, count()) : count(); }

Tensor Trace::readyForUnembedding(int64_t first, int64_t count, Job& job) const {
  const Tensor x = hidden_.back().rowsFrom(first, count);
  const HeadWeightsOnTop top = model_->head();
  if (top.transform.empty()) return x;
  const Tensor out = backend_->allocate(count, top.transform.outputs());
  backend_->linear(x, top.transform, Into::Replace, out, job);
  backend_->activate(out, top.transformActivation, job);
  if (!top.transformNorm.empty()) backend_->norm(out, {spec().norm, spec().normEps, 1}, top.transformNorm, out, job);
  return out;
}

Matrix Trace::logits(int64_t first, int64_t count, Job& job) const {
  assert(hasLogits() && first >= 0 && count >= 0 && first + count <= logitRows());
  const HeadWeightsOnTop top = model_->head();
  const Tensor out = backend_->allocate(count, top.unembedding.outputs());
  if (count == 0) return backend_->download(out);
  backend_->linear(readyForUnembedding(first, count, job), top.unembedding, Into::Replace, out, job);
  if (spec().logitSoftcap > 0) backend_->softcap(out, static_cast<float>(spec().logitSoftcap), job);
  return backend_->download(out);
}

std::vector<NextToken> Trace::nextTokens(int64_t query, int64_t top, Job& job) const {
  const Matrix row = logits(spec().head == HeadKind::Classifier ? 0 : query, 1, job);
  const float* x = row.data();
  const int64_t size = row.cols();
  double max = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int64_t c = 0; c < size; ++c) max = std::max(max, static_cast<double>(x[c]));
  for (int64_t c = 0; c < size; ++c) sum += std::exp(x[c] - max);
  std::vector<int32_t> order(static_cast<size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  const int64_t kept = std::clamp<int64_t>(top, 0, size);
  // NaN compares as smallest and ties go to the smaller id, so that the order is always the same
  const auto before = [&](int32_t a, int32_t b) {
    const float p = std::isnan(x[a]) ? -std::numeric_limits<float>::infinity() : x[a];
    const float q = std::isnan(x[b]) ? -std::numeric_limits<float>::infinity() : x[b];
    return p != q ? p > q : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + kept, order.end(), before);
  std::vector<NextToken> tokens;
  for (int64_t i = 0; i < kept; ++i) {
    const int32_t id = order[static_cast<size_t>(i)];
    tokens.push_back({id, std::exp(x[id] - max) / sum});
  }
  return tokens;
}

double Trace::loss(Job& job) const {
  const int64_t rows = count() - 1;
  if (rows < 1 || spec().head != HeadKind::CausalLanguage || !hasLogits()) return std::numeric_limits<double>::quiet_NaN();
  std::vector<int32_t> targets;
  for (int64_t i = 1; i <= rows; ++i) targets.push_back(prompt_->tokens[static_cast<size_t>(i)].id);
  const LogitSummary summary =
      backend_->logitSummary(readyForUnembedding(0, rows, job), model_->head().unembedding, spec().logitSoftcap, targets, job);
  double sum = 0;
  for (int64_t i = 0; i < rows; ++i) sum += summary.logSumExp[static_cast<size_t>(i)] - summary.target[static_cast<size_t>(i)];
  return sum / static_cast<double>(rows);
}

uint64_t Trace::bytes() const {
  uint64_t sum = 0;
  for (const Tensor& h : hidden_) sum += bytesOf(h);
  for (const Layer& l : layers_) {
    for (const Tensor* t :
         {&l.input.query, &l.input.key, &l.input.value, &l.rows.max, &l.rows.logSumExp, &l.rows.entropy, &l.rows.distance}) {
      sum += bytesOf(*t);
    }
  }
  std::lock_guard lock(copiesMutex_);
  for (const auto& [storage, matrix] : copies_) sum += static_cast<uint64_t>(matrix.size()) * sizeof(float);
  return sum;
}

}  // namespace headscope::core
