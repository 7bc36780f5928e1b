#include "core/mechanisms/budget.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/mechanisms/comparison.h"
#include "core/mechanisms/layer_heads.h"
#include "core/mechanisms/registry.h"

namespace headscope::core {

double Budget::denseOperations() const {
  double sum = 0;
  for (const HeadBudget& h : heads) sum += h.denseOperations;
  return sum;
}

double Budget::operations() const {
  double sum = 0;
  for (const HeadBudget& h : heads) sum += h.chosen < 0 ? h.denseOperations : h.options[static_cast<size_t>(h.chosen)].operations;
  return sum;
}

std::vector<HeadChoice> Budget::choices() const {
  std::vector<HeadChoice> out;
  for (const HeadBudget& h : heads) {
    if (h.chosen >= 0) out.push_back({h.head, parseMechanism(h.options[static_cast<size_t>(h.chosen)].mechanism)});
  }
  return out;
}

Budget measureBudget(std::shared_ptr<const Trace> trace, std::span<const std::shared_ptr<const Mechanism>> mechanisms, Job& job) {
  Budget budget;
  budget.lossBefore = budget.loss = budget.kl = std::numeric_limits<double>::quiet_NaN();
  std::vector<std::shared_ptr<const Mechanism>> all{parseMechanism("dense")};
  all.insert(all.end(), mechanisms.begin(), mechanisms.end());
  ComparisonOptions options;
  options.errors.hasRows = false;
  const int64_t heads = trace->spec().heads;
  for (int64_t l = 0; l < trace->layersRun(); ++l) {
    const LayerHeads layer(trace, l, job);
    for (int64_t h = 0; h < heads; ++h) {
      job.report(static_cast<double>(l * heads + h) / static_cast<double>(trace->layersRun() * heads), "layer " + std::to_string(l));
      const auto results = compareMechanisms(layer.input(h), layer.outputWeight(h), all, options, job);
      HeadBudget mine;
      mine.head = {l, h};
      mine.denseOperations = results[0].cost.operations;
      for (size_t m = 1; m < results.size(); ++m) {
        if (results[m].refusal.empty())
          mine.options.push_back({results[m].mechanism, results[m].errors.output, results[m].cost.operations});
      }
      std::stable_sort(mine.options.begin(), mine.options.end(),
                       [](const BudgetOption& a, const BudgetOption& b) { return a.operations < b.operations; });
      budget.heads.push_back(std::move(mine));
    }
  }
  return budget;
}

void chooseUnder(Budget& budget, double bound) {
  budget.bound = bound;
  for (HeadBudget& head : budget.heads) {
    head.chosen = -1;
    for (size_t i = 0; i < head.options.size() && head.chosen < 0; ++i) {
      if (head.options[i].error <= bound && head.options[i].operations < head.denseOperations) head.chosen = static_cast<int64_t>(i);
    }
  }
}

void judge(Budget& budget, const Trace& trace, Job& job) {
  const auto options = replacementFor(trace.sharedModel(), budget.choices(), trace.sharedBackend());
  const auto changed = runForward(trace.sharedModel(), trace.sharedPrompt(), trace.sharedBackend(), options, job);
  const ModelChange change = compareOutputs(trace, *changed, job);
  budget.lossBefore = change.lossBefore;
  budget.loss = change.loss;
  budget.kl = change.kl;
}

void chooseUnderLoss(Budget& budget, const Trace& trace, double boundLoss, Job& job) {
  budget.boundLoss = boundLoss;
  std::vector<double> bounds{0.0};
  for (const HeadBudget& head : budget.heads) {
    for (const BudgetOption& option : head.options) bounds.push_back(option.error);
  }
  std::sort(bounds.begin(), bounds.end());
  size_t good = 0, bad = bounds.size();  // bounds[good] holds: nothing is replaced below the smallest error
  while (bad - good > 1 && bounds[bad - 1] > bounds[good]) {
    const size_t middle = good + (bad - good) / 2;
    chooseUnder(budget, bounds[middle]);
    judge(budget, trace, job);
    (budget.loss - budget.lossBefore <= boundLoss ? good : bad) = middle;
  }
  chooseUnder(budget, bounds[good]);
  judge(budget, trace, job);
}

std::string toJson(const Budget& budget, const Trace& trace) {
  const auto number = [](double value) { return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr); };
  nlohmann::ordered_json json;
  json["format"] = "headscope-attention-plan";
  json["version"] = 1;
  json["model"] = trace.model().name();
  json["layers"] = trace.layersRun();
  json["heads_per_layer"] = trace.spec().heads;
  json["tokens"] = trace.count();
  json["bound_output_error"] = number(budget.bound);
  json["bound_loss"] = budget.boundLoss >= 0 ? number(budget.boundLoss) : nlohmann::ordered_json(nullptr);
  json["dense_operations"] = budget.denseOperations();
  json["operations"] = budget.operations();
  json["loss_before"] = number(budget.lossBefore);
  json["loss"] = number(budget.loss);
  json["output_kl"] = number(budget.kl);
  json["heads"] = nlohmann::ordered_json::array();
  for (const HeadBudget& head : budget.heads) {
    const BudgetOption* option = head.chosen >= 0 ? &head.options[static_cast<size_t>(head.chosen)] : nullptr;
    json["heads"].push_back({{"layer", head.head.layer},
                             {"head", head.head.head},
                             {"mechanism", option != nullptr ? option->mechanism : "dense"},
                             {"output_error", option != nullptr ? number(option->error) : number(0.0)},
                             {"operations", option != nullptr ? option->operations : head.denseOperations},
                             {"dense_operations", head.denseOperations}});
  }
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace headscope::core
