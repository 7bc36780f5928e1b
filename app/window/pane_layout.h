#pragma once
// PaneLayout: what the centre shows: one, two or four panes, the view of each and its options, which one has the focus, and which
// one fills the centre. Models of text and models of images each have a layout of their own, with its standard until somebody
// changes it, so that going from one to the other and back loses nothing. Plain data with its rules: AppState owns one and says
// when it changed.
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/model/model_spec.h"
#include "core/session/session.h"

namespace headscope::app {

class PaneLayout {
 public:
  static constexpr int kMost = 4;
  PaneLayout();

  int count() const { return count_; }
  int focused() const { return focused_; }
  int maximised() const { return maximised_; }  // -1: none
  const core::PaneState& at(int index) const { return panes()[static_cast<size_t>(index)]; }
  /// Those that are visible, for a session.
  std::vector<core::PaneState> visible() const;

  void setCount(int count);  // 1, 2, else 4
  void focus(int index);
  void toggleMaximised(int index);
  /// Another view begins with its own standard options.
  void setView(int index, const std::string& view);
  void setOptions(int index, const core::ViewOptions& options);
  /// A session's panes: they stay whatever model the session opens.
  void apply(const std::vector<core::PaneState>& panes);
  /// To be called with every model that opens.
  void suit(core::InputKind kind);

 private:
  using Panes = std::array<core::PaneState, kMost>;
  const Panes& panes() const { return given_ ? *given_ : kind_ == core::InputKind::Image ? ofImages_ : ofText_; }
  Panes& panes() { return const_cast<Panes&>(std::as_const(*this).panes()); }

  Panes ofText_, ofImages_;
  std::optional<Panes> given_;  // by a session whose model has not opened yet
  core::InputKind kind_ = core::InputKind::Tokens;
  int count_ = kMost, focused_ = 1, maximised_ = -1;
};

}  // namespace headscope::app
