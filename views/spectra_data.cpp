#include "views/spectra_data.h"

#include <algorithm>

#include "core/attention/head_name.h"
#include "core/weights/input_statistics.h"
#include "views/device.h"
#include "views/option_values.h"

namespace headscope::views {
namespace {

constexpr int64_t kOffsets = 33;  // points of the curve against the offset

core::SpectraOptions optionsFor(const core::Model& model, const std::string& matrix) {
  core::SpectraOptions options;
  options.fold = core::defaultFold(model.spec());
  options.matrices = {matrix};
  if (const size_t at = matrix.find('@'); at != std::string::npos) options.offsets = {std::stoll(matrix.substr(at + 1))};
  return options;
}

/// Lines of one computed layer: every head's, or the chosen one's.
void takeLayer(const ViewInput& input, core::LayerSpectra layer, bool isBase, SpectraData& data,
               const std::vector<core::BiasShare>& shares = {}) {
  const core::ModelSpec& spec = input.model->spec();
  if (!isBase) {
    for (const std::string& note : layer.notes) data.notes.push_back("layer " + std::to_string(layer.layer) + ": " + note);
  }
  core::MatrixSpectra& matrix = layer.matrices.front();
  const auto count = static_cast<int64_t>(matrix.heads.size());
  data.isWhole = matrix.isWhole;
  data.isByKeyValueHead = !matrix.isWhole && count < spec.heads;
  const int64_t chosen = std::min(lineOfSelection(input, data.isByKeyValueHead).head, count - 1);
  for (int64_t h = 0; h < count; ++h) {
    if ((isAcrossLayers(input) || isBase) && h != chosen) continue;
    (isBase ? data.base : data.lines).push_back({{layer.layer, h}, std::move(matrix.heads[static_cast<size_t>(h)])});
    SpectrumLine& line = (isBase ? data.base : data.lines).back();
    line.tail = matrix.tail;
    if (!shares.empty()) line.biasShare = shares.front().heads[static_cast<size_t>(h)];
  }
}

/// One layer's, through what its heads read in the trace.
void takeWeighted(const ViewInput& input, const core::Trace& trace, int64_t layer, core::SpectraOptions options, core::Job& job,
                  SpectraData& data) {
  options.fold = core::Fold::Off;  // gains are in the input
  const bool isBase = &trace != input.trace.get();
  std::vector<core::BiasShare> shares;
  core::LayerSpectra spectra = core::weightedLayerSpectra(trace.model(), layer, options, core::layerInput(trace, layer, job), job, &shares);
  takeLayer(input, std::move(spectra), isBase, data, shares);
}

}  // namespace

SpectraForm spectraForm(const ViewInput& input) {
  const std::string form = wordIn(input.options, "form", "");
  if (form == "values") return SpectraForm::Values;
  if (form == "energy") return SpectraForm::Energy;
  if (form == "offset") return SpectraForm::Offset;
  if (form == "truncated") return SpectraForm::Truncated;
  return SpectraForm::Both;
}

bool hasOffset(const ViewInput& input) {
  const std::string matrix = wordIn(input.options, "matrix", "W_QK");
  return (matrix == "W_QK" || matrix == "W_QK_rope") && input.model && input.model->spec().positions == core::PositionKind::Rope;
}

int64_t lastOffsetIn(const ViewInput& input) {
  return static_cast<int64_t>(std::clamp(numberIn(input.options, "last_offset", 64), 1.0, 1e6));
}

int64_t offsetIn(const ViewInput& input) {
  return hasOffset(input) ? static_cast<int64_t>(std::clamp(numberIn(input.options, "offset", 0), 0.0, 1e6)) : 0;
}

std::string spectraMatrix(const ViewInput& input) {
  const std::string matrix = wordIn(input.options, "matrix", "W_QK");
  const int64_t offset = offsetIn(input);
  return matrix == "W_QK" && offset != 0 ? matrix + "@" + std::to_string(offset) : matrix;
}

std::string lineName(const SpectraData& data, core::HeadRef head) {
  return data.isWhole ? "layer " + std::to_string(head.layer) : core::headName(head);
}

bool isWeighted(const ViewInput& input) { return wordIn(input.options, "weights", "") == "prompt"; }

bool isAcrossLayers(const ViewInput& input) { return wordIn(input.options, "across", "heads") == "layers"; }

core::HeadRef lineOfSelection(const ViewInput& input, bool isByKeyValueHead) {
  const core::HeadRef head = input.selection.ref();
  return {head.layer, isByKeyValueHead ? input.model->spec().kvHeadOf(head.head) : head.head};
}

std::shared_ptr<const ViewData> computeSpectra(const ViewInput& input, core::Job& job, const View::ShowPart& show) {
  SpectraData data;
  const core::Model& model = *input.model;
  data.matrix = spectraMatrix(input);
  data.modelName = model.name();
  core::SpectraOptions options = optionsFor(model, data.matrix);
  options.backend = deviceOf(input);
  data.isFolded = options.fold == core::Fold::On;
  const auto base = model.adapter() == nullptr ? nullptr : model.withoutAdapter();
  const auto share = [&] {
    if (show) show(std::make_shared<const SpectraData>(data));
  };
  if (isWeighted(input)) {
    data.isFolded = false, data.tokens = input.trace->count();
    const int64_t first = isAcrossLayers(input) ? 0 : input.selection.layer, count = isAcrossLayers(input) ? input.trace->layersRun() : 1;
    for (int64_t l = first; l < first + count; ++l) {
      job.report(static_cast<double>(l - first) / static_cast<double>(count), "layer " + std::to_string(l));
      takeWeighted(input, *input.trace, l, options, job, data);
      share();
    }
    if (input.baseTrace && input.selection.layer < input.baseTrace->layersRun())
      takeWeighted(input, *input.baseTrace, input.selection.layer, options, job, data);
    return std::make_shared<const SpectraData>(std::move(data));
  }
  if (isAcrossLayers(input)) {
    core::eachLayerSpectra(model, options, core::DiskCache::ofUser(), job, [&](core::LayerSpectra layer) {
      takeLayer(input, std::move(layer), false, data);
      share();
    });
  } else {
    takeLayer(input, core::layerSpectra(model, input.selection.layer, options, job), false, data);
    share();
  }
  if (base) takeLayer(input, core::layerSpectra(*base, input.selection.layer, options, job), true, data);
  return std::make_shared<const SpectraData>(std::move(data));
}

std::shared_ptr<const ViewData> computeOffsets(const ViewInput& input, core::Job& job, const View::ShowPart& show) {
  OffsetData data;
  const core::Model& model = *input.model;
  data.modelName = model.name();
  core::OffsetOptions options;
  options.fold = core::defaultFold(model.spec());
  options.matrix = data.matrix = wordIn(input.options, "matrix", "W_QK") == "W_QK_rope" ? "W_QK_rope" : "W_QK";
  options.offsets = core::sampledOffsets(lastOffsetIn(input), kOffsets);
  data.isFolded = options.fold == core::Fold::On;
  // The selected head first: it is there at once, the others follow.
  options.heads = {input.selection.head};
  data.curves = core::offsetCurves(model, input.selection.layer, options, job);
  if (show) show(std::make_shared<const OffsetData>(data));
  if (model.adapter() != nullptr) data.base = core::offsetCurves(*model.withoutAdapter(), input.selection.layer, options, job);
  options.heads.clear();
  data.curves = core::offsetCurves(model, input.selection.layer, options, job, [&](const std::vector<core::OffsetCurve>& found) {
    if (!show) return;
    OffsetData part = data;
    const auto own = std::find_if(data.curves.begin(), data.curves.end(), [&](const auto& c) { return c.head == input.selection.head; });
    part.curves = found;
    for (core::OffsetCurve& curve : part.curves) {
      if (curve.head == input.selection.head && own != data.curves.end()) curve = *own;
    }
    show(std::make_shared<const OffsetData>(std::move(part)));
  });
  return std::make_shared<const OffsetData>(std::move(data));
}

}  // namespace headscope::views
