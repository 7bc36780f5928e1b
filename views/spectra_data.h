#pragma once
// What the spectra view computes: singular values of one matrix for the heads of a layer or for one head of every layer, or
// effective rank against the rotary offset; with an adapter also without it.
#include <limits>
#include <string>
#include <vector>

#include "core/weights/offset_curve.h"
#include "core/weights/spectra.h"
#include "views/view.h"

namespace headscope::views {

struct SpectrumLine {
  core::HeadRef head;
  core::Spectrum spectrum;
  core::PowerLaw tail{};                                        // of a whole matrix
  double biasShare = std::numeric_limits<double>::quiet_NaN();  // of a weighted matrix: the mean input's share of its energy
};

struct SpectraData : ViewData {
  std::string matrix, modelName;
  bool isFolded = false, isByKeyValueHead = false;
  bool isWhole = false;  // one matrix a layer
  int64_t tokens = 0;    // of the prompt that the weights are seen through; 0: as they are
  std::vector<SpectrumLine> lines;
  std::vector<SpectrumLine> base;  // without the adapter, when one is on
  std::vector<std::string> notes;
};

/// "2.3"; "layer 2" where a layer has one matrix.
std::string lineName(const SpectraData& data, core::HeadRef head);

struct OffsetData : ViewData {
  std::string matrix, modelName;
  bool isFolded = false;
  std::vector<core::OffsetCurve> curves;  // as far as they are computed
  std::vector<core::OffsetCurve> base;    // without the adapter: of the selected head
};

enum class SpectraForm { Values, Energy, Both, Offset, Truncated };
SpectraForm spectraForm(const ViewInput& input);
/// "W_QK", or "W_QK@3" at an offset.
std::string spectraMatrix(const ViewInput& input);
bool isAcrossLayers(const ViewInput& input);
/// Weights are seen through the covariance of what the heads read in the prompt.
bool isWeighted(const ViewInput& input);
/// The matrix depends on the offset: W_QK of a model with rotary positions.
bool hasOffset(const ViewInput& input);
int64_t offsetIn(const ViewInput& input);
int64_t lastOffsetIn(const ViewInput& input);
/// The head of a line that stands for the selected one: its key/value head where the matrix has one a key/value head.
core::HeadRef lineOfSelection(const ViewInput& input, bool isByKeyValueHead);

std::shared_ptr<const ViewData> computeSpectra(const ViewInput& input, core::Job& job, const View::ShowPart& show);
std::shared_ptr<const ViewData> computeOffsets(const ViewInput& input, core::Job& job, const View::ShowPart& show);

}  // namespace headscope::views
