#include "views/rank_scalars.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/weights/cached_results.h"
#include "views/device.h"

namespace headscope::views {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double measureOf(const core::RankMeasures& m, const std::string& measure) {
  if (measure == "effective_rank") return static_cast<double>(m.effectiveAt1Percent);
  if (measure == "effective_rank_0.1") return static_cast<double>(m.effectiveAt01Percent);
  if (measure == "stable_rank") return m.stable;
  if (measure == "entropy_rank") return m.entropy;
  if (measure == "participation_ratio") return m.participation;
  return m.frobenius;
}

/// Names of the matrices that every head has one of.
std::vector<std::string> headMatrices(const core::ModelSpec& spec) {
  std::vector<std::string> names = core::spectraNames(spec, {});
  std::erase_if(names,
                [](const std::string& name) { return name.starts_with("whole_") || name == "W_DQ" || name == "W_DKV" || name == "W_KR"; });
  return names;
}

void takeLayer(RankMapData& data, const core::LayerSpectra& layer) {
  for (const std::string& note : layer.notes) data.notes.push_back("layer " + std::to_string(layer.layer) + ": " + note);
  for (const core::MatrixSpectra& matrix : layer.matrices) {
    if (matrix.isWhole || matrix.heads.empty()) continue;
    std::vector<core::RankMeasures>& measures = data.measures[matrix.name];
    std::vector<double>& largest = data.values[matrix.name + " largest"];
    const auto count = static_cast<size_t>(data.layers * data.heads);
    measures.resize(count), largest.resize(count, kNan);
    for (int64_t h = 0; h < data.heads; ++h) {
      // Key/value heads stand under each of their query heads.
      const core::Spectrum& s = matrix.heads[static_cast<size_t>(h) * matrix.heads.size() / static_cast<size_t>(data.heads)];
      const auto at = static_cast<size_t>(layer.layer * data.heads + h);
      measures[at] = core::rankMeasures(s.sigma);
      largest[at] = s.isFinite ? s.largest() : kNan;
    }
  }
  data.layersDone = std::max(data.layersDone, layer.layer + 1);
}

void takeLora(RankMapData& data, const core::LoraLayer& layer) {
  const auto count = static_cast<size_t>(data.layers * data.heads);
  for (const bool ov : {false, true}) {
    std::vector<double>& values = data.values[ov ? "lora_OV" : "lora_QK"];
    values.resize(count, kNan);
    for (const core::HeadLora& h : layer.heads) values[static_cast<size_t>(h.layer * data.heads + h.head)] = (ov ? h.ov : h.qk).relative;
  }
}

}  // namespace

const std::vector<std::string>& spectrumMeasures() {
  static const auto* const all = new std::vector<std::string>{"effective_rank",      "effective_rank_0.1", "stable_rank", "entropy_rank",
                                                              "participation_ratio", "frobenius_norm",     "largest"};
  return *all;
}

bool ScalarName::isOfMatrix() const {
  const auto& all = spectrumMeasures();
  return std::find(all.begin(), all.end(), measure) != all.end();
}

std::string ScalarName::label() const {
  if (measure == "effective_rank") return matrix + ", rank at 99 % energy";
  if (measure == "effective_rank_0.1") return matrix + ", rank at 99.9 % energy";
  if (measure == "stable_rank") return matrix + ", stable rank";
  if (measure == "entropy_rank") return matrix + ", entropy rank";
  if (measure == "participation_ratio") return matrix + ", participation ratio";
  if (measure == "frobenius_norm") return matrix + ", Frobenius norm";
  if (measure == "largest") return matrix + ", largest singular value";
  if (measure == "lora_QK") return "change of W_QK by the adapter, share of its norm";
  if (measure == "lora_OV") return "change of W_OV by the adapter, share of its norm";
  return measure;
}

std::string ScalarName::shortLabel() const {
  if (measure == "effective_rank") return "99 %";
  if (measure == "effective_rank_0.1") return "99.9 %";
  if (measure == "stable_rank") return "stable";
  if (measure == "entropy_rank") return "entropy";
  if (measure == "participation_ratio") return "particip.";
  if (measure == "frobenius_norm") return "norm";
  if (measure == "lora_QK") return "change QK";
  if (measure == "lora_OV") return "change OV";
  return measure;
}

double RankMapData::at(const ScalarName& name, core::HeadRef head, const core::HeadScores* scores) const {
  if (head.layer < 0 || head.head < 0 || head.layer >= layers || head.head >= heads) return kNan;
  const auto index = static_cast<size_t>(head.layer * heads + head.head);
  const auto valueOf = [&](const std::string& key) {
    const auto found = values.find(key);
    return found == values.end() ? kNan : found->second[index];
  };
  if (name.measure.starts_with("lora_")) return valueOf(name.measure);
  if (!name.isOfMatrix()) {
    const bool isThere = scores != nullptr && scores->has(name.measure) && head.layer < scores->layers();
    return isThere ? scores->at(name.measure, head) : kNan;
  }
  const double largest = valueOf(name.matrix + " largest");
  if (name.measure == "largest" || std::isnan(largest)) return largest;
  return measureOf(measures.at(name.matrix)[index], name.measure);
}

std::shared_ptr<const RankMapData> rankScalars(const ViewInput& input, const std::string& first, bool withLora, core::Job& job,
                                               const View::ShowPart& show) {
  const core::Model& model = *input.model;
  RankMapData data;
  data.modelName = model.name();
  data.layers = model.spec().layers, data.heads = model.spec().heads;
  core::SpectraOptions options;
  options.fold = core::defaultFold(model.spec());
  options.backend = deviceOf(input);
  data.isFolded = options.fold == core::Fold::On;
  const std::vector<std::string> all = headMatrices(model.spec());
  const bool hasFirst = show && all.size() > 1 && std::find(all.begin(), all.end(), first) != all.end();
  for (const bool isFirst : {true, false}) {
    if (isFirst && !hasFirst) continue;
    options.matrices = isFirst ? std::vector<std::string>{first} : all;
    data.notes.clear();
    core::eachLayerSpectra(model, options, core::DiskCache::ofUser(), job, [&](const core::LayerSpectra& layer) {
      takeLayer(data, layer);
      if (show) show(std::make_shared<const RankMapData>(data));
    });
  }
  if (withLora && model.adapter() != nullptr) {
    data.hasLora = true;
    const auto base = model.withoutAdapter();
    core::LoraOptions lora;
    lora.withDetails = false;
    lora.backend = options.backend;
    for (int64_t l = 0; l < data.layers; ++l) {
      job.report(static_cast<double>(l) / static_cast<double>(data.layers), "adapter, layer " + std::to_string(l));
      takeLora(data, core::cachedLayerLora(*base, model, l, lora, core::DiskCache::ofUser(), job));
      if (show && l + 1 < data.layers) show(std::make_shared<const RankMapData>(data));
    }
  }
  return std::make_shared<const RankMapData>(std::move(data));
}

}  // namespace headscope::views
