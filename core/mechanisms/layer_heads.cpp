#include "core/mechanisms/layer_heads.h"

#include <cmath>

#include "core/backend/open_backend.h"

namespace headscope::core {

Matrix headOutputWeight(const Model& model, HeadRef head) {
  const Linear output = model.attention(head.layer).output;
  const int64_t width = output.inputs() / model.spec().heads;
  Matrix stored(output.outputs(), width), out(width, output.outputs());  // [d, v], [v, d]
  decodeTile(output, 0, stored.rows(), head.head * width, stored.view());
  for (int64_t r = 0; r < stored.rows(); ++r) {
    for (int64_t c = 0; c < width; ++c) out(c, r) = stored(r, c);
  }
  return out;
}

HeadInput headRules(const ModelSpec& spec, HeadRef head) {
  const LayerSpec& layer = spec.layer[static_cast<size_t>(head.layer)];
  HeadInput input;
  input.scale = layer.attentionScale;
  input.softcap = spec.attentionSoftcap;
  input.window = layer.window;
  input.isCausal = spec.isCausal;
  input.layer = head.layer;
  input.head = head.head;
  input.heads = spec.heads;
  if (spec.positions == PositionKind::Rope) {
    input.rope = &spec.rope;
    input.ropeFirst = spec.mla ? spec.mla->nope : 0;
  }
  return input;
}

void addProjections(HeadInput& input, const HeadWeights& weights) {
  if (weights.latent) return;
  const int64_t g = weights.kvHeadOf(input.head);
  input.queryWeight = weights.queryOf(input.head);
  input.keyWeight = weights.keyOf(g);
  input.valueWeight = weights.valueOf(g);
}

Matrix normedRows(ConstMatrixView x, const NormWeights& norm, NormKind kind, double eps) {
  Matrix out(x.rows, x.cols);
  for (int64_t r = 0; r < x.rows; ++r) {
    double mean = 0, squares = 0;
    if (kind == NormKind::LayerNorm) {
      for (int64_t c = 0; c < x.cols; ++c) mean += static_cast<double>(x(r, c)) / static_cast<double>(x.cols);
    }
    for (int64_t c = 0; c < x.cols; ++c) squares += std::pow(static_cast<double>(x(r, c)) - mean, 2);
    const double share = 1.0 / std::sqrt(squares / static_cast<double>(x.cols) + eps);
    for (int64_t c = 0; c < x.cols; ++c) {
      const size_t i = static_cast<size_t>(c);
      double value = (static_cast<double>(x(r, c)) - mean) * share * static_cast<double>(norm.gain[i]);
      if (!norm.bias.empty()) value += static_cast<double>(norm.bias[i]);
      out(r, c) = static_cast<float>(value);
    }
  }
  return out;
}

LayerHeads::LayerHeads(std::shared_ptr<const Trace> trace, int64_t layer, Job& job, std::shared_ptr<const Trace> fit)
    : trace_(std::move(trace)),
      fit_(std::move(fit)),
      layer_(layer),
      weights_(headWeights(trace_->model(), layer, Fold::Off, MlaSplit::Heads, {}, &job)) {
  const ModelSpec& spec = trace_->spec();
  const NormWeights norm = trace_->model().attentionNorm(layer);
  if (spec.normPlacement != NormPlacement::AfterSum && !norm.empty())
    normed_ = normedRows(trace_->hidden(layer), norm, spec.norm, spec.normEps);
}

HeadInput headInput(const std::shared_ptr<const Trace>& trace, HeadRef head) {
  const AttentionRule& rule = trace->rule(head.layer);
  HeadInput input = headRules(trace->spec(), head);
  const int64_t g = rule.kvHeadOf(head.head);
  input.query = trace->query(head.layer, head.head);
  input.key = trace->key(head.layer, g);
  input.value = trace->value(head.layer, g);
  input.keyValueOf = [trace, h = head.head](int64_t other) {
    const int64_t group = trace->rule(other).kvHeadOf(h);
    return KeyValue{trace->key(other, group), trace->value(other, group)};
  };
  input.backend = deviceOnly(trace->sharedBackend());
  return input;
}

HeadInput LayerHeads::input(int64_t head) const {
  HeadInput input = headInput(trace_, {layer_, head});
  if (fit_) {
    input.fitQuery = fit_->query(layer_, head);
    input.fitKey = fit_->key(layer_, trace_->rule(layer_).kvHeadOf(head));
  }
  input.normedInput = normed_.size() > 0 ? normed_.view() : trace_->hidden(layer_);
  addProjections(input, weights_);
  return input;
}

}  // namespace headscope::core
