#include "core/mechanisms/replace.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <set>

#include "core/backend/open_backend.h"
#include "core/base/error.h"
#include "core/base/parallel.h"
#include "core/mechanisms/layer_heads.h"
#include "core/mechanisms/registry.h"
#include "core/mechanisms/replaced_maps.h"

namespace headscope::core {
namespace {

/// What the replacement remembers between calls of one forward pass, which come layer by layer.
class ReplacedHeads {
 public:
  ReplacedHeads(std::shared_ptr<const Model> model, const std::vector<HeadChoice>& choices, std::shared_ptr<Backend> backend)
      : model_(std::move(model)), backend_(deviceOnly(std::move(backend))) {
    const auto own = parseMechanism("dense");
    for (const HeadChoice& choice : choices) {
      chosen_[choice.head] = choice.mechanism;
      if (choice.mechanism->name() != "dense") changed_[choice.head] = choice.mechanism;
      const int64_t from = choice.mechanism->readsLayer(choice.head.layer);
      if (from < 0 && choice.mechanism->name() != "reuse") continue;
      const std::string here = "layer " + std::to_string(choice.head.layer);
      if (from < 0) throw Error(here + " has no earlier layer to read", "mechanism " + choice.mechanism->name(), "leave its heads out");
      if (from >= choice.head.layer)
        throw Error("layer " + std::to_string(from) + " is not before " + here, "mechanism " + choice.mechanism->name());
      read_.insert({from, choice.head.head});
    }
    for (const HeadRef& head : read_) chosen_.emplace(head, own);
  }

  std::vector<HeadRef> heads() const {
    std::vector<HeadRef> out;
    for (const auto& [head, mechanism] : chosen_) out.push_back(head);
    return out;
  }

  /// Those that are under another mechanism than their own.
  const std::map<HeadRef, std::shared_ptr<const Mechanism>>& changed() const { return changed_; }

  void run(HeadRef head, ConstMatrixView query, ConstMatrixView key, ConstMatrixView value, ConstMatrixView normedInput, MatrixView out) {
    Job job;
    HeadInput input = headRules(model_->spec(), head);
    input.query = query;
    input.key = key;
    input.value = value;
    input.normedInput = normedInput;
    input.backend = backend_;
    std::shared_ptr<const HeadWeights> weights;
    const auto& mechanism = chosen_.at(head);
    if (mechanism->name() == "dense_attention") {
      weights = weightsOf(head.layer);
      addProjections(input, *weights);
    }
    input.keyValueOf = [this, h = head.head](int64_t layer) {
      const std::lock_guard lock(mutex_);
      const auto& kept = kept_.at({layer, h});
      return KeyValue{kept->first, kept->second};
    };
    if (read_.count(head) > 0) {
      const std::lock_guard lock(mutex_);
      kept_[head] = std::make_shared<std::pair<Matrix, Matrix>>(copied(key), copied(value));
    }
    mechanism->bind(input, job)->output(out, job);
  }

 private:
  static Matrix copied(ConstMatrixView view) {
    Matrix out(view.rows, view.cols);
    for (int64_t r = 0; r < view.rows; ++r) std::memcpy(out.row(r), view.row(r), static_cast<size_t>(view.cols) * sizeof(float));
    return out;
  }
  std::shared_ptr<const HeadWeights> weightsOf(int64_t layer) {
    const std::lock_guard lock(mutex_);
    if (!weights_ || weights_->layer != layer) weights_ = std::make_shared<HeadWeights>(headWeights(*model_, layer, Fold::Off));
    return weights_;
  }

  std::shared_ptr<const Model> model_;
  std::shared_ptr<Backend> backend_;
  std::map<HeadRef, std::shared_ptr<const Mechanism>> chosen_, changed_;
  std::set<HeadRef> read_;  // whose keys and values later layers read
  std::mutex mutex_;
  std::map<HeadRef, std::shared_ptr<std::pair<Matrix, Matrix>>> kept_;
  std::shared_ptr<const HeadWeights> weights_;
};

/// Log-probabilities of one row in place; returns the ten likeliest.
std::vector<int64_t> normalise(float* row, int64_t count, std::vector<int64_t>& scratch) {
  float largest = row[0];
  for (int64_t c = 1; c < count; ++c) largest = std::max(largest, row[c]);
  double sum = 0;
  for (int64_t c = 0; c < count; ++c) sum += std::exp(static_cast<double>(row[c] - largest));
  const float shift = largest + static_cast<float>(std::log(sum));
  for (int64_t c = 0; c < count; ++c) row[c] -= shift;
  scratch.resize(static_cast<size_t>(count));
  for (int64_t c = 0; c < count; ++c) scratch[static_cast<size_t>(c)] = c;
  const auto top = std::min<std::ptrdiff_t>(10, static_cast<std::ptrdiff_t>(count));
  std::partial_sort(scratch.begin(), scratch.begin() + top, scratch.end(),
                    [&](int64_t a, int64_t b) { return row[a] > row[b] || (row[a] == row[b] && a < b); });
  return {scratch.begin(), scratch.begin() + top};
}

}  // namespace

ForwardOptions replacementFor(std::shared_ptr<const Model> model, const std::vector<HeadChoice>& choices,
                              std::shared_ptr<Backend> backend) {
  auto replaced = std::make_shared<ReplacedHeads>(std::move(model), choices, std::move(backend));
  ForwardOptions options;
  options.replacedHeads = replaced->heads();
  options.replacement = [replaced](HeadRef head, ConstMatrixView query, ConstMatrixView key, ConstMatrixView value,
                                   ConstMatrixView normedInput,
                                   MatrixView out) { replaced->run(head, query, key, value, normedInput, out); };
  options.effectiveMaps = [replaced](const Trace& trace) { return replacedMaps(trace, replaced->changed()); };
  return options;
}

ForwardOptions replacementFor(std::shared_ptr<const Model> model, const std::vector<HeadRef>& heads,
                              std::shared_ptr<const Mechanism> mechanism, std::shared_ptr<Backend> backend) {
  std::vector<HeadChoice> choices;
  for (const HeadRef& head : heads) choices.push_back({head, mechanism});
  return replacementFor(std::move(model), choices, std::move(backend));
}

ModelChange compareOutputs(const Trace& before, const Trace& after, Job& job) {
  constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
  ModelChange change{kNothing, kNothing, kNothing, kNothing, kNothing};
  if (!before.hasLogits() || !after.hasLogits()) return change;
  const int64_t rows = before.logitRows();
  const bool isNextToken = before.spec().head == HeadKind::CausalLanguage;
  const std::vector<int32_t> ids = before.prompt().ids();
  double lossBefore = 0, loss = 0, kl = 0, ten = 0, one = 0;
  constexpr int64_t kRows = 64;
  for (int64_t first = 0; first < rows; first += kRows) {
    const int64_t count = std::min(kRows, rows - first);
    Matrix a = before.logits(first, count, job), b = after.logits(first, count, job);
    std::mutex mutex;
    parallelFor(
        count,
        [&](int64_t r) {
          std::vector<int64_t> scratch;
          const std::vector<int64_t> topA = normalise(a.row(r), a.cols(), scratch), topB = normalise(b.row(r), b.cols(), scratch);
          double divergence = 0;
          for (int64_t c = 0; c < a.cols(); ++c)
            divergence += std::exp(static_cast<double>(a(r, c))) * (static_cast<double>(a(r, c)) - static_cast<double>(b(r, c)));
          const auto missing =
              std::count_if(topA.begin(), topA.end(), [&](int64_t c) { return std::find(topB.begin(), topB.end(), c) == topB.end(); });
          const std::lock_guard lock(mutex);
          kl += divergence;
          ten += static_cast<double>(missing) / static_cast<double>(topA.size());
          one += topA[0] != topB[0];
          if (isNextToken && first + r + 1 < rows) {
            lossBefore -= static_cast<double>(a(r, ids[static_cast<size_t>(first + r + 1)]));
            loss -= static_cast<double>(b(r, ids[static_cast<size_t>(first + r + 1)]));
          }
        },
        &job);
  }
  change.kl = kl / static_cast<double>(rows);
  change.topTenChange = ten / static_cast<double>(rows);
  change.topOneChange = one / static_cast<double>(rows);
  if (isNextToken && rows > 1) {
    change.lossBefore = lossBefore / static_cast<double>(rows - 1);
    change.loss = loss / static_cast<double>(rows - 1);
  }
  return change;
}

}  // namespace headscope::core
