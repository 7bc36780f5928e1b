#pragma once
// The pieces of the LoRA view's picture, each a pure function into a rectangle of the figure.
#include <memory>
#include <string>
#include <vector>

#include "core/weights/lora.h"
#include "views/value_scale.h"
#include "views/view.h"

namespace headscope::views {

struct LoraData : ViewData {
  std::string modelName;
  double strength = 1;
  int64_t layers = 0, heads = 0;
  std::vector<std::shared_ptr<const core::LoraLayer>> done;  // by layer; null: not there yet
  std::vector<core::LoraModule> modules;
  /// Null: not there yet.
  const core::HeadLora* at(core::HeadRef head) const;
};

const core::LoraCircuit& circuitOf(const core::HeadLora& head, bool ov);
std::string loraTip(const core::HeadLora& head);

/// Height that the two heats take under `width` points, labels and titles included.
double loraGridsHeight(const LoraData& data, double width, double most, const ViewFrame& frame);
/// Two heats of one size, QK and OV, and one colour bar for both.
void addLoraGrids(Figure& figure, const ViewInput& input, const LoraData& data, const ViewFrame& frame, const Rect& area, double most);
/// The heads that changed most, their three terms as stacked bars.
void addLoraTopHeads(Figure& figure, const ViewInput& input, const LoraData& data, const ViewFrame& frame, const Rect& area, bool ov);
/// The selected head's spectra before and after, and of the change.
void addLoraSpectra(Figure& figure, const ViewInput& input, const LoraData& data, const ViewFrame& frame, const Rect& area, bool ov);
/// Layers down, modules across: rank that is wasted, of how many.
void addWastedRanks(Figure& figure, const LoraData& data, const ViewFrame& frame, const Rect& area);
/// Layers down, whole attention matrices across: intruder dimensions among the top 10.
void addIntruders(Figure& figure, const LoraData& data, const ViewFrame& frame, const Rect& area);

}  // namespace headscope::views
