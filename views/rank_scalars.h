#pragma once
// RankScalars: what the rank map colours and the scatter plots: for every head the sizes of each of its matrices' spectra, what an
// adapter changed, and the prompt's scores, by name.
#include <map>
#include <string>
#include <vector>

#include "core/weights/spectra.h"
#include "views/view.h"

namespace headscope::views {

/// One scalar of every head: a measure of a matrix ("W_QK", "effective_rank"), "lora_QK" or "lora_OV", or a score's name.
struct ScalarName {
  std::string matrix, measure;
  bool isOfMatrix() const;
  std::string label() const;  // "W_QK, rank at 99 % energy"
  std::string shortLabel() const;
};

/// "effective_rank", "effective_rank_0.1", "stable_rank", "entropy_rank", "participation_ratio", "frobenius_norm", "largest".
const std::vector<std::string>& spectrumMeasures();

struct RankMapData : ViewData {
  std::string modelName;
  bool isFolded = false, hasLora = false;
  int64_t layers = 0, heads = 0, layersDone = 0;
  std::map<std::string, std::vector<core::RankMeasures>> measures;  // by matrix [layers * heads], NaN where broken or not there yet
  std::map<std::string, std::vector<double>> values;                // "W_QK largest", "lora_QK", ... [layers * heads]
  std::vector<std::string> notes;
  /// NaN where it is not known.
  double at(const ScalarName& name, core::HeadRef head, const core::HeadScores* scores) const;
};

/// Spectra of all heads, layer by layer: of the matrix `first` ("" none) in all layers, then of all matrices, then the adapter's
/// changes when asked; `show` gets what is there so far.
std::shared_ptr<const RankMapData> rankScalars(const ViewInput& input, const std::string& first, bool withLora, core::Job& job,
                                               const View::ShowPart& show);

}  // namespace headscope::views
