#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "views/comparison_data.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/line_chart.h"
#include "views/mechanism_words.h"

namespace headscope::views {
namespace {

constexpr double kWorstShown = 2;  // errors beyond it stand at the upper edge

struct Column {
  const char* title;
  int rank;  // the larger, the earlier it gives way to width
  std::string (*text)(const ComparisonData&, const core::MechanismResult&);
};

std::string number(double v, int digits = 3) {
  return std::isnan(v) ? std::string("-") : shortNumber(std::abs(v) < 1e-6 ? 0.0 : v, digits);
}

const std::vector<Column>& columns() {
  using Result = core::MechanismResult;
  static const auto* all = new std::vector<Column>{
      {"error", 0,
       [](const ComparisonData&, const Result& r) {
         return r.seeds > 1 ? number(r.errors.output, 2) + " \u00B1" + number(r.outputSpread, 1) : number(r.errors.output);
       }},
      {"kept", 3, [](const ComparisonData&, const Result& r) { return number(r.errors.meanMassKept); }},
      {"KL", 4, [](const ComparisonData&, const Result& r) { return number(r.errors.meanKl); }},
      {"cosine", 5, [](const ComparisonData&, const Result& r) { return number(r.errors.meanCosine); }},
      {"rank", 7, [](const ComparisonData&, const Result& r) { return number(r.errors.meanRankCorrelation); }},
      {"work", 1, [](const ComparisonData& d, const Result& r) { return number(d.work(r)); }},
      {"held", 6, [](const ComparisonData&, const Result& r) { return byteSize(r.cost.bytesHeld); }},
      {"ms", 2, [](const ComparisonData&, const Result& r) { return number(1000 * r.seconds, 2); }},
  };
  return *all;
}

bool isWhatIf(const core::MechanismResult& r) {
  return std::any_of(r.notes.begin(), r.notes.end(), [](const std::string& note) { return note.rfind("a what-if", 0) == 0; });
}

/// Those that fit beside the names, in their order.
std::vector<const Column*> columnsThatFit(double width, double each) {
  std::vector<const Column*> kept;
  for (const Column& c : columns()) kept.push_back(&c);
  while (kept.size() > 1 && each * static_cast<double>(kept.size()) > width)
    kept.erase(std::max_element(kept.begin(), kept.end(), [](const Column* a, const Column* b) { return a->rank < b->rank; }));
  return kept;
}

/// Which results are listed in `room` rows: from the top, with the shown one in place of the last where it would be left out.
std::vector<size_t> rowsThatFit(const ComparisonData& data, size_t room) {
  std::vector<size_t> rows;
  for (size_t i = 0; i < data.results.size() && rows.size() < room; ++i) rows.push_back(i);
  for (size_t i = rows.size(); i < data.results.size() && !rows.empty(); ++i) {
    if (data.results[i].mechanism == data.mechanism) rows.back() = i;
  }
  return rows;
}

}  // namespace

Pick mechanismPick(const core::MechanismResult& r) {
  return {Pick::Kind::Value, -1, -1, -1,
          r.mechanism + "\n" +
              (r.refusal.empty() ? "output error " + shortNumber(r.errors.output) + ", " + bigNumber(r.cost.operations) + " operations"
                                 : r.refusal) +
              (r.notes.empty() ? "" : "\n" + joined(r.notes))};
}

void addComparisonTable(Figure& figure, const Rect& rect, const ComparisonData& data, double line, const Theme& t) {
  const double names = std::max(rect.width * 0.26, t.smallSize * 11);
  const std::vector<const Column*> shown = columnsThatFit(rect.width - names, t.smallSize * 4.6);
  const double step = (rect.width - names) / static_cast<double>(shown.size());
  const auto room = static_cast<size_t>(std::max(1.0, std::floor((rect.height + 0.5) / line) - 1));
  const bool hasWhatIf = std::any_of(data.results.begin(), data.results.end(), isWhatIf);
  const size_t lines = room - (hasWhatIf && room > 2 ? 1 : 0);
  const bool hasMore = data.results.size() > lines;
  const std::vector<size_t> rows = rowsThatFit(data, hasMore ? std::max<size_t>(1, lines - 1) : lines);
  for (size_t c = 0; c < shown.size(); ++c) {
    figure.add(textAt({rect.x + names + step * static_cast<double>(c + 1), rect.y}, shown[c]->title, t.small(), t.inkSecond, AnchorX::Right,
                      AnchorY::Top));
  }
  double y = rect.y;
  for (const size_t i : rows) {
    y += line;
    const core::MechanismResult& r = data.results[i];
    if (r.mechanism == data.mechanism)
      figure.add(RectItem{{rect.x - t.gap / 2, y - line * 0.12, rect.width + t.gap, line}, t.raised, kTransparent, 1, t.radius});
    TextItem label = textAt({rect.x, y}, i == 0 ? "as trained" : shortMechanism(r.mechanism) + (isWhatIf(r) ? " *" : ""), t.small(),
                            r.isCausal ? t.ink : t.warning, AnchorX::Left, AnchorY::Top);
    label.maxWidth = names - t.gap / 2;
    figure.add(std::move(label));
    figure.content.push_back(pickArea({rect.x, y - line * 0.12, rect.width, line}, mechanismPick(r)));
    if (!r.refusal.empty()) {
      TextItem refusal = textAt({rect.x + names, y}, r.refusal, t.small(), t.inkSecond, AnchorX::Left, AnchorY::Top);
      refusal.maxWidth = rect.width - names;
      figure.add(std::move(refusal));
      continue;
    }
    for (size_t c = 0; c < shown.size(); ++c) {
      figure.add(textAt({rect.x + names + step * static_cast<double>(c + 1), y}, shown[c]->text(data, r), t.small(), t.ink, AnchorX::Right,
                        AnchorY::Top));
    }
  }
  if (hasWhatIf && room > 2) {
    figure.add(textAt({rect.x, y + line * (hasMore ? 2 : 1)}, "* a what-if: the checkpoint was not trained with it", t.small(), t.inkSecond,
                      AnchorX::Left, AnchorY::Top));
  }
  if (hasMore) {
    figure.add(textAt({rect.x, y + line}, std::to_string(data.results.size() - rows.size()) + " more in a larger pane", t.small(),
                      t.inkSecond, AnchorX::Left, AnchorY::Top));
  }
}

void addComparisonScatter(Figure& figure, const Rect& plot, const ComparisonData& data, const Theme& t) {
  if (plot.width < 40 || plot.height < 30) return;
  std::vector<HeadPoint> points = data.heads;
  if (points.empty()) {
    for (size_t i = 1; i < data.results.size(); ++i) {
      const core::MechanismResult& r = data.results[i];
      if (r.refusal.empty() && r.cost.operations > 0) points.push_back({data.head, i, r.errors.output, data.work(r)});
    }
  }
  double low = 1e300, high = 0, worst = 0.1;
  for (const HeadPoint& p : points) {
    low = std::min(low, p.work);
    high = std::max(high, p.work);
    worst = std::max(worst, std::min(kWorstShown, p.error));
  }
  if (high <= 0) return;
  const bool isAll = !data.heads.empty();
  LineChart chart(figure, plot, {low / 1.5, high * 1.5, true, "work, as trained = 1"},
                  {0, worst * 1.08, false, isAll ? "output error, all heads" : "output error"}, t);
  chart.addAxes();
  const auto isShown = [&](const HeadPoint& p) { return data.results[p.mechanism].mechanism == data.mechanism; };
  std::stable_sort(points.begin(), points.end(), [&](const HeadPoint& a, const HeadPoint& b) { return isShown(a) < isShown(b); });
  const double unit = t.smallSize / 11;
  for (const HeadPoint& p : points) {
    const core::MechanismResult& r = data.results[p.mechanism];
    const Point at = chart.at(p.work, std::min(kWorstShown, p.error));
    const double size = unit * (isAll ? 5 : isShown(p) ? 9 : 6);
    const Color base = isShown(p) ? t.accent : r.isCausal ? t.inkSecond : t.warning;
    Pick pick = mechanismPick(r);
    if (isAll) {
      pick.tip =
          r.mechanism + "\nhead " + core::headName(p.head) + ": output error " + shortNumber(p.error) + ", work " + shortNumber(p.work);
      pick.a = p.head.layer, pick.b = p.head.head;
    }
    figure
        .add(RectItem{
            {at.x - size / 2, at.y - size / 2, size, size}, isAll && !isShown(p) ? base.withAlpha(0.45) : base, kTransparent, 1, size / 2})
        .pick = pick;
    if (isAll && isShown(p) && p.head == data.head) {
      const double ring = size + 4 * unit;
      figure.add(RectItem{{at.x - ring / 2, at.y - ring / 2, ring, ring}, kTransparent, t.ink, 1, ring / 2});
    }
  }
}

}  // namespace headscope::views
