#pragma once
// View: one way to look at a model or a prompt: heavy data computed in a job, then a pure, cheap function to a Figure. The
// window and `headscope render` run the same code. Adding a view is one file and one line in view_registry.cpp.
//
//   auto data = view.compute(input, job);           // once a dataKey(input); cancellable; off the GUI thread
//   Figure f = view.draw(input, data.get(), frame); // every frame; data may be null (loading) or stale
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/attention/head_scores.h"
#include "core/attention/trace.h"
#include "core/base/job.h"
#include "core/model/model.h"
#include "core/session/session.h"
#include "views/figure/figure.h"
#include "views/theme.h"

namespace headscope::views {

/// A view that sets this number in its options asks for another strength of the adapter: the strength is the model's, so the
/// program takes the number out again and opens the model at it.
inline constexpr const char* kStrengthOption = "adapter_strength";

/// What a view is a function of. Pointers may be null: no model, no prompt run yet, scores not yet there.
struct ViewInput {
  std::shared_ptr<const core::Model> model;
  std::shared_ptr<const core::Trace> trace;
  std::shared_ptr<const core::Trace> baseTrace;  // the same prompt without the adapter, when one is on
  std::shared_ptr<const core::HeadScores> scores;
  core::Selection selection;
  core::ViewOptions options;
};

/// How and where it is drawn this frame.
struct ViewFrame {
  const Theme& theme;
  const TextMeasure& measure;
  Size size;                        // height 0: as high as the view needs at this width (Figure::size says)
  bool isPaper = false;             // an export: no overlays needed, panel letters and paper type sizes apply
  core::Selection hover;            // what the mouse is over, layer/head/query/key = -1 where nothing
  Pick under{};                     // what the mouse is over, as the figure drawn last said
  double progress = -1;             // of the job that computes the data; < 0: none is running
  std::optional<Point> pointer{};   // where the mouse is, in the figure; none: elsewhere
  std::optional<Point> dragFrom{};  // where the button went down, while something is dragged
};

/// Base of what compute() returns; each view derives its own.
struct ViewData {
  virtual ~ViewData() = default;
};

class View {
 public:
  virtual ~View() = default;
  virtual std::string_view name() const = 0;   // "attention_map", as --view takes it
  virtual std::string_view title() const = 0;  // "Attention map"
  /// What it shows now, for the pane header: "1.5".
  virtual std::string subject(const ViewInput& input) const = 0;
  virtual bool needsTrace() const { return true; }
  /// Why it has nothing to say about such a model, for people; "" where it has. Menus don't offer it then, a pane says why.
  virtual std::string whyNot(const core::ModelSpec&) const { return {}; }
  /// True where it shows the one selected head, so that several heads on paper are a panel of several pictures.
  virtual bool isPerHead(const ViewInput&) const { return false; }

  /// Equal keys, equal data. size matters to views that sample (zoom levels). "" when there is nothing to compute.
  virtual std::string dataKey(const ViewInput& input, Size size) const = 0;
  virtual std::shared_ptr<const ViewData> compute(const ViewInput& input, Size size, core::Job& job) const = 0;
  /// The same, and hands over what there is so far from time to time, so that it can be drawn while the rest is computed and
  /// stays when the job is stopped. What was handed over is not changed again. Default: compute(), all at once.
  using ShowPart = std::function<void(std::shared_ptr<const ViewData>)>;
  virtual std::shared_ptr<const ViewData> computeInParts(const ViewInput& input, Size size, core::Job& job, const ShowPart&) const {
    return compute(input, size, job);
  }
  virtual Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const = 0;

  /// The numbers shown, for CSV; may compute.
  virtual Table table(const ViewInput& input, core::Job& job) const = 0;

  /// Wheel, drag and double-click on the picture change options (zoom, pan, thresholds). Return false when not used.
  struct Gesture {
    enum class Kind { Wheel, Drag, DoubleClick, Click } kind;
    Point at, delta;                     // points; wheel: delta.y > 0 zooms in; drag: way since the last event
    Pick pick;                           // what the figure says is under `at`; during a drag: what was under `start`
    Point start{};                       // drag: where the button went down
    bool isPan = false;                  // middle button or space held
    std::vector<core::HeadRef> heads{};  // drag: heads whose cells or nodes touch the rectangle from start to at
  };
  /// Moves what is visible so that it holds the selection; false where it does already, or always does.
  virtual bool follow(const ViewInput& input, Size size, core::ViewOptions& options) const;
  virtual bool handle(const Gesture& gesture, const ViewInput& input, Size size, core::ViewOptions& options,
                      core::Selection& selection) const;
};

/// All views in menu order.
const std::vector<const View*>& allViews();
/// nullptr when unknown.
const View* findView(std::string_view name);

}  // namespace headscope::views
