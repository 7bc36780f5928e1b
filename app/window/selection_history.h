#pragma once
// SelectionHistory: the selections before the one there is, and those that were taken back. The selection itself is its owner's,
// who tells every step that a person took.
#include <optional>
#include <utility>
#include <vector>

#include "core/session/session.h"

namespace headscope::app {

class SelectionHistory {
 public:
  static constexpr size_t kMost = 200;  // steps; older ones are forgotten

  bool canUndo() const { return !past_.empty(); }
  bool canRedo() const { return !future_.empty(); }
  /// A step was taken from `before`: what was taken back can no longer be redone.
  void add(const core::Selection& before) {
    past_.push_back(before);
    if (past_.size() > kMost) past_.erase(past_.begin());
    future_.clear();
  }
  /// Where a step back (forth) leads from `now`; none where there is no step.
  std::optional<core::Selection> undo(const core::Selection& now) { return move(past_, future_, now); }
  std::optional<core::Selection> redo(const core::Selection& now) { return move(future_, past_, now); }
  void clear() { past_.clear(), future_.clear(); }

 private:
  using Steps = std::vector<core::Selection>;
  static std::optional<core::Selection> move(Steps& from, Steps& to, const core::Selection& now) {
    if (from.empty()) return std::nullopt;
    to.push_back(now);
    core::Selection next = std::move(from.back());
    from.pop_back();
    return next;
  }
  Steps past_, future_;
};

}  // namespace headscope::app
