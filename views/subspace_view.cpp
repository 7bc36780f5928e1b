// Shared subspace: error against rank of the selected layer's stacked heads, the break-even rank, parameters saved at a rank that
// a slider or the chart's grip sets, and each head's error there.
// options.words: side ("output", "query", "key", "value"). options.numbers: rank (0: the break-even rank).
#include <algorithm>
#include <cmath>
#include <optional>

#include "core/attention/head_name.h"
#include "core/weights/cached_results.h"
#include "views/device.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/figure_slider.h"
#include "views/head_heat.h"
#include "views/line_chart.h"
#include "views/option_values.h"
#include "views/screen_notes.h"
#include "views/subspace_data.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr int64_t kRankSlider = 1, kRankGrip = 2, kSide = 3;
constexpr double kMarkedOverlap = 0.25, kSeenCell = 4;  // a pair that shares less is not marked; larger cells are seen without
constexpr const char* kSides[] = {"output", "query", "key", "value"};

core::SubspaceSide sideOf(const core::ViewOptions& options) {
  const std::string side = wordIn(options, "side", "output");
  if (side == "query") return core::SubspaceSide::Query;
  if (side == "key") return core::SubspaceSide::Key;
  if (side == "value") return core::SubspaceSide::Value;
  return core::SubspaceSide::Output;
}

int64_t rankOf(const core::ViewOptions& options, const core::SharedSubspace& s) {
  const double set = numberIn(options, "rank", 0), rank = set > 0 ? set : std::floor(s.breakEven());
  return std::clamp<int64_t>(static_cast<int64_t>(std::min(rank, 1e9)), 0, s.fullRank());
}

int64_t fullRankOf(const core::ModelSpec& spec, core::SubspaceSide side) {
  using Side = core::SubspaceSide;
  if (side == Side::Output) return std::min(spec.heads * spec.valueWidth, spec.width);
  if (spec.mla) {
    const int64_t nope = spec.mla->nope, up = side == Side::Query ? nope + spec.mla->rope : side == Side::Key ? nope : spec.valueWidth;
    const int64_t width = side != Side::Query ? spec.mla->latentRank : spec.mla->queryRank > 0 ? spec.mla->queryRank : spec.width;
    return std::min(spec.heads * up, width);
  }
  return std::min((side == Side::Query ? spec.heads : spec.kvHeads) * (side == Side::Value ? spec.valueWidth : spec.headWidth), spec.width);
}

FigureSlider rankSlider(const ViewInput& input) {
  const double full = static_cast<double>(std::max<int64_t>(1, fullRankOf(input.model->spec(), sideOf(input.options))));
  return {kRankSlider, 1, std::max(2.0, full), false, true};
}

/// Points of an error curve, thinned to what can be seen.
std::vector<Point> curveOf(const std::vector<double>& errors) {
  std::vector<Point> points;
  const size_t step = std::max<size_t>(1, errors.size() / 400);
  for (size_t r = 0; r < errors.size(); r += step) points.push_back({static_cast<double>(r), errors[r]});
  if (!errors.empty() && points.back().x + 1 < static_cast<double>(errors.size()))
    points.push_back({static_cast<double>(errors.size() - 1), errors.back()});
  return points;
}

std::string percent(double share) { return shortNumber(100 * share, 3) + " %"; }

class SubspaceView : public View {
 public:
  std::string_view name() const override { return "subspace"; }
  std::string_view title() const override { return "Shared subspace"; }
  bool needsTrace() const override { return false; }
  std::string subject(const ViewInput& input) const override {
    return "layer " + std::to_string(input.selection.layer) + ", " + core::nameOf(sideOf(input.options)) +
           (input.model ? ", " + foldWords(*input.model) : std::string());
  }
  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.model) return {};
    return "subspace:" + std::to_string(reinterpret_cast<uintptr_t>(input.model.get())) + ":" + std::to_string(input.selection.layer) +
           ":" + core::nameOf(sideOf(input.options));
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size size, core::Job& job) const override {
    return computeInParts(input, size, job, nullptr);
  }
  std::shared_ptr<const ViewData> computeInParts(const ViewInput& input, Size, core::Job& job, const ShowPart& show) const override {
    auto data = std::make_shared<SubspaceData>();
    const core::Fold fold = core::defaultFold(input.model->spec());
    data->isFolded = fold == core::Fold::On;
    data->modelName = input.model->name();
    const double pairs = 0.12;  // share of the time
    job.report(0, "weights");
    std::optional<core::HeadWeights> decoded;  // only where something is not in the cache
    const auto weights = [&]() -> const core::HeadWeights& {
      if (!decoded) decoded.emplace(core::headWeights(*input.model, input.selection.layer, fold, core::MlaSplit::Heads, {}, &job));
      return *decoded;
    };
    const core::SubspaceSource source{*input.model, input.selection.layer, fold, sideOf(input.options), weights, deviceOf(input)};
    const core::DiskCache cache = core::DiskCache::ofUser();
    data->space = core::cachedSubspace(source, cache, job,
                                       [&](double done) { job.report((1 - pairs) * done, done < 0.1 ? "products" : "decomposition"); });
    data->errors = data->space.errors(), data->storedErrors = data->space.storedErrors();
    if (show) show(data);
    job.report(1 - pairs, "pairs of heads");
    auto whole = std::make_shared<SubspaceData>();  // what was shown is not changed again
    whole->space = data->space, whole->errors = data->errors, whole->storedErrors = data->storedErrors;
    whole->modelName = data->modelName, whole->isFolded = data->isFolded;
    whole->overlaps = core::cachedOverlaps(source, cache, job);
    return whole;
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
    for (int64_t r = 0; r <= s.fullRank(); ++r) {
      table.rows.push_back({std::to_string(s.layer), core::nameOf(s.side), std::to_string(r),
                            shortNumber(data->errors[static_cast<size_t>(r)], 7),
                            shortNumber(data->storedErrors[static_cast<size_t>(r)], 7), shortNumber(s.parametersSaved(r), 7)});
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    if (!input.model) return false;
    if (brushByDrag(gesture, selection)) return true;
    using Kind = Gesture::Kind;
    if (gesture.kind == Kind::Click && gesture.pick.kind == Pick::Kind::Head) {
      selection.layer = gesture.pick.a, selection.head = gesture.pick.b;
      selection.brushed.clear();
      return true;
    }
    if (gesture.kind == Kind::Click && isOnControl(gesture, kSide) && gesture.pick.b >= 0 && gesture.pick.b < 4) {
      options.words["side"] = kSides[gesture.pick.b];
      options.numbers.erase("rank");
      return true;
    }
    if (isOn(rankSlider(input), gesture)) {
      options.numbers["rank"] = valueOf(rankSlider(input), gesture);
      return true;
    }
    if (isOnControl(gesture, kRankGrip)) {
      options.numbers["rank"] = std::max(1.0, std::round(draggedX(gesture) * static_cast<double>(gesture.pick.b)));
      return true;
    }
    if (gesture.kind == Kind::DoubleClick) {
      options.numbers.erase("rank");
      return true;
    }
    return false;
  }

 private:
  static void addControls(Figure& figure, const ViewInput& input, int64_t rank, const ViewFrame& frame, double margin) {
    const double y = margin / 2 + 10, gap = frame.theme.gap * 2, room = frame.size.width - margin;
    const std::string text = std::to_string(rank);
    double x = margin;
    const double slider = sliderWidth("rank", text, frame);
    if (x + slider < room)
      x = addSlider(figure, rankSlider(input), {x, y}, static_cast<double>(rank), "rank", text,
                    "Rank of the shared space; a double click puts it back to break-even", frame) +
          gap;
    for (int64_t i = 0; i < 4; ++i) {
      if (x + frame.measure.width(kSides[i], frame.theme.small()) > room) return;
      x = addWordButton(figure, kSide, i, {x, y}, kSides[i], core::nameOf(sideOf(input.options)) == std::string(kSides[i]),
                        i == 0 ? "The space that heads write to" : "The space that heads read", frame) +
          gap;
    }
  }

  static Figure drawChart(const ViewInput& input, const SubspaceData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const core::SharedSubspace& s = data.space;
    Figure figure;
    const double margin = frame.isPaper ? 0 : t.gap * 2, controls = frame.isPaper ? 0 : 24, width = frame.size.width - 2 * margin;
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : std::min(width * 0.8, 330.0)};
    figure.background = t.canvas;
    figure.title = "Shared subspace";
    const int64_t rank = rankOf(input.options, s);
    if (!frame.isPaper) addControls(figure, input, rank, frame, margin);
    const double top = margin / 2 + controls, height = figure.size.height - top - margin / 2 - screenNotesHeight(s.notes, frame);
    const double upper = height * 0.62;
    const Rect plot{margin + t.smallSize * 3, top + t.smallSize * 2, std::max(10.0, width - t.smallSize * 3.4),
                    std::max(10.0, upper - t.smallSize * 6)};
    LineChart chart(figure, plot, {0, static_cast<double>(std::max<int64_t>(1, s.fullRank())), false, "rank of the shared space"},
                    {0, 1, false, "relative error of the layer"}, t);
    chart.addAxes();
    const std::vector<Point> own = curveOf(data.errors), stored = curveOf(data.storedErrors);
    chart.addLine(stored, t.inkSecond, frame.isPaper ? 0.75 : 1.5);
    chart.addLine(own, t.accent, frame.isPaper ? 1.5 : 2);
    const auto even = static_cast<double>(s.breakEven());
    chart.addVertical(even, t.warning, {});
    chart.addVertical(static_cast<double>(rank), t.accent.withAlpha(0.8), {});
    if (!frame.isPaper) chart.addVerticalGrip(static_cast<double>(rank), kRankGrip, "Rank: drag");
    addWords(figure, input, data, rank, frame, plot);
    chart.addReadings("rank", {{"heads of one size", &own, t.accent}, {"as stored", &stored, t.inkSecond}}, frame);
    const Rect lower{plot.x, plot.bottom() + t.smallSize * 5.4, plot.width,
                     std::max(8.0, top + height - plot.bottom() - t.smallSize * 7.4)};
    // Which pairs share a space, as far as there is room for it: a square at the right.
    const double side = lower.height + t.smallSize * 1.4, bar = t.gap * 3.5 + 10 + frame.measure.width("0.00", t.small());
    const bool hasPairs = s.heads > 1 && lower.width > side + bar + t.smallSize * 14;
    addHeads(figure, input, s, rank, frame, {lower.x, lower.y, lower.width - (hasPairs ? side + bar + t.gap * 2 : 0), lower.height});
    if (hasPairs) addPairs(figure, data, frame, {lower.right() - side - bar, lower.y, side, lower.height});
    figure.caption = "Heads of layer " + std::to_string(s.layer) + " of " + data.modelName + ", " + core::nameOf(s.side) +
                     " side, each divided by its largest singular value and stacked: relative error of the best shared subspace against "
                     "its rank; below, each head's error at rank " +
                     std::to_string(rank) + ", where " + percent(s.parametersSaved(rank)) +
                     " of parameters are saved (break-even at rank " + shortNumber(even, 5) + "). Norm gains " +
                     (data.isFolded ? "folded." : "not folded.");
    for (const std::string& note : s.notes) figure.caption += " " + note + ".";
    addScreenNotes(figure, s.notes, frame);
    return figure;
  }

  /// What the chart says in words, in the corner that falling curves leave free.
  static void addWords(Figure& figure, const ViewInput& input, const SubspaceData& data, int64_t rank, const ViewFrame& frame,
                       const Rect& plot) {
    const Theme& t = frame.theme;
    const auto at = static_cast<size_t>(rank);
    const double saved = data.space.parametersSaved(rank);
    std::vector<std::pair<std::string, Color>> rows = {
        {"rank " + std::to_string(rank) + ": error " + shortNumber(data.errors[at]), t.accent},
        {"as stored: error " + shortNumber(data.storedErrors[at]), t.inkSecond},
        {saved >= 0 ? percent(saved) + " of parameters saved" : percent(-saved) + " more parameters", t.ink},
        {"break-even " + shortNumber(data.space.breakEven(), 5), t.warning},
    };
    if (data.space.layer != input.selection.layer || data.space.side != sideOf(input.options))  // what comes takes seconds
      rows.insert(rows.begin(), {"still layer " + std::to_string(data.space.layer) + ", " + core::nameOf(data.space.side), t.warning});
    double y = plot.y + t.smallSize * 0.9;
    for (const auto& [text, color] : rows) {
      const double width = frame.measure.width(text, t.small());
      figure.add(
          RectItem{{plot.right() - width - t.gap / 2 - 2, y - t.smallSize * 0.75, width + 4, t.smallSize * 1.5}, t.canvas.withAlpha(0.9)});
      figure.add(textAt({plot.right() - t.gap / 2, y}, text, t.small(), color, AnchorX::Right, AnchorY::Middle));
      y += t.smallSize * 1.5;
    }
  }

  /// The first of these texts that fits, above `at`; the last one in any case.
  static void addHeading(Figure& figure, Point at, double room, const std::vector<std::string>& texts, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    size_t i = 0;
    while (i + 1 < texts.size() && frame.measure.width(texts[i], t.small()) > room) ++i;
    figure.add(textAt({at.x, at.y - t.gap / 2}, texts[i], t.small(), t.inkSecond, AnchorX::Left, AnchorY::Bottom));
  }

  /// The two heads that share most; -1 where there are none.
  static std::pair<int64_t, int64_t> closestPair(const core::Matrix& overlaps, int64_t n) {
    std::pair<int64_t, int64_t> best{-1, -1};
    float most = 0;
    for (int64_t i = 0; overlaps.rows() == n && i < n; ++i) {
      for (int64_t j = i + 1; j < n; ++j) {
        if (overlaps(i, j) > most) most = overlaps(i, j), best = {i, j};
      }
    }
    return best;
  }

  /// Frames round a pair's two cells, where cells are too small to be seen.
  static void markPair(Figure& figure, int64_t a, int64_t b, const Rect& plot, double cell, const Theme& t) {
    const double half = std::max(kSeenCell, cell) / 2 + 1;
    for (const auto& [row, col] : {std::pair{a, b}, std::pair{b, a}}) {
      const double x = std::clamp(plot.x + (static_cast<double>(col) + 0.5) * cell, plot.x + half, plot.right() - half),
                   y = std::clamp(plot.y + (static_cast<double>(row) + 0.5) * cell, plot.y + half, plot.bottom() - half);
      figure.add(RectItem{{x - half, y - half, 2 * half, 2 * half}, kTransparent, t.warning, 1});
    }
  }

  /// Overlap of every pair of heads: same cells as any heat, but rows and columns are heads of the one layer.
  static void addPairs(Figure& figure, const SubspaceData& data, const ViewFrame& frame, const Rect& area) {
    const Theme& t = frame.theme;
    const int64_t n = data.space.heads;
    const auto [first, second] = closestPair(data.overlaps, n);
    const std::string pair = second < 0 ? std::string()
                                        : "most " + std::to_string(first) + " and " + std::to_string(second) + ": " +
                                              shortNumber(data.overlaps(first, second), 2);
    addHeading(figure, {area.x, area.y}, figure.size.width - area.x,
               pair.empty() ? std::vector<std::string>{"overlap of pairs"}
                            : std::vector<std::string>{"overlap of pairs, " + pair, "overlap, " + pair, "overlap of pairs"},
               frame);
    const double left = area.x + frame.measure.width(std::to_string(n - 1), t.small()) + t.gap / 2;
    const double side = std::min(area.right() - left, area.height), cell = side / static_cast<double>(n);
    const ValueScale scale{core::ColorScale::Linear, 0, 1};
    const ColorRamp ramp = attentionRamp(t);
    const double widest = left - area.x - t.gap / 2;
    for (int64_t h = 0; h < n; h += labelStep(cell, std::max(t.smallSize * 1.5, widest + t.smallSize * 0.6))) {
      const double at = (static_cast<double>(h) + 0.5) * cell;
      figure.add(textAt({left - t.gap / 2, area.y + at}, std::to_string(h), t.small(), t.inkSecond, AnchorX::Right, AnchorY::Middle));
      figure.add(textAt({left + at, area.y + side + 3}, std::to_string(h), t.small(), t.inkSecond, AnchorX::Center, AnchorY::Top));
    }
    const Rect plot{left, area.y, side, side};
    if (data.overlaps.rows() != n) {
      figure.add(HatchItem{plot, t.line});
    } else {
      addMap(figure, plot, data.overlaps, {0, static_cast<double>(n), 0, static_cast<double>(n)}, scale, ramp, data.cache, t,
             frame.isPaper);
      if (second >= 0 && data.overlaps(first, second) >= kMarkedOverlap && cell < kSeenCell) markPair(figure, first, second, plot, cell, t);
      addPairReading(figure, data, frame, plot);
    }
    figure.add(RectItem{plot, kTransparent, t.line, 0});
    addColorBar(figure, {plot.right() + t.gap * 2, plot.y, 10, std::clamp(side - t.smallSize * 2, t.smallSize * 3, 120.0)}, scale, ramp, t);
  }

  static void addPairReading(Figure& figure, const SubspaceData& data, const ViewFrame& frame, const Rect& plot) {
    if (frame.isPaper) return;
    const double cell = plot.width / static_cast<double>(data.space.heads);
    const auto outline = [&](double row, double col, Color color) {
      figure.addOverlay(RectItem{{plot.x + col * cell, plot.y + row * cell, cell, cell}, kTransparent, color, 1.5});
    };
    if (!frame.pointer || !plot.contains(*frame.pointer) || frame.dragFrom) return;
    const auto row = static_cast<int64_t>((frame.pointer->y - plot.y) / cell),
               col = static_cast<int64_t>((frame.pointer->x - plot.x) / cell);
    if (row < 0 || col < 0 || row >= data.space.heads || col >= data.space.heads) return;
    outline(static_cast<double>(row), static_cast<double>(col), frame.theme.ink);
    const core::HeadRef a{data.space.layer, row}, b{data.space.layer, col};
    addTag(figure, {frame.pointer->x - 4, frame.pointer->y - 4, 8, 8}, {0, 0, figure.size.width, figure.size.height},
           core::headName(a) + " and " + core::headName(b), shortNumber(data.overlaps(row, col)), "1: one space holds the other",
           frame.theme, frame.measure);
  }

  static void addHeads(Figure& figure, const ViewInput& input, const core::SharedSubspace& s, int64_t rank, const ViewFrame& frame,
                       const Rect& area) {
    const Theme& t = frame.theme;
    if (s.heads == 0) return;
    double most = 1e-12;
    for (int64_t h = 0; h < s.heads; ++h) most = std::max(most, s.headError(h, rank));
    const std::string bound = "at most " + shortNumber(most);
    addHeading(figure, {area.x, area.y}, area.width,
               {"error of each head at rank " + std::to_string(rank) + ", " + bound, "error of each head, " + bound, "error of each head"},
               frame);
    figure.add(segment({area.x, area.bottom()}, {area.right(), area.bottom()}, t.inkSecond));
    figure.content.push_back(pickArea(area, {Pick::Kind::Control, kBrushControl, -1, -1, {}}));
    const double step = area.width / static_cast<double>(s.heads);
    const bool isByKeyValueHead = s.heads < input.model->spec().heads;
    const int64_t own = isByKeyValueHead ? input.model->spec().kvHeadOf(input.selection.head) : input.selection.head;
    for (int64_t h = 0; h < s.heads; ++h) {
      const double error = s.headError(h, rank), height = area.height * 0.86 * error / most;  // room for the number
      const double x = area.x + static_cast<double>(h) * step, wide = std::max(1.0, step - (step > 4 ? step * 0.12 : 0));
      const core::HeadRef head{s.layer, h};
      const bool isHover = !frame.isPaper && head == core::HeadRef{frame.hover.layer, frame.hover.head};
      const Color color = h == own || isBrushed(input.selection, head) ? t.accent : isHover ? t.ink : t.inkSecond.withAlpha(0.6);
      figure.add(RectItem{{x, area.bottom() - height, wide, height}, color});
      figure.content.push_back(
          pickArea({x, area.y, step, area.height}, {Pick::Kind::Head, s.layer, h * input.model->spec().heads / s.heads, -1,
                                                    std::string(isByKeyValueHead ? "Key/value head " : "Head ") + core::headName(head) +
                                                        "\nerror at rank " + std::to_string(rank) + "  " + shortNumber(error)}));
      if (step > t.smallSize * 2.6 && !std::isnan(error))
        figure.add(textAt({x + wide / 2, area.bottom() - height - 2}, shortNumber(error, 2), t.small(), t.inkSecond, AnchorX::Center,
                          AnchorY::Bottom));
      if (h % labelStep(step, t.smallSize * 1.9) == 0) {
        figure.add(textAt({x + wide / 2, area.bottom() + 3}, std::to_string(h), t.small(), t.inkSecond, AnchorX::Center, AnchorY::Top));
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
