#include "core/attention/forward.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "core/attention/forward_parts.h"
#include "core/attention/weight_stream.h"
#include "core/backend/device_fault.h"
#include "core/base/error.h"
#include "core/base/memory.h"

namespace headscope::core {
namespace {

constexpr size_t kNormed = 2, kHeads = 3, kBlock = 4;  // slots of Scratch; 0 and 1 are the feed-forward's

std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kShown = 12;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) text += (i > 0 ? ", " : "") + names[i];
  if (names.size() > kShown) text += " and " + std::to_string(names.size() - kShown) + " more";
  return text;
}

}  // namespace

const Tensor& Scratch::take(size_t slot, int64_t rows, int64_t cols) {
  if (slots_.size() <= slot) slots_.resize(slot + 1);
  Tensor& tensor = slots_[slot];
  if (tensor.rows != rows || tensor.cols != cols) {
    tensor = {};  // given back before the new one is taken
    tensor = backend_.allocate(rows, cols);
  }
  return tensor;
}

HostNumbers::HostNumbers(Backend& backend, const Tensor& tensor) {
  if (const float* data = backend.hostData(tensor)) {
    view_ = {data, tensor.rows, tensor.cols, tensor.stride};
  } else {
    copy_ = backend.download(tensor);
    view_ = std::as_const(copy_).view();
  }
}

/// One run; fills a Trace layer by layer.
class ForwardPass {
 public:
  ForwardPass(std::shared_ptr<const Model> model, std::shared_ptr<const Prompt> prompt, std::shared_ptr<Backend> backend,
              const ForwardOptions& options, Job& job)
      : trace_(new Trace), options_(options), pass_{*model, model->spec(), *prompt, *backend, job}, scratch_(*backend) {
    trace_->model_ = std::move(model);
    trace_->prompt_ = std::move(prompt);
    trace_->backend_ = std::move(backend);
    layers_ = options.layers < 0 ? pass_.spec.layers : std::min(options.layers, pass_.spec.layers);
  }

  std::shared_ptr<const Trace> run() {
    const auto started = std::chrono::steady_clock::now();
    check();
    pass_.backend.keepWeights(trace_->model_);
    trace_->hidden_.push_back(embedPrompt(pass_));
    const WeightStream stream(pass_.model, layers_, options_.memoryBytes > 0 ? options_.memoryBytes : availableMemory());
    if (layers_ > 0) expectLayer(0);
    for (int64_t l = 0; l < layers_; ++l) {
      pass_.job.report(static_cast<double>(l) / static_cast<double>(layers_), stream.stage(l));
      const LayerWeights weights = pass_.model.layer(l);
      runLayer(l, weights);
      if (l + 1 < layers_) expectLayer(l + 1);  // while a device still computes this one
      stream.release(weights);
    }
    if (layers_ == pass_.spec.layers && pass_.spec.hasFinalNorm) {
      const NormWeights norm = pass_.model.head().finalNorm;
      if (!norm.empty()) normInto(norm, trace_->hidden_.back(), trace_->hidden_.back());
    }
    if (options_.effectiveMaps && !options_.replacedHeads.empty()) trace_->effectiveMaps_ = options_.effectiveMaps(*trace_);
    pass_.job.report(1.0);
    trace_->forwardSeconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    return std::move(trace_);
  }

 private:
  void check() const {
    if (layers_ == pass_.spec.layers) {
      const std::vector<std::string> missing = pass_.model.missing();
      if (!missing.empty()) {
        throw Error("the model lacks " + std::to_string(missing.size()) + " tensors that a forward pass needs: " + listed(missing),
                    pass_.model.folder().string(), "complete the folder, run fewer layers, or use the weight views");
      }
    } else {
      for (int64_t l = 0; l < layers_; ++l) (void)pass_.model.layer(l);  // each throws with what it lacks
    }
    checkPrompt(pass_.spec, pass_.prompt, pass_.model.embedding());
  }

  void normInto(const NormWeights& weights, const Tensor& x, const Tensor& out) {
    pass_.backend.norm(x, {pass_.spec.norm, pass_.spec.normEps, 1}, weights, out, pass_.job);
  }

  /// What a block reads: the stream, or its norm.
  Tensor blockInput(const NormWeights& weights, const Tensor& x) {
    if (pass_.spec.normPlacement == NormPlacement::AfterSum || weights.empty()) return x;
    const Tensor normed = scratch_.take(kNormed, x.rows, x.cols);
    normInto(weights, x, normed);
    return normed;
  }

  /// Adds what `block` writes to y, with the norms that the placement asks for after it.
  template <class Block>
  void addBlock(const NormWeights& weights, const NormWeights& postWeights, const Tensor& y, Block block) {
    if (pass_.spec.normPlacement == NormPlacement::BeforeAndAfter) {
      const Tensor result = scratch_.take(kBlock, y.rows, y.cols);
      block(Into::Replace, result);
      normInto(postWeights, result, result);
      pass_.backend.add(y, result, pass_.job);
      return;
    }
    block(Into::Add, y);
    if (pass_.spec.normPlacement == NormPlacement::AfterSum) normInto(weights, y, y);
  }

  /// Names the next layer's weights in the order they are used; experts are left out, few of them are.
  void expectLayer(int64_t l) {
    if (!pass_.backend.fetchesWeights()) return;
    const LayerWeights w = pass_.model.layer(l);
    const AttentionWeights& a = w.attention;
    std::vector<WeightView> views;
    for (const Linear* linear :
         {&a.query, &a.queryDown, &a.queryUp, &a.key, &a.value, &a.latentDown, &a.ropeKey, &a.keyUp, &a.valueUp, &a.output, &w.moe.router,
          &w.moe.shared.gate, &w.moe.shared.up, &w.moe.shared.down, &w.mlp.gate, &w.mlp.up, &w.mlp.down}) {
      if (!linear->empty()) views.push_back(linear->weight);
    }
    pass_.backend.expectWeights(views);
  }

  void runLayer(int64_t l, const LayerWeights& weights) {
    const Tensor x = trace_->hidden_.back(), y = pass_.backend.allocate(x.rows, x.cols);
    pass_.backend.copy(x, y);
    addBlock(weights.attentionNorm, weights.attentionPostNorm, y, [&](Into into, const Tensor& out) { attend(l, weights, x, into, out); });
    const Tensor read = pass_.spec.isParallelResidual ? blockInput(weights.mlpNorm, x) : blockInput(weights.mlpNorm, y);
    addBlock(weights.mlpNorm, weights.mlpPostNorm, y, [&](Into into, const Tensor& out) {
      if (pass_.spec.layer[static_cast<size_t>(l)].isMoe) {
        mixExperts(pass_, weights.moe, read, into, out, scratch_);
      } else {
        feedForward(pass_, weights.mlp, read, into, out, scratch_);
      }
    });
    trace_->hidden_.push_back(y);
  }

  void attend(int64_t l, const LayerWeights& weights, const Tensor& x, Into into, const Tensor& out) {
    const Tensor read = blockInput(weights.attentionNorm, x);
    const AttentionInput input = projectHeads(pass_, l, weights.attention, read);
    const Tensor heads = scratch_.take(kHeads, x.rows, input.rule.heads * input.rule.valueWidth);
    trace_->layers_.push_back({input, pass_.backend.attention(input, heads, pass_.job)});
    replaceHeads(l, input, read, heads);
    pass_.backend.linear(heads, weights.attention.output, into, out, pass_.job);
  }

  void replaceHeads(int64_t l, const AttentionInput& input, const Tensor& read, const Tensor& heads) {
    const auto isHere = [&](const HeadRef& ref) { return ref.layer == l; };
    if (std::none_of(options_.replacedHeads.begin(), options_.replacedHeads.end(), isHere)) return;
    const AttentionRule& rule = input.rule;
    const HostNumbers query(pass_.backend, input.query), key(pass_.backend, input.key), value(pass_.backend, input.value),
        normed(pass_.backend, read);
    for (const HeadRef& ref : options_.replacedHeads) {
      if (!isHere(ref)) continue;
      pass_.job.checkpoint();
      const int64_t g = rule.kvHeadOf(ref.head);
      Matrix out(pass_.count(), rule.valueWidth);
      options_.replacement(ref, query.view().colsFrom(ref.head * rule.keyWidth, rule.keyWidth),
                           key.view().colsFrom(g * rule.keyWidth, rule.keyWidth),
                           value.view().colsFrom(g * rule.valueWidth, rule.valueWidth), normed.view(), out.view());
      pass_.backend.write(out, heads.colsFrom(ref.head * rule.valueWidth, rule.valueWidth));
    }
  }

  std::shared_ptr<Trace> trace_;
  const ForwardOptions& options_;
  PassContext pass_;
  Scratch scratch_;
  int64_t layers_ = 0;
};

std::shared_ptr<const Trace> runForward(std::shared_ptr<const Model> model, std::shared_ptr<const Prompt> prompt,
                                        std::shared_ptr<Backend> backend, const ForwardOptions& options, Job& job) {
  try {
    return ForwardPass(model, prompt, backend, options, job).run();
  } catch (const DeviceFault& fault) {
    // What the pass had computed is gone with the device; a guarded backend computes on the host from here on
    if (!fault.isLost() || backend->name() != "cpu") throw;
  }
  job.report(0.0, "again on the CPU");
  return ForwardPass(std::move(model), std::move(prompt), std::move(backend), options, job).run();
}

}  // namespace headscope::core
