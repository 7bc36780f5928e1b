// Shared subspace: error against rank of the selected layer's stacked heads, the break-even rank, parameters saved at a rank that
// a click or drag sets, and each head's error there.
// options.words: side ("output", "query", "key", "value"). options.numbers: rank (0: the break-even rank).
#include <algorithm>
#include <cmath>

#include "core/weights/subspace.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/line_chart.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

struct SubspaceData : ViewData {
  core::SharedSubspace space;
  std::string modelName;
  bool isFolded = false;
};

core::SubspaceSide sideOf(const core::ViewOptions& options) {
  const auto it = options.words.find("side");
  const std::string side = it == options.words.end() ? "output" : it->second;
  if (side == "query") return core::SubspaceSide::Query;
  if (side == "key") return core::SubspaceSide::Key;
  if (side == "value") return core::SubspaceSide::Value;
  return core::SubspaceSide::Output;
}

int64_t rankOf(const core::ViewOptions& options, const core::SharedSubspace& s) {
  const auto it = options.numbers.find("rank");
  const double rank = it == options.numbers.end() || !(it->second > 0) ? std::floor(s.breakEven()) : it->second;
  return std::clamp<int64_t>(static_cast<int64_t>(std::min(rank, 1e9)), 0, s.fullRank());
}

/// Where the chart's plot lies; the same for drawing and for the rank that a drag sets.
Rect plotOf(Size size, double type) {
  const double height = size.height > 0 ? size.height : size.width * 0.7;
  return {type * 4, type * 2.6, std::max(10.0, size.width - type * 8), std::max(10.0, height * 0.62 - type * 6)};
}

class SubspaceView : public View {
 public:
  std::string_view name() const override { return "subspace"; }
  std::string_view title() const override { return "Shared subspace"; }
  bool needsTrace() const override { return false; }
  std::string subject(const ViewInput& input) const override {
    return "layer " + std::to_string(input.selection.layer) + ", " + core::nameOf(sideOf(input.options));
  }
  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.model) return {};
    return "subspace:" + std::to_string(reinterpret_cast<uintptr_t>(input.model.get())) + ":" + std::to_string(input.selection.layer) +
           ":" + core::nameOf(sideOf(input.options));
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<SubspaceData>();
    const core::Fold fold = core::defaultFold(input.model->spec());
    data->isFolded = fold == core::Fold::On;
    data->modelName = input.model->name();
    const core::HeadWeights weights = core::headWeights(*input.model, input.selection.layer, fold, core::MlaSplit::Heads, {}, &job);
    data->space = core::sharedSubspace(weights, sideOf(input.options), job);
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.model) return emptyFigure(frame.size, "The space that a layer's heads share", "Open a model folder", frame.theme);
    const auto* shared = dynamic_cast<const SubspaceData*>(data);
    if (shared == nullptr) return emptyFigure(frame.size, "The space that the heads of a layer share", "Computing", frame.theme);
    return drawChart(input, *shared, frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "side", "rank", "error", "unnormalised_error", "parameters_saved"}, {}};
    if (!input.model) return table;
    const auto data = std::static_pointer_cast<const SubspaceData>(compute(input, {}, job));
    const core::SharedSubspace& s = data->space;
    const auto errors = s.errors(), stored = s.storedErrors();
    for (int64_t r = 0; r <= s.fullRank(); ++r) {
      table.rows.push_back({std::to_string(s.layer), core::nameOf(s.side), std::to_string(r),
                            shortNumber(errors[static_cast<size_t>(r)], 7), shortNumber(stored[static_cast<size_t>(r)], 7),
                            shortNumber(s.parametersSaved(r), 7)});
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size size, core::ViewOptions& options,
              core::Selection& selection) const override {
    if (!input.model) return false;
    if (gesture.kind == Gesture::Kind::Click && gesture.pick.kind == Pick::Kind::Head) {
      selection.head = gesture.pick.b;
      return true;
    }
    if (gesture.kind != Gesture::Kind::Click && gesture.kind != Gesture::Kind::Drag) return false;
    const Rect plot = plotOf(size, 11);
    if (!plot.contains(gesture.kind == Gesture::Kind::Drag ? gesture.start : gesture.at)) return false;
    const core::ModelSpec& spec = input.model->spec();
    const double full = static_cast<double>(fullRankOf(spec, sideOf(options)));
    options.numbers["rank"] = std::clamp(std::round((gesture.at.x - plot.x) / plot.width * full), 1.0, full);
    return true;
  }

 private:
  static int64_t fullRankOf(const core::ModelSpec& spec, core::SubspaceSide side) {
    using Side = core::SubspaceSide;
    if (side == Side::Output) return std::min(spec.heads * spec.valueWidth, spec.width);
    if (spec.mla) {
      const int64_t nope = spec.mla->nope, up = side == Side::Query ? nope + spec.mla->rope : side == Side::Key ? nope : spec.valueWidth;
      const int64_t width = side != Side::Query ? spec.mla->latentRank : spec.mla->queryRank > 0 ? spec.mla->queryRank : spec.width;
      return std::min(spec.heads * up, width);
    }
    return std::min((side == Side::Query ? spec.heads : spec.kvHeads) * (side == Side::Value ? spec.valueWidth : spec.headWidth),
                    spec.width);
  }

  static Figure drawChart(const ViewInput& input, const SubspaceData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const core::SharedSubspace& s = data.space;
    Figure figure;
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : frame.size.width * 0.7};
    figure.background = t.canvas;
    figure.title = "Shared subspace";
    const Rect plot = plotOf(figure.size, t.smallSize);
    LineChart chart(figure, plot, {0, static_cast<double>(std::max<int64_t>(1, s.fullRank())), false, "rank"},
                    {0, 1, false, "relative error"}, t);
    chart.addAxes();
    const auto line = [&](const std::vector<double>& errors, Color color, double width, const char* label, double side) {
      std::vector<Point> points;
      const size_t step = std::max<size_t>(1, errors.size() / 400);
      for (size_t r = 0; r < errors.size(); r += step) points.push_back({static_cast<double>(r), errors[r]});
      if (points.back().x + 1 < static_cast<double>(errors.size()))
        points.push_back({static_cast<double>(errors.size() - 1), errors.back()});
      chart.addLine(points, color, width);
      const size_t at = errors.size() / 3;
      const Point p = chart.at(static_cast<double>(at), errors[at]);
      figure.add(textAt({p.x + side * t.gap, p.y - side * t.gap}, label, t.small(), color, side > 0 ? AnchorX::Left : AnchorX::Right,
                        side > 0 ? AnchorY::Bottom : AnchorY::Top));
    };
    line(s.storedErrors(), t.inkSecond, 1.5, "as stored", -1);
    line(s.errors(), t.accent, 2, "heads of one size", 1);
    chart.addVertical(s.breakEven(), t.warning, "break-even " + shortNumber(s.breakEven(), 4));
    const int64_t rank = rankOf(input.options, s);
    const std::string saved = shortNumber(100 * s.parametersSaved(rank), 3) + " % of parameters saved";
    chart.addVertical(static_cast<double>(rank), t.ink,
                      "rank " + std::to_string(rank) + ": error " + shortNumber(s.errors()[static_cast<size_t>(rank)]) + ", " + saved, 1.4);
    addHeads(figure, input, s, rank, frame,
             {plot.x, plot.bottom() + t.smallSize * 5.6, plot.width, figure.size.height - plot.bottom() - t.smallSize * 7.6});
    figure.caption = "Heads of layer " + std::to_string(s.layer) + " of " + data.modelName + ", " + core::nameOf(s.side) +
                     " side, each divided by its largest singular value and stacked: relative error of the best shared subspace against "
                     "its rank; below, each head's error at rank " +
                     std::to_string(rank) + ". Norm gains " + (data.isFolded ? "folded." : "not folded.");
    return figure;
  }

  static void addHeads(Figure& figure, const ViewInput& input, const core::SharedSubspace& s, int64_t rank, const ViewFrame& frame,
                       const Rect& area) {
    const Theme& t = frame.theme;
    if (area.height < 8 || s.heads == 0) return;
    figure.add(textAt({area.x, area.y - t.gap / 2}, "error of each head at rank " + std::to_string(rank), t.small(), t.inkSecond,
                      AnchorX::Left, AnchorY::Bottom));
    const double step = area.width / static_cast<double>(s.heads);
    double most = 1e-12;
    for (int64_t h = 0; h < s.heads; ++h) most = std::max(most, s.headError(h, rank));
    for (int64_t h = 0; h < s.heads; ++h) {
      const double error = s.headError(h, rank), height = area.height * error / most;
      const bool isSelected = h == input.selection.head;
      figure.add(
          RectItem{{area.x + static_cast<double>(h) * step, area.bottom() - height, std::max(1.0, step - (step > 4 ? 2 : 0)), height},
                   isSelected ? t.accent : t.inkSecond.withAlpha(0.6)});
      figure.content.push_back(pickArea({area.x + static_cast<double>(h) * step, area.y, step, area.height},
                                        {Pick::Kind::Head, s.layer, h, -1,
                                         "Head " + std::to_string(s.layer) + "." + std::to_string(h) + "\nerror at rank " +
                                             std::to_string(rank) + "  " + shortNumber(error)}));
      if (h % labelStep(step, t.smallSize * 1.9) == 0) {
        figure.add(textAt({area.x + (static_cast<double>(h) + 0.5) * step, area.bottom() + 3}, std::to_string(h), t.small(), t.inkSecond,
                          AnchorX::Center, AnchorY::Top));
      }
    }
  }
};

}  // namespace

const View& subspaceView() {
  static const SubspaceView view;
  return view;
}

}  // namespace headscope::views
