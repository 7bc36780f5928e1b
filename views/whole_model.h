#pragma once
// WholeModel: what the predictions of the model on this prompt become when heads run under a mechanism: computed by the views
// of mechanisms when options.words["replace"] says which heads: "head" (the selected one), "layer" (its layer's), "all".
#include <string>

#include "core/base/job.h"
#include "core/mechanisms/replace.h"
#include "views/view.h"

namespace headscope::views {

struct WholeModel {
  std::string heads;  // "all 32 heads", "head 3.2"; "": not asked for
  std::string mechanism;
  core::ModelChange change;
  std::string refusal;  // why it can't be run
};

/// Part of a data key.
std::string wholeModelKey(const core::ViewOptions& options);
/// One forward pass with the heads replaced, and its logits against the trace's; nothing when not asked for.
WholeModel wholeModel(const ViewInput& input, const std::string& mechanism, core::Job& job);
/// "all 32 heads under local 8: next-token loss 3.21 -> 4.56 nats, KL 0.82, top 10 changed 41 %".
std::string wholeModelText(const WholeModel& whole);

/// The line with the numbers where they are there; on screen also a word to press that asks for them (Pick::Kind::Control).
/// Returns the height taken.
double addWholeModelLine(Figure& figure, Point at, double width, const WholeModel& whole, const ViewFrame& frame);
/// True when the gesture was a press of that word; it asks for all heads, or stops asking.
bool toggleWholeModel(const View::Gesture& gesture, core::ViewOptions& options);

}  // namespace headscope::views
