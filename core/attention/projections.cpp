// From the residual stream to queries, keys and values: plain and grouped heads, and latent attention (DeepSeek-V2 report).
#include "core/attention/forward_parts.h"

namespace headscope::core {
namespace {

Tensor project(const PassContext& pass, const Linear& weights, const Tensor& x) {
  const Tensor out = pass.backend.allocate(x.rows, weights.outputs());
  pass.backend.linear(x, weights, Into::Replace, out, pass.job);
  return out;
}

void normHeads(const PassContext& pass, const NormWeights& weights, int64_t heads, const Tensor& x) {
  if (!weights.empty()) pass.backend.norm(x, {NormKind::RmsNorm, pass.spec.normEps, heads}, weights, x, pass.job);
}

Tensor normLatent(const PassContext& pass, const NormWeights& weights, const Tensor& x) {
  if (!weights.empty()) pass.backend.norm(x, {NormKind::RmsNorm, pass.spec.mla->normEps, 1}, weights, x, pass.job);
  return x;
}

AttentionInput projectPlain(const PassContext& pass, const AttentionWeights& weights, const Tensor& x, const AttentionRule& rule) {
  AttentionInput in{project(pass, weights.query, x), project(pass, weights.key, x), project(pass, weights.value, x), rule};
  normHeads(pass, weights.queryNorm, rule.heads, in.query);
  normHeads(pass, weights.keyNorm, rule.kvHeads, in.key);
  if (pass.spec.positions == PositionKind::Rope) {
    pass.backend.rope(in.query, {rule.heads, rule.keyWidth, 0}, pass.spec.rope, pass.job);
    pass.backend.rope(in.key, {rule.kvHeads, rule.keyWidth, 0}, pass.spec.rope, pass.job);
  }
  return in;
}

/// Keys are expanded: per head [nope, rope], the rotary part the same in all heads.
AttentionInput projectLatent(const PassContext& pass, const AttentionWeights& weights, const Tensor& x, AttentionRule rule) {
  const MlaSpec& mla = *pass.spec.mla;
  rule.kvHeads = rule.heads;
  AttentionInput in{{}, {}, {}, rule};
  in.query = weights.queryDown.empty()
                 ? project(pass, weights.query, x)
                 : project(pass, weights.queryUp, normLatent(pass, weights.queryLatentNorm, project(pass, weights.queryDown, x)));
  pass.backend.rope(in.query, {rule.heads, rule.keyWidth, mla.nope}, pass.spec.rope, pass.job);
  const Tensor latent = normLatent(pass, weights.latentNorm, project(pass, weights.latentDown, x));  // [N, latent]
  const Tensor rotary = project(pass, weights.ropeKey, x);                                           // [N, rope]
  pass.backend.rope(rotary, {1, mla.rope, 0}, pass.spec.rope, pass.job);
  in.key = pass.backend.allocate(x.rows, rule.heads * rule.keyWidth);
  pass.backend.copyHeads(project(pass, weights.keyUp, latent), rule.heads, in.key, rule.heads, 0, pass.job);
  pass.backend.copyHeads(rotary, 1, in.key, rule.heads, mla.nope, pass.job);
  in.value = project(pass, weights.valueUp, latent);
  return in;
}

}  // namespace

AttentionInput projectHeads(const PassContext& pass, int64_t layer, const AttentionWeights& weights, const Tensor& x) {
  const ModelSpec& spec = pass.spec;
  const LayerSpec& own = spec.layer[static_cast<size_t>(layer)];
  AttentionRule rule;
  rule.heads = spec.heads;
  rule.kvHeads = spec.kvHeads;
  rule.keyWidth = spec.headWidth;
  rule.valueWidth = spec.valueWidth;
  rule.scale = own.attentionScale;
  rule.softcap = spec.attentionSoftcap;
  rule.window = own.window;
  rule.isCausal = spec.isCausal;
  return spec.mla ? projectLatent(pass, weights, x, rule) : projectPlain(pass, weights, x, rule);
}

}  // namespace headscope::core
