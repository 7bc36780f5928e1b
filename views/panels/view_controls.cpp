#include "views/panels/view_controls.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "core/mechanisms/registry.h"
#include "core/weights/spectra.h"
#include "views/rank_scalars.h"

namespace headscope::views {
namespace {

ExtraControl matrixControl() { return {"matrix", "matrix", "Which weights of the head", {"W_Q", "W_K", "W_V", "W_O", "W_QK", "W_OV"}}; }
std::vector<std::string> scalarChoices() {
  return {"effective_rank",
          "effective_rank_0.1",
          "stable_rank",
          "entropy_rank",
          "participation_ratio",
          "frobenius_norm",
          "largest",
          "lora_QK",
          "lora_OV",
          "entropy",
          "previous",
          "induction",
          "first",
          "distance"};
}
ExtraControl number(const char* key, const char* label, const char* tip, double minimum, double maximum, double standard) {
  return {key, label, tip, {}, minimum, maximum, standard, true};
}

bool isOfChosenMechanism(const ExtraControl& control, const core::ViewOptions& options) {
  const auto chosen = options.words.find("mechanism");
  const std::string word = chosen == options.words.end() || chosen->second.empty() ? "local" : chosen->second;
  const core::MechanismKind* kind = core::findMechanism(word.substr(0, word.find(':')));
  return kind != nullptr &&
         std::any_of(kind->parameters.begin(), kind->parameters.end(), [&](const core::Parameter& p) { return p.name == control.key; });
}

/// A scalar of the heads that this model or prompt does not have.
bool isAbsent(const std::string& scalar, const ViewInput& input) {
  if (scalar.starts_with("lora_")) return input.model->adapter() == nullptr;
  const auto& measures = spectrumMeasures();
  return std::find(measures.begin(), measures.end(), scalar) == measures.end() && input.scores && !input.scores->has(scalar);
}

std::vector<std::string> mechanismNames() {
  std::vector<std::string> names;
  for (const core::MechanismKind& kind : core::allMechanisms()) {
    if (kind.name != "dense") names.push_back(kind.name);
  }
  return names;
}

/// A slider for every number that some mechanism takes; one name means the same everywhere.
std::vector<ExtraControl> mechanismParameters() {
  std::vector<ExtraControl> out;
  for (const core::MechanismKind& kind : core::allMechanisms()) {
    for (const core::Parameter& p : kind.parameters) {
      const bool isReal = p.kind == core::Parameter::Kind::Real;
      if (!isReal && p.kind != core::Parameter::Kind::Integer) continue;
      if (std::any_of(out.begin(), out.end(), [&](const ExtraControl& known) { return known.key == p.name; })) continue;
      const double largest = std::min(p.high, isReal ? 1e6 : 4096.0);
      ExtraControl control =
          number(p.name.c_str(), p.name.c_str(), p.meaning.c_str(), p.low, largest, std::strtod(p.defaultText.c_str(), nullptr));
      control.isWhole = !isReal;
      control.isLog = largest > 100 && p.low > 0;
      control.isParameter = true;
      out.push_back(std::move(control));
    }
  }
  return out;
}

ExtraControl onPromptControl() {
  ExtraControl control{"weights", "weights", "As stored, or seen through the covariance of what the heads read in the prompt", {"prompt"}};
  control.unset = "as stored";
  return control;
}

std::map<std::string, ViewControls, std::less<>> makeRows() {
  std::map<std::string, ViewControls, std::less<>> all;
  all["head_grid"] = {.scale = true, .hideFirst = true, .limits = true, .sortBy = true};
  all["attention_map"] = {.scale = true, .hideFirst = true, .zoom = true, .limits = true};
  all["token_flow"] = {.hideFirst = true,
                       .threshold = true,
                       .extra = {{"form", "form", "Two columns with lines, or the text itself with keys tinted", {"columns", "inline"}}}};
  all["image"] = {
      .scale = true,
      .hideFirst = true,
      .limits = true,
      .sortBy = true,
      .extra = {{"form", "form", "The selected head, all heads, or attention rollout over the layers", {"head", "heads", "rollout"}},
                {"opacity", "opacity", "How much of the picture the colours cover", {}, 0, 1, 0.65}}};
  all["spectra"] = {
      .extra = {matrixControl(),
                {"across", "curves", "One curve a head of the layer, or a layer for the same head", {"heads", "layers"}},
                {"form",
                 "form",
                 "Singular values, energy left out beyond a rank (automatic: both), rank against offset, truncated head",
                 {"values", "energy", "offset", "truncated"}},
                {"axis", "axis", "Of singular values; automatic: logarithmic where there are decades to show", {"linear", "log"}},
                onPromptControl(),
                number("normalised", "divide by the largest", "1: every curve starts at 1", 0, 1, 0),
                number("offset", "offset", "Distance in tokens at which W_QK is seen under RoPE", 0, 64, 0),
                number("last_offset", "largest offset", "Where the slider and the curve against the offset end", 8, 4096, 64)}};
  all["rank_map"] = {
      .limits = true,
      .extra = {matrixControl(),
                {"measure", "scalar", "Size of the spectrum, change by the adapter, or score on the prompt", scalarChoices()},
                {"form", "form", "A map of all heads, or two scalars against each other", {"map", "scatter"}},
                {"x_matrix", "matrix across", "Of the scatter's horizontal axis", {"W_Q", "W_K", "W_V", "W_O", "W_QK", "W_OV"}},
                {"x", "scalar across", "The scatter's horizontal axis", scalarChoices()}}};
  all["composition"] = {
      .scale = true,
      .limits = true,
      .extra = {
          {"kind", "kind", "Through queries, keys or values", {"all", "q", "k", "v"}},
          {"form", "form", "Edges between heads, one graph each for Q, K and V, or the matrix of all pairs", {"graph", "split", "matrix"}},
          {"edges", "edges by", "Excess over random heads, or what the adapter changed", {"strength", "change"}},
          number("top", "edges drawn", "The strongest ones; the picture says how many are hidden", 5, 500, 60),
          number("isolate", "selected head only", "1: only edges of the selected head", 0, 1, 0)}};
  all["lora"] = {.limits = true, .extra = {{"circuit", "circuit", "What heads look at, or what they write", {"QK", "OV"}}}};
  all["subspace"] = {.extra = {{"side", "side", "What the heads write, or what they read", {"output", "query", "key", "value"}}}};
  all["words"] = {.extra = {{"matrix", "matrix", "What the head writes, or what it looks for", {"W_OV", "W_QK"}}}};
  const ExtraControl masks{"mechanism",
                           "mechanism",
                           "Which keys a query sees",
                           {"local", "sinks", "strided", "fixed", "dilated", "global", "block", "symmetric", "topk", "topp", "clustered",
                            "source_local", "source_strided"}};
  ExtraControl replace{"replace", "whole model", "Run the whole model with it: what the next-token loss becomes", {"head", "layer", "all"}};
  replace.unset = "not run";
  std::vector<ExtraControl> mask{masks, replace};
  ExtraControl scatter{"scatter", "error against cost", "Points of the selected head, or of every head", {"all"}};
  scatter.unset = "selected head";
  std::vector<ExtraControl> comparison{
      {"mechanism", "mechanism", "Whose map is shown beside the true one", mechanismNames()}, replace, scatter};
  comparison.push_back(number("seeds", "seeds", "Runs of random mechanisms: their mean error and its spread", 1, 16, 1));
  for (const ExtraControl& parameter : mechanismParameters()) {
    mask.push_back(parameter);
    comparison.push_back(parameter);
  }
  all["mask"] = {.scale = true, .hideFirst = true, .limits = true, .extra = std::move(mask)};
  all["comparison"] = {.scale = true, .hideFirst = true, .extra = std::move(comparison)};
  all["kv_cache"] = {.extra = {number("groups", "GQA heads", "Key/value heads of the GQA what-if; 0: an eighth of the heads", 0, 128, 0),
                               number("latent", "MLA latent", "Latent numbers of the MLA what-if", 16, 4096, 512),
                               number("window", "window", "Tokens of the window what-if", 16, 131072, 4096),
                               number("reuse_every", "reuse one in", "Layers that share one cache in the reuse what-if", 1, 16, 2)}};
  ExtraControl on{"on", "centres of", "What k-means is fitted on", {"keys", "queries"}};
  on.unset = "keys";
  all["sparse_v"] = {.extra = {on}};
  all["positions"] = {.scale = true,
                      .hideFirst = true,
                      .extra = {number("base", "RoPE base", "Of the other rotation; the wheel moves it too", 10, 1000000, 10000),
                                number("scaling", "scaling", "Positions are divided by it", 1, 32, 1)}};
  all["complexity"] = {
      .extra = {{"form", "form", "Mechanisms on one head, whole layers, or the table at N = 1,024", {"head", "layer", "table"}},
                number("bytes", "bytes", "1: bytes held instead of time", 0, 1, 0),
                number("largest", "largest N", "Tokens of the last point", 512, 32768, 4096)}};
  return all;
}

/// Made once and kept, because no static may need destroying.
const std::map<std::string, ViewControls, std::less<>>& rows() {
  static const auto* const all = new std::map<std::string, ViewControls, std::less<>>(makeRows());
  return *all;
}

}  // namespace

const ViewControls& controlsOf(std::string_view view) {
  static const auto* const none = new ViewControls;
  const auto found = rows().find(view);
  return found == rows().end() ? *none : found->second;
}

std::optional<ExtraControl> offeredControl(ExtraControl control, const ViewInput& input) {
  if (control.isParameter && !isOfChosenMechanism(control, input.options)) return std::nullopt;
  if (!input.model) return control;
  const core::ModelSpec& spec = input.model->spec();
  const bool isMatrix = (control.key == "matrix" || control.key == "x_matrix") && control.choices.size() > 2;
  if (isMatrix && spec.mla) {  // latent attention has matrices of its own
    control.choices = core::spectraNames(spec, {});
    std::erase_if(control.choices, [](const std::string& name) { return name.starts_with("whole_"); });
  }
  if (spec.positions != core::PositionKind::Rope) {
    if (control.key == "offset" || control.key == "last_offset") return std::nullopt;
    std::erase(control.choices, "offset");
  }
  if (control.key == "measure" || control.key == "x")
    std::erase_if(control.choices, [&](const auto& name) { return isAbsent(name, input); });
  return control;
}

std::string_view scaleWord(core::ColorScale scale) {
  switch (scale) {
    case core::ColorScale::Linear:
      return "linear";
    case core::ColorScale::SquareRoot:
      return "square root";
    case core::ColorScale::Log:
      return "logarithmic";
  }
  return "";
}

}  // namespace headscope::views
