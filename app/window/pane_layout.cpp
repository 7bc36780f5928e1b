#include "app/window/pane_layout.h"

#include <algorithm>

namespace headscope::app {
namespace {

core::PaneState paneWith(const char* view, const char* form = nullptr) {
  core::PaneState pane;
  pane.view = view;
  if (form != nullptr) pane.options.words["form"] = form;
  return pane;
}

}  // namespace

PaneLayout::PaneLayout()
    : ofText_{paneWith("head_grid"), paneWith("attention_map"), paneWith("spectra"), paneWith("neuron")},
      ofImages_{paneWith("image", "heads"), paneWith("image"), paneWith("spectra"), paneWith("image", "rollout")} {}

std::vector<core::PaneState> PaneLayout::visible() const { return {panes().begin(), panes().begin() + count_}; }

void PaneLayout::setCount(int count) {
  count_ = count == 1 || count == 2 ? count : kMost;
  focused_ = std::min(focused_, count_ - 1);
  maximised_ = -1;
}

void PaneLayout::focus(int index) { focused_ = std::clamp(index, 0, count_ - 1); }

void PaneLayout::toggleMaximised(int index) {
  maximised_ = maximised_ == index ? -1 : index;
  focused_ = index;
}

void PaneLayout::setView(int index, const std::string& view) {
  core::PaneState& pane = panes()[static_cast<size_t>(index)];
  if (pane.view != view) pane = {view, {}};
}

void PaneLayout::setOptions(int index, const core::ViewOptions& options) { panes()[static_cast<size_t>(index)].options = options; }

void PaneLayout::apply(const std::vector<core::PaneState>& given) {
  Panes now = panes();
  std::copy_n(given.begin(), std::min(given.size(), now.size()), now.begin());
  given_ = std::move(now);
  setCount(given.size() > 2 ? kMost : std::max<int>(1, static_cast<int>(given.size())));
  focused_ = 0;
}

void PaneLayout::suit(core::InputKind kind) {
  const std::optional<Panes> given = std::exchange(given_, std::nullopt);
  kind_ = kind;
  if (given) panes() = *given;
}

}  // namespace headscope::app
