// Composition: which heads feed which. A graph, heads as nodes by layer and the strongest edges by excess over the baseline, in one
// picture or one each for Q, K and V; or the matrix of all pairs. With an adapter also what it changed.
// options.words: kind ("all", "q", "k", "v"), form ("graph", "split" or "matrix"), edges ("strength" or "change").
// options.numbers: top (edges drawn, default 60), least (smallest excess or change drawn), isolate (1: only the selected head's).
// options.threshold: the same as least, when it is not what maps take for it.
#include <algorithm>
#include <cmath>
#include <limits>

#include "views/composition_picture.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/figure_slider.h"
#include "views/head_heat.h"
#include "views/option_values.h"
#include "views/screen_notes.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr int64_t kKind = 1, kForm = 2, kEdges = 3, kTopSlider = 4, kLeastSlider = 5;
const FigureSlider kTop{kTopSlider, 1, 2000, true, true}, kLeast{kLeastSlider, 0.001, 1, true, false};
constexpr const char* kKinds[] = {"all", "q", "k", "v"};
constexpr const char* kKindWords[] = {"all", "Q", "K", "V"};
constexpr const char* kForms[] = {"graph", "split", "matrix"};
constexpr const char* kFormTips[] = {"Heads as nodes, layer 0 at the bottom", "One graph each for Q, K and V",
                                     "All pairs: writers down, readers across"};

class CompositionView : public View {
 public:
  std::string_view name() const override { return "composition"; }
  std::string_view title() const override { return "Composition"; }
  bool needsTrace() const override { return false; }
  std::string subject(const ViewInput& input) const override {
    const int kind = compositionKind(input.options);
    std::string text = kind < 0 ? "Q, K and V" : kKindWords[kind + 1];
    if (isIsolated(input.options)) text += " of " + core::headName(input.selection.ref());
    if (input.model) text += ", " + foldWords(*input.model);
    return text;
  }
  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.model) return {};
    return "composition:" + std::to_string(reinterpret_cast<uintptr_t>(input.model.get()));
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size size, core::Job& job) const override {
    return computeInParts(input, size, job, nullptr);
  }
  std::shared_ptr<const ViewData> computeInParts(const ViewInput& input, Size, core::Job& job, const ShowPart& show) const override {
    return computeComposition(input, job, show);
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.model) return emptyFigure(frame.size, "Which heads feed which", "Open a model folder", frame.theme);
    const auto* found = dynamic_cast<const CompositionData*>(data);
    if (input.model->spec().layers < 2)
      return emptyFigure(frame.size, "Which heads feed which", "One layer: no head comes before another", frame.theme);
    if (found == nullptr) return emptyFigure(frame.size, "Which heads feed which", waitingWords(frame), frame.theme);
    if (isChange(input.options) && !found->base)
      return emptyFigure(frame.size, "What an adapter changed in which heads feed which",
                         input.model->adapter() == nullptr ? "Open an adapter" : "Computing", frame.theme);
    const double margin = frame.isPaper ? 0 : frame.theme.gap * 2, controls = frame.isPaper ? 0 : 46;
    const double width = frame.size.width - 2 * margin;
    const bool isSplit = wordIn(input.options, "form", "graph") == "split" ||
                         (wordIn(input.options, "form", "graph") == "matrix" && compositionKind(input.options) < 0);
    Rect area{
        margin, controls, width,
        frame.size.height > 0 ? frame.size.height - controls - margin / 2 - screenNotesHeight(found->scores.notes, frame) : width * 0.45};
    if (frame.size.height <= 0 && !isSplit) {  // a graph of few layers needs no more height than they take
      const double step = width / static_cast<double>(std::max<int64_t>(1, found->heads));
      const bool isMatrix = wordIn(input.options, "form", "graph") == "matrix";
      area.height = isMatrix ? width * 0.85 : std::clamp(step * 1.2 * static_cast<double>(found->layers) + 30, width * 0.4, width * 1.1);
    }
    Figure figure;
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : area.height};
    figure.background = frame.theme.canvas;
    figure.title = "Composition";
    drawComposition(figure, input, *found, frame, area);
    if (!frame.isPaper) addControls(figure, input, *found, frame, margin);
    addScreenNotes(figure, found->scores.notes, frame);
    return figure;
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "to_layer", "to_head", "kind", "value", "excess"}, {}};
    if (!input.model) return table;
    const auto data = computeComposition(input, job, nullptr);
    if (data->base) table.columns.insert(table.columns.end(), {"without_adapter", "change"});
    EdgeChoice choice = choiceOf(input);
    choice.most = std::numeric_limits<size_t>::max();
    for (const CompositionEdge& e : chooseEdges(*data, choice).edges) {
      std::vector<std::string> row{std::to_string(e.from.layer), std::to_string(e.from.head), std::to_string(e.to.layer),
                                   std::to_string(e.to.head),    kKinds[e.kind + 1],          shortNumber(e.value, 7),
                                   shortNumber(e.excess, 7)};
      if (data->base) row.push_back(shortNumber(e.before, 7)), row.push_back(shortNumber(e.change(), 7));
      table.rows.push_back(std::move(row));
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    using Kind = Gesture::Kind;
    if (!input.model) return false;
    if (isOn(kTop, gesture) || isOn(kLeast, gesture)) {
      if (isOn(kTop, gesture)) options.numbers["top"] = valueOf(kTop, gesture);
      if (isOn(kLeast, gesture)) options.numbers["least"] = valueOf(kLeast, gesture) <= kLeast.low * 1.02 ? 0 : valueOf(kLeast, gesture);
      return true;
    }
    if (brushByDrag(gesture, selection)) return true;
    const bool isClick = gesture.kind == Kind::Click || gesture.kind == Kind::DoubleClick;
    if (isClick && gesture.pick.kind == Pick::Kind::Control) return press(gesture, input, options, selection);
    if (isClick && gesture.pick.kind == Pick::Kind::Head) {
      const bool isSame = selection.ref() == core::HeadRef{gesture.pick.a, gesture.pick.b};
      selection.layer = gesture.pick.a, selection.head = gesture.pick.b;
      selection.brushed.clear();
      if (gesture.kind == Kind::Click)
        options.numbers["isolate"] = isSame && isIsolated(options) ? 0 : 1;  // a second click shows all again
      return true;
    }
    if (isClick && gesture.pick.kind == Pick::Kind::Value) {  // an edge: its two heads
      const int64_t heads = input.model->spec().heads;
      const core::HeadRef from{gesture.pick.a / heads, gesture.pick.a % heads}, to{gesture.pick.b / heads, gesture.pick.b % heads};
      selection.brushed = {from, to};
      selection.layer = to.layer, selection.head = to.head;
      return true;
    }
    if (gesture.kind == Kind::DoubleClick) {
      options.numbers["isolate"] = 0;
      return true;
    }
    if (gesture.kind == Kind::Wheel) {
      options.numbers["top"] = kTop.clamped(numberIn(options, "top", 60) * (gesture.delta.y > 0 ? 1.25 : 0.8));
      return true;
    }
    return false;
  }

 private:
  static std::string waitingWords(const ViewFrame& frame) {
    if (frame.progress < 0) return "Computing";
    return "Computing, " + std::to_string(static_cast<int>(100 * std::min(1.0, frame.progress))) + " % of the pairs' products";
  }

  static bool press(const Gesture& gesture, const ViewInput& input, core::ViewOptions& options, core::Selection& selection) {
    const int64_t part = gesture.pick.b;
    if (gesture.pick.a == kKind && part >= 0 && part < 4) {
      options.words["kind"] = kKinds[part];
    } else if (gesture.pick.a == kForm && part >= 0 && part < 3) {
      options.words["form"] = kForms[part];
    } else if (gesture.pick.a == kEdges) {
      options.words["edges"] = isChange(options) ? "strength" : "change";
    } else if (gesture.pick.a == kMatrixControl && gesture.pick.within.width > 0) {
      const MatrixCell cell = cellAt(gesture.at, gesture.pick.within, input.model->spec().layers, input.model->spec().heads);
      selection.brushed = {cell.from, cell.to};
      std::sort(selection.brushed.begin(), selection.brushed.end());
      selection.layer = cell.to.layer, selection.head = cell.to.head;
    } else if (gesture.pick.a == kBrushControl) {  // the ground
      selection.brushed.clear();
      options.numbers["isolate"] = 0;
    } else {
      return false;
    }
    return true;
  }

  static void addControls(Figure& figure, const ViewInput& input, const CompositionData& data, const ViewFrame& frame, double margin) {
    const double gap = frame.theme.gap * 1.5, room = frame.size.width - margin;
    const int kind = compositionKind(input.options);
    const std::string form = wordIn(input.options, "form", "graph");
    double x = margin;
    const double y = 12;
    for (int i = 0; i < 4; ++i)
      x = addWordButton(figure, kKind, i, {x, y}, kKindWords[i], i == kind + 1, "Through queries, keys or values", frame) + gap;
    x += gap;
    for (int i = 0; i < 3; ++i) x = addWordButton(figure, kForm, i, {x, y}, kForms[i], form == kForms[i], kFormTips[i], frame) + gap;
    if (data.base)
      addWordButton(figure, kEdges, 0, {x + gap, y}, "change", isChange(input.options),
                    "What the adapter changed: edges that grew and shrank", frame);
    if (form == "matrix") return;
    const double below = y + 20, least = leastIn(input.options);
    const double top = kTop.clamped(numberIn(input.options, "top", 60));
    x = addSlider(figure, kTop, {margin, below}, top, "edges", shortNumber(top, 4),
                  "Edges drawn, the strongest ones; the wheel moves it too", frame) +
        gap;
    const std::string label = isChange(input.options) ? "change at least" : "excess at least",
                      value = least > 0 ? shortNumber(least, 2) : "0";
    if (x + sliderWidth(label, value, frame) < room)
      addSlider(figure, kLeast, {x, below}, std::max(least, kLeast.low), label, value, "Weaker edges are not drawn", frame);
  }
};

}  // namespace

const View& compositionView() {
  static const CompositionView view;
  return view;
}

}  // namespace headscope::views
