// headscope lora MODEL ADAPTER: what an adapter changed in every head.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "app/cli/inputs.h"
#include "core/backend/open_backend.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint/safetensors_writer.h"
#include "core/weights/composition_change.h"
#include "core/weights/lora.h"

namespace headscope::app {
namespace {

using nlohmann::json;

struct LoraFlags {
  std::string model, adapter, out;
  int64_t wholeWidth = 256, offset = 0;
  int64_t edges = 200;
};

json numberOrNull(double v) { return std::isfinite(v) ? json(v) : json(nullptr); }

json numbers(const std::vector<double>& values) {
  json out = json::array();
  for (const double v : values) out.push_back(numberOrNull(v));
  return out;
}

/// null where weights are not finite.
json rankOrNull(int64_t rank) { return rank < 0 ? json(nullptr) : json(rank); }

json ranksOf(const core::Spectrum& s) {
  const core::RankMeasures m = core::rankMeasures(s.sigma);
  return {{"sigma", numbers(s.sigma)},
          {"effective_rank_1_percent", rankOrNull(m.effectiveAt1Percent)},
          {"effective_rank_0_1_percent", rankOrNull(m.effectiveAt01Percent)},
          {"stable_rank", numberOrNull(m.stable)},
          {"frobenius_norm", numberOrNull(m.frobenius)}};
}

json circuitOf(const core::LoraCircuit& c, const char* first, const char* second) {
  json terms = json::object();
  const std::string names[] = {first, second, "both"};
  for (size_t i = 0; i < 3; ++i) {
    terms[names[i]] = {{"norm", numberOrNull(c.termNorms[i])}, {"sigma", numbers(c.termSigma[i])}};
  }
  return {{"relative", numberOrNull(c.relative)},
          {"change", ranksOf(c.change)},
          {"before", ranksOf(c.before)},
          {"after", ranksOf(c.after)},
          {"terms", std::move(terms)},
          {"intruders_left", rankOrNull(c.intrudersLeft)},
          {"intruders_right", rankOrNull(c.intrudersRight)}};
}

json headOf(const core::HeadLora& h) {
  return {{"layer", h.layer},
          {"head", h.head},
          {"qk", circuitOf(h.qk, "query", "key")},
          {"ov", circuitOf(h.ov, "value", "output")},
          {"share", {{"query", h.shareQ}, {"key", h.shareK}, {"value", h.shareV}, {"output", h.shareO}}},
          {"write_cosines", numbers(h.writeCosines)}};
}

json edgesOf(const std::vector<core::EdgeChange>& edges) {
  static constexpr const char* kNames[] = {"q", "k", "v"};
  json out = json::array();
  for (const core::EdgeChange& e : edges) {
    out.push_back({{"layer", e.fromLayer},
                   {"head", e.fromHead},
                   {"to_layer", e.toLayer},
                   {"to_head", e.toHead},
                   {"kind", kNames[static_cast<size_t>(e.kind)]},
                   {"before", e.before},
                   {"after", e.after},
                   {"change", e.change()}});
  }
  return out;
}

struct Result {
  std::shared_ptr<const core::Model> base, adapted;
  std::vector<core::LoraLayer> layers;
  std::vector<core::LoraModule> modules;
  std::vector<core::EdgeChange> edges;  // that changed most
  int64_t offset = 0;
  std::vector<std::string> notes;

  int64_t besideAttention() const {
    return std::count_if(modules.begin(), modules.end(), [](const core::LoraModule& m) { return !m.isAttention; });
  }
};

/// What the file's reader must know, on standard error.
void say(const Result& r, bool isQuiet) {
  if (isQuiet) return;
  const auto line = [](const std::string& text) { std::fprintf(stderr, "headscope: %s\n", text.c_str()); };
  for (const std::string& note : r.notes) line(note);
  for (const core::LoraLayer& layer : r.layers) {
    for (const std::string& note : layer.notes) line(note);
  }
  if (r.besideAttention() > 0)
    line(std::to_string(r.besideAttention()) + " of the adapter's " + std::to_string(r.modules.size()) +
         " modules are not attention: they change no head's matrices");
}

void writeJson(const std::string& path, const Result& r) {
  json out = {{"model", r.base->name()},
              {"strength", r.adapted->strength()},
              {"rope_offset", r.offset},
              {"heads", json::array()},
              {"modules", json::array()}};
  for (const core::LoraModule& m : r.modules) {
    out["modules"].push_back({{"module", m.path},
                              {"rank", m.rank},
                              {"scale", m.scale},
                              {"effective_rank_0_1_percent", rankOrNull(m.effectiveRank)},
                              {"wasted_rank", m.effectiveRank < 0 ? json(nullptr) : json(m.wastedRank)},
                              {"is_attention", m.isAttention},
                              {"sigma", numbers(m.sigma)}});
  }
  out["modules_beside_attention"] = r.besideAttention();
  json notes = json::array(), intruders = json::array();
  for (const std::string& note : r.adapted->notes()) notes.push_back(note);
  for (const std::string& note : r.notes) notes.push_back(note);
  for (const core::LoraLayer& layer : r.layers) {
    for (const core::HeadLora& h : layer.heads) out["heads"].push_back(headOf(h));
    for (const core::WholeIntruders& w : layer.intruders) {
      intruders.push_back({{"layer", w.layer}, {"module", w.module}, {"intruders_of_top_10", w.count}, {"undecided", w.undecided}});
    }
    for (const std::string& note : layer.notes) notes.push_back(note);
  }
  out["intruder_dimensions"] = std::move(intruders);
  out["composition_changes"] = edgesOf(r.edges);
  out["notes"] = std::move(notes);
  core::writeFileWhole(path, [&](std::ostream& file) { file << out.dump(-1, ' ', false, json::error_handler_t::replace) << '\n'; });
}

void writeCsv(const std::string& path, const Result& r) {
  core::writeFileWhole(path, [&](std::ostream& file) {
    file << "layer,head,relative_qk,relative_ov,change_norm_qk,change_norm_ov,query_term,key_term,value_term,output_term,both_qk,both_ov,"
            "share_query,share_key,share_value,share_output,effective_rank_qk_before,effective_rank_qk_after,effective_rank_ov_before,"
            "effective_rank_ov_after\n";
    char line[640];
    for (const core::LoraLayer& layer : r.layers) {
      for (const core::HeadLora& h : layer.heads) {
        const auto rank = [](const core::Spectrum& s) { return static_cast<long long>(core::effectiveRank(s.sigma, 0.01)); };
        std::snprintf(line, sizeof line,
                      "%lld,%lld,%.7g,%.7g,%.7g,%.7g,%.7g,%.7g,%.7g,%.7g,%.7g,%.7g,%.7g,%.7g,%.7g,%.7g,%lld,%lld,%lld,%lld\n",
                      static_cast<long long>(h.layer), static_cast<long long>(h.head), h.qk.relative, h.ov.relative,
                      core::rankMeasures(h.qk.change.sigma).frobenius, core::rankMeasures(h.ov.change.sigma).frobenius, h.qk.termNorms[0],
                      h.qk.termNorms[1], h.ov.termNorms[0], h.ov.termNorms[1], h.qk.termNorms[2], h.ov.termNorms[2], h.shareQ, h.shareK,
                      h.shareV, h.shareO, rank(h.qk.before), rank(h.qk.after), rank(h.ov.before), rank(h.ov.after));
        file << line;
      }
    }
  });
}

void writeTensors(const std::string& path, const Result& r) {
  core::SafetensorsWriter writer;
  for (const core::LoraLayer& layer : r.layers) {
    const std::string at = "." + std::to_string(layer.layer);
    const auto heads = static_cast<int64_t>(layer.heads.size());
    const auto add = [&](const std::string& name, auto&& spectrumOf) {
      std::vector<double> values;
      int64_t rank = 0;
      for (const core::HeadLora& h : layer.heads) {
        const std::vector<double>& sigma = spectrumOf(h).sigma;
        rank = static_cast<int64_t>(sigma.size());
        values.insert(values.end(), sigma.begin(), sigma.end());
      }
      writer.add("sigma." + name + at, {heads, rank}, std::move(values));
    };
    add("dW_QK", [](const core::HeadLora& h) -> const core::Spectrum& { return h.qk.change; });
    add("dW_OV", [](const core::HeadLora& h) -> const core::Spectrum& { return h.ov.change; });
    add("W_QK_after", [](const core::HeadLora& h) -> const core::Spectrum& { return h.qk.after; });
    add("W_OV_after", [](const core::HeadLora& h) -> const core::Spectrum& { return h.ov.after; });
    std::vector<double> qk, ov;
    for (const core::HeadLora& h : layer.heads) qk.push_back(h.qk.relative), ov.push_back(h.ov.relative);
    writer.add("relative.dW_QK" + at, {heads}, std::move(qk));
    writer.add("relative.dW_OV" + at, {heads}, std::move(ov));
  }
  writer.write(path);
}

void run(const LoraFlags& flags, CommonFlags common) {
  const bool isJson = flags.out.ends_with(".json"), isCsv = flags.out.ends_with(".csv");
  if (!isJson && !isCsv && !flags.out.ends_with(".safetensors"))
    throw core::Error("--out must end in .safetensors, .json or .csv", flags.out);
  if (!common.adapter.empty() && common.adapter != flags.adapter)
    throw core::Error("two adapters are given", common.adapter, "leave --adapter out");
  common.adapter = flags.adapter;
  Result r;
  r.adapted = openModel(flags.model, common);
  r.base = r.adapted->withoutAdapter();
  r.offset = flags.offset;
  core::LoraOptions options;
  options.withDetails = isJson;
  options.denseIntruderWidth = flags.wholeWidth;
  options.offset = flags.offset;
  options.backend = core::deviceOnly(openBackend(common));
  runWithProgress("lora", common, [&](core::Job& job) {
    const int64_t layers = r.base->spec().layers;
    for (int64_t l = 0; l < layers; ++l) {
      job.report(static_cast<double>(l) / static_cast<double>(layers), "layer " + std::to_string(l + 1) + " of " + std::to_string(layers));
      r.layers.push_back(core::layerLora(*r.base, *r.adapted, l, options, job));
    }
    r.modules = core::loraModules(*r.adapted, job);
    if (!isJson) return;
    core::CompositionOptions compose;
    compose.fold = core::defaultFold(r.base->spec());
    compose.backend = options.backend;
    if (!core::fitsComposition(r.base->spec(), compose)) {
      r.notes.push_back("composition before and after left out: all pairs of heads would take too much memory");
      return;
    }
    const core::Composition before = core::composition(*r.base, compose, job), after = core::composition(*r.adapted, compose, job);
    r.edges = core::changedEdges(before, after, core::EdgeOrder::Size, flags.edges, nullptr, job);
  });
  say(r, common.isQuiet);
  if (isJson) return writeJson(flags.out, r);
  if (isCsv) return writeCsv(flags.out, r);
  writeTensors(flags.out, r);
}

}  // namespace

void declareLora(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<LoraFlags>();
  CLI::App* command = root.add_subcommand("lora", "what an adapter changed in every head");
  command->add_option("model", flags->model, "model folder, or the name of a bundled model")->required();
  command->add_option("adapter_folder", flags->adapter, "PEFT adapter folder, or the name of a bundled one")->required();
  command
      ->add_option("--whole-width", flags->wholeWidth,
                   "intruder dimensions of whole matrices up to this width by full decompositions, of wider ones by Krylov spaces (JSON)")
      ->capture_default_str();
  command->add_option("--rope-offset", flags->offset, "W_QK for a query this many positions after its key")
      ->check(CLI::Range(-10000000, 10000000))
      ->capture_default_str();
  command->add_option("--edges", flags->edges, "composition edges listed, by change (JSON)")->capture_default_str();
  command->add_option("--out", flags->out, "F.safetensors, F.json or F.csv")->required();
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
