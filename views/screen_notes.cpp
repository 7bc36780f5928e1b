#include "views/screen_notes.h"

#include <algorithm>
#include <utility>

#include "core/weights/head_weights.h"
#include "views/figure/build.h"

namespace headscope::views {
namespace {

constexpr size_t kNotesInTip = 12;
constexpr int64_t kNotes = 9001;  // no view's control

}  // namespace

std::string foldWords(const core::Model& model) {
  return core::defaultFold(model.spec()) == core::Fold::On ? "norms folded" : "norms not folded";
}

double screenNotesHeight(const std::vector<std::string>& notes, const ViewFrame& frame) {
  return notes.empty() || frame.isPaper ? 0 : frame.theme.smallSize * 1.5;
}

void addScreenNotes(Figure& figure, const std::vector<std::string>& notes, const ViewFrame& frame) {
  if (notes.empty() || frame.isPaper) return;
  const Theme& t = frame.theme;
  const double left = t.gap * 2, room = figure.size.width - 2 * left, height = screenNotesHeight(notes, frame);
  const std::string text = notes.size() == 1 ? notes.front() : std::to_string(notes.size()) + " notes: " + notes.front();
  TextItem line = textAt({left, figure.size.height - height / 2 - 2}, text, t.small(), t.warning, AnchorX::Left, AnchorY::Middle);
  line.maxWidth = room;
  const Rect under{left - 2, line.at.y - height / 2, std::min(room, frame.measure.width(text, t.small())) + 4, height};
  figure.addOverlay(RectItem{under, t.canvas, kTransparent, 0});
  figure.addOverlay(std::move(line));
  std::string tip;
  for (size_t i = 0; i < std::min(notes.size(), kNotesInTip); ++i) tip += (i > 0 ? "\n" : "") + notes[i];
  if (notes.size() > kNotesInTip) tip += "\nand " + std::to_string(notes.size() - kNotesInTip) + " more";
  figure.overlay.push_back(pickArea(under, {Pick::Kind::Control, kNotes, -1, -1, std::move(tip)}));
}

}  // namespace headscope::views
