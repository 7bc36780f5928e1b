#include "views/whole_model.h"

#include <cmath>

#include "core/attention/forward.h"
#include "core/base/error.h"
#include "core/mechanisms/registry.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/mechanism_words.h"

namespace headscope::views {
namespace {

constexpr int64_t kPressed = 7;  // Pick::a of the word

std::string askedOf(const core::ViewOptions& options) {
  const auto found = options.words.find("replace");
  return found == options.words.end() ? std::string() : found->second;
}

}  // namespace

std::string wholeModelKey(const core::ViewOptions& options) { return ":replace=" + askedOf(options); }

WholeModel wholeModel(const ViewInput& input, const std::string& mechanism, core::Job& job) {
  WholeModel whole;
  const std::string asked = askedOf(input.options);
  if (asked != "head" && asked != "layer" && asked != "all") return whole;
  const core::Trace& trace = *input.trace;
  std::vector<core::HeadRef> heads;
  for (int64_t l = 0; l < trace.spec().layers; ++l) {
    for (int64_t h = 0; h < trace.spec().heads; ++h) {
      if ((asked == "all" || l == input.selection.layer) && (asked != "head" || h == input.selection.head)) heads.push_back({l, h});
    }
  }
  whole.heads = asked == "head"    ? "head " + headName(input.selection)
                : asked == "layer" ? "layer " + std::to_string(input.selection.layer)
                                   : "all " + std::to_string(heads.size()) + " heads";
  whole.mechanism = mechanism;
  try {
    const auto options = core::replacementFor(trace.sharedModel(), heads, core::parseMechanism(mechanism), trace.sharedBackend());
    const auto changed = core::runForward(trace.sharedModel(), trace.sharedPrompt(), trace.sharedBackend(), options, job);
    whole.change = core::compareOutputs(trace, *changed, job);
  } catch (const core::Error& e) {
    whole.refusal = e.fault();
  }
  return whole;
}

std::string wholeModelText(const WholeModel& whole) {
  if (whole.heads.empty()) return {};
  const std::string start = whole.heads + " under " + shortMechanism(whole.mechanism) + ": ";
  if (!whole.refusal.empty()) return start + whole.refusal;
  if (std::isnan(whole.change.kl)) return start + "this model predicts no tokens";
  const std::string loss = std::isnan(whole.change.loss) ? std::string()
                                                         : "next-token loss " + shortNumber(whole.change.lossBefore) + " to " +
                                                               shortNumber(whole.change.loss) + " nats, ";
  return start + loss + "KL " + shortNumber(whole.change.kl) + ", top 10 changed " + shortNumber(100 * whole.change.topTenChange, 2) + " %";
}

double addWholeModelLine(Figure& figure, Point at, double width, const WholeModel& whole, const ViewFrame& frame) {
  const Theme& t = frame.theme;
  const std::string text = wholeModelText(whole), word = text.empty() ? "run the whole model with it" : "model as trained";
  if (text.empty() && frame.isPaper) return 0;
  double taken = 0, left = at.x;
  if (!text.empty()) {
    const size_t half = text.find(": ");  // two lines where one does not hold it
    const bool isSplit = frame.measure.width(text, t.small()) + frame.measure.width("  " + word, t.small()) > width;
    const std::string lines[] = {isSplit ? text.substr(0, half + 1) : text, isSplit ? text.substr(half + 2) : std::string()};
    for (const std::string& line : lines) {
      if (line.empty()) continue;
      TextItem item = textAt({at.x, at.y + taken}, line, t.small(), whole.refusal.empty() ? t.ink : t.warning, AnchorX::Left, AnchorY::Top);
      item.maxWidth = width;
      figure.add(std::move(item));
      taken += t.smallSize * 1.6;
    }
    left += frame.measure.width(lines[0], t.small()) + 2 * t.gap;
  }
  if (!frame.isPaper) {
    const double wordWidth = frame.measure.width(word, t.small());
    figure.addOverlay(textAt({left, at.y}, word, t.small(), t.accent, AnchorX::Left, AnchorY::Top));
    figure.overlay.push_back(
        pickArea({left, at.y - 2, wordWidth, t.smallSize * 1.6},
                 {Pick::Kind::Control, kPressed, -1, -1,
                  text.empty() ? "Every head under this mechanism: what the next-token loss becomes" : "Leave these numbers out again"}));
  }
  return std::max(taken, t.smallSize * 1.6);
}

bool toggleWholeModel(const View::Gesture& gesture, core::ViewOptions& options) {
  if (gesture.kind != View::Gesture::Kind::Click || gesture.pick.kind != Pick::Kind::Control || gesture.pick.a != kPressed) return false;
  if (askedOf(options).empty()) {
    options.words["replace"] = "all";
  } else {
    options.words.erase("replace");
  }
  return true;
}

}  // namespace headscope::views
