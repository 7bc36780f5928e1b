// headscope variants: every head under other attention mechanisms: errors, cost, time; with --replace what the whole model's
// predictions become. --list prints the mechanisms.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/cli/inputs.h"
#include "app/cli/records.h"
#include "core/attention/forward.h"
#include "core/attention/head_name.h"
#include "core/base/error.h"
#include "core/mechanisms/access_map.h"
#include "core/mechanisms/clustered.h"
#include "core/mechanisms/comparison.h"
#include "core/mechanisms/layer_heads.h"
#include "core/mechanisms/registry.h"
#include "core/mechanisms/replace.h"
#include "core/mechanisms/softmax_run.h"

namespace headscope::app {
namespace {

constexpr const char* kDefaultMechanisms =
    "local:window=64;strided:stride=8;fixed:stride=8;sinks;global;topk:k=16;topp:p=0.9;clustered;linear;performer;linformer;nystrom";

struct VariantsFlags {
  std::string model, mechanisms = kDefaultMechanisms, replace, heads = "all", out, centresFrom, recall;
  PromptFlags prompt;
  int64_t seeds = 1;
  bool isList = false, isJson = false;
};

void printList(bool isJson) {
  if (!isJson) {
    for (const core::MechanismKind& kind : core::allMechanisms()) {
      std::cout << kind.name << ": " << kind.summary << '\n';
      for (const core::Parameter& p : kind.parameters) {
        std::cout << "    " << p.name << "=" << p.defaultText << "  (" << p.allowed() << ")  " << p.meaning << '\n';
      }
    }
    return;
  }
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const core::MechanismKind& kind : core::allMechanisms()) {
    nlohmann::ordered_json parameters = nlohmann::ordered_json::array();
    for (const core::Parameter& p : kind.parameters) {
      parameters.push_back({{"name", p.name}, {"default", p.defaultText}, {"allowed", p.allowed()}, {"meaning", p.meaning}});
    }
    all.push_back({{"name", kind.name}, {"summary", kind.summary}, {"parameters", std::move(parameters)}});
  }
  std::cout << all.dump(2) << '\n';
}

std::string joined(const std::vector<std::string>& notes) {
  std::string out;
  for (const std::string& note : notes) out += (out.empty() ? "" : "; ") + note;
  return out;
}

using Mechanisms = std::vector<std::shared_ptr<const core::Mechanism>>;

/// The whole model with the heads replaced, one run a mechanism; empty where it refuses.
std::vector<std::optional<core::ModelChange>> changes(const core::Trace& trace, const std::vector<core::HeadRef>& heads,
                                                      const Mechanisms& mechanisms, std::vector<std::string>& refusals, core::Job& job) {
  std::vector<std::optional<core::ModelChange>> out(mechanisms.size());
  refusals.assign(mechanisms.size(), "");
  for (size_t m = 0; m < mechanisms.size(); ++m) {
    job.report(0.5 * static_cast<double>(m) / static_cast<double>(mechanisms.size()), "whole model under " + mechanisms[m]->name());
    try {
      const auto options = core::replacementFor(trace.sharedModel(), heads, mechanisms[m], trace.sharedBackend());
      const auto changed = core::runForward(trace.sharedModel(), trace.sharedPrompt(), trace.sharedBackend(), options, job);
      out[m] = core::compareOutputs(trace, *changed, job);
    } catch (const core::Error& e) {
      refusals[m] = e.fault();
    }
  }
  return out;
}

/// Recall against share read of every clustered mechanism of the list, beside exact top-k and random, one row a point.
void addRecall(Records& records, core::HeadRef head, const core::HeadInput& input, const Mechanisms& mechanisms, core::Job& job) {
  for (const auto& mechanism : mechanisms) {
    if (mechanism->name() != "clustered") continue;
    const auto run = mechanism->bind(input, job);
    const auto* softmax = dynamic_cast<const core::SoftmaxRun*>(run.get());
    const auto* mask = softmax != nullptr ? dynamic_cast<const core::ClusterMask*>(softmax->head().mask.get()) : nullptr;
    if (mask == nullptr) continue;
    for (const core::RecallPoint& p : core::clusterRecall(input, *mask, job))
      records.add({head.layer, head.head, mechanism->spelled(), p.visit, p.shareRead, p.recall, p.exact, p.random});
  }
}

void run(const VariantsFlags& flags, const CommonFlags& common) {
  if (flags.isList) return printList(flags.isJson);
  if (flags.model.empty()) throw CLI::RequiredError("model");
  checkRecordsPath(flags.out);
  if (!flags.recall.empty()) checkRecordsPath(flags.recall);
  const Mechanisms mechanisms = core::parseMechanisms(flags.mechanisms);
  const auto model = openModel(flags.model, common);
  const auto& spec = model->spec();
  const auto heads = parseHeads(flags.heads, spec.layers, spec.heads, "--heads");
  const auto replaced =
      flags.replace.empty() ? std::vector<core::HeadRef>{} : parseHeads(flags.replace, spec.layers, spec.heads, "--replace");
  const auto prompt = makePrompt(*model, flags.prompt, common);
  const auto backend = openBackend(common);
  Records records({"layer",
                   "head",
                   "mechanism",
                   "output_error",
                   "output_error_spread",
                   "seeds",
                   "mass_kept",
                   "kl",
                   "cosine",
                   "rank_correlation",
                   "operations",
                   "operations_share",
                   "bytes_moved",
                   "bytes_held",
                   "pairs",
                   "kept_pairs",
                   "seconds",
                   "empty_rows",
                   "causal",
                   "normalised",
                   "notes",
                   "refused",
                   "model_loss_before",
                   "model_loss",
                   "model_kl",
                   "model_top10_change"});
  Records recall({"layer", "head", "mechanism", "visit", "share_read", "recall", "exact_topk", "random"});
  runWithProgress("variants", common, [&](core::Job& job) {
    const auto trace = core::runForward(model, prompt, backend, {}, job);
    std::vector<std::string> refusals(mechanisms.size());
    std::vector<std::optional<core::ModelChange>> whole(mechanisms.size());
    if (!replaced.empty()) whole = changes(*trace, replaced, mechanisms, refusals, job);
    std::shared_ptr<const core::Trace> fit;
    if (!flags.centresFrom.empty()) fit = core::runForward(model, core::promptOfFile(*model, flags.centresFrom, 0, job), backend, {}, job);
    Mechanisms all{core::parseMechanism("dense")};
    all.insert(all.end(), mechanisms.begin(), mechanisms.end());
    core::ComparisonOptions options;
    options.seeds = flags.seeds;
    std::unique_ptr<core::LayerHeads> layer;
    for (size_t i = 0; i < heads.size(); ++i) {
      job.report(
          (replaced.empty() ? 0.0 : 0.5) + (replaced.empty() ? 1.0 : 0.5) * static_cast<double>(i) / static_cast<double>(heads.size()),
          "head " + core::headName(heads[i]));
      if (!layer || layer->layer() != heads[i].layer) layer = std::make_unique<core::LayerHeads>(trace, heads[i].layer, job, fit);
      if (!flags.recall.empty()) addRecall(recall, heads[i], layer->input(heads[i].head), mechanisms, job);
      const auto results = core::compareMechanisms(layer->input(heads[i].head), layer->outputWeight(heads[i].head), all, options, job);
      for (size_t m = 0; m < results.size(); ++m) {
        const core::MechanismResult& r = results[m];
        const auto* change = m > 0 && whole[m - 1] ? &*whole[m - 1] : nullptr;
        const bool isRefused = !r.refusal.empty();
        const auto known = [&](nlohmann::json value) { return isRefused ? nlohmann::json(nullptr) : value; };
        const auto changed = [&](double core::ModelChange::*field) {
          return change != nullptr ? nlohmann::json(change->*field) : nlohmann::json(nullptr);
        };
        records.add({heads[i].layer,
                     heads[i].head,
                     r.mechanism,
                     known(r.errors.output),
                     known(r.seeds > 1 ? nlohmann::json(r.outputSpread) : nlohmann::json(nullptr)),
                     known(r.seeds),
                     known(r.errors.meanMassKept),
                     known(r.errors.meanKl),
                     known(r.errors.meanCosine),
                     known(r.errors.meanRankCorrelation),
                     known(r.cost.operations),
                     known(r.cost.operations / results[0].cost.operations),
                     known(r.cost.bytesMoved),
                     known(r.cost.bytesHeld),
                     known(r.cost.pairs),
                     known(r.cost.keptPairs),
                     known(r.seconds),
                     known(r.errors.emptyRows.size()),
                     r.isCausal,
                     r.isNormalised,
                     joined(r.notes),
                     isRefused ? r.refusal
                     : m > 0   ? refusals[m - 1]
                               : "",
                     changed(&core::ModelChange::lossBefore),
                     changed(&core::ModelChange::loss),
                     changed(&core::ModelChange::kl),
                     changed(&core::ModelChange::topTenChange)});
      }
    }
  });
  records.write(flags.out, flags.isJson ? "json" : "csv");
  if (!flags.recall.empty()) recall.write(flags.recall, "csv");
}

}  // namespace

void declareVariants(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<VariantsFlags>();
  CLI::App* command = root.add_subcommand("variants", "heads under other attention mechanisms: errors, cost, time");
  command->add_option("model", flags->model, "folder or bundled name");
  command->add_option("--mechanisms", flags->mechanisms, "NAME:key=value,key=value, several separated by ;")->capture_default_str();
  command->add_option("--replace", flags->replace, "run the whole model with these heads replaced: all, or 3.1,4.*");
  command->add_option("--heads", flags->heads, "heads to measure: all, or 3.1,4.*")->capture_default_str();
  command->add_option("--centres-from", flags->centresFrom, "text file on which clustered keys fit their centres (default: the prompt)")
      ->check(CLI::ExistingFile);
  command->add_option("--recall", flags->recall, "FILE.csv or FILE.json: recall against share of keys read of clustered keys");
  command->add_option("--seeds", flags->seeds, "seeds of random mechanisms: mean and spread")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--out", flags->out, "FILE.csv or FILE.json (default: CSV on standard output)");
  command->add_flag("--json", flags->isJson, "JSON on standard output");
  command->add_flag("--list", flags->isList, "every mechanism with its parameters");
  addPromptFlags(*command, flags->prompt);
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
