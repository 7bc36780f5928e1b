#include "views/key_clusters.h"

#include <algorithm>
#include <cmath>

#include "core/attention/forward.h"
#include "core/attention/head_name.h"
#include "core/mechanisms/access_map.h"
#include "core/mechanisms/layer_heads.h"
#include "core/mechanisms/softmax_attention.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/line_chart.h"
#include "views/option_values.h"

namespace headscope::views {
namespace {

constexpr int64_t kFitTokens = 4096;

int64_t wholeIn(const ViewInput& input, const char* name, double standard, double most) {
  return static_cast<int64_t>(std::clamp(std::round(numberIn(input.options, name, standard)), 1.0, most));
}

int64_t queryOf(const ViewInput& input) {
  return input.selection.query >= 0 && input.selection.query < input.trace->count() ? input.selection.query : input.trace->count() - 1;
}

/// Place in the visit of each cluster; -1: not visited.
std::vector<int64_t> placesOf(const KeyClusters& data) {
  std::vector<int64_t> place(static_cast<size_t>(data.clusters), -1);
  for (size_t i = 0; i < data.order.size() && i < static_cast<size_t>(data.visit); ++i)
    place[static_cast<size_t>(data.order[i])] = static_cast<int64_t>(i);
  return place;
}

void addPlane(Figure& figure, const Rect& plot, const KeyClusters& data, const ViewFrame& frame) {
  const Theme& t = frame.theme;
  const core::Matrix& keys = data.plane.keys;
  double low[2] = {1e300, 1e300}, high[2] = {-1e300, -1e300};
  for (int64_t j = 0; j < keys.rows(); ++j) {
    for (int a = 0; a < 2; ++a) {
      low[a] = std::min(low[a], static_cast<double>(keys(j, a)));
      high[a] = std::max(high[a], static_cast<double>(keys(j, a)));
    }
  }
  const auto at = [&](const core::Matrix& points, int64_t row) {
    double unit[2];
    for (int a = 0; a < 2; ++a) unit[a] = high[a] > low[a] ? (static_cast<double>(points(row, a)) - low[a]) / (high[a] - low[a]) : 0.5;
    return Point{plot.x + plot.width * (0.04 + 0.92 * unit[0]), plot.bottom() - plot.height * (0.04 + 0.92 * unit[1])};
  };
  figure.add(RectItem{plot, kTransparent, t.line, 0});
  TextItem title = textAt({plot.x, plot.y - t.gap / 2},
                          "keys of head " + core::headName(data.head) + ", query " + std::to_string(data.query) + " visits " +
                              std::to_string(std::min<int64_t>(data.visit, static_cast<int64_t>(data.order.size()))) + " of " +
                              std::to_string(data.clusters) + " clusters",
                          t.small(), t.inkSecond, AnchorX::Left, AnchorY::Bottom);
  title.maxWidth = plot.width;
  figure.add(std::move(title));
  figure.add(textAt({plot.right(), plot.bottom() + t.gap / 2},
                    "axes hold " + shortNumber(100 * data.plane.explained[0], 2) + " and " + shortNumber(100 * data.plane.explained[1], 2) +
                        " % of the variance",
                    t.small(), t.inkSecond, AnchorX::Right, AnchorY::Top));
  const std::vector<int64_t> place = placesOf(data);
  const double unit = t.smallSize / 11;
  figure.add(ClipItem{plot});
  const int64_t step = std::max<int64_t>(1, keys.rows() / 4096);
  for (int64_t j = 0; j < keys.rows(); j += step) {
    const int32_t cluster = data.owner[static_cast<size_t>(j)];
    const int64_t visited = place[static_cast<size_t>(cluster)];
    const bool isHidden = j > data.query && data.weights[static_cast<size_t>(j)] == 0.0f;
    const double weight = static_cast<double>(data.weights[static_cast<size_t>(j)]), size = unit * (3.5 + 11 * std::sqrt(weight));
    Color color = visited >= 0 ? t.categories[static_cast<size_t>(visited) % t.categories.size()] : t.inkSecond.withAlpha(0.55);
    if (isHidden) color = t.line;
    const Point p = at(keys, j);
    figure.add(RectItem{{p.x - size / 2, p.y - size / 2, size, size}, color, kTransparent, 1, size / 2}).pick = {
        Pick::Kind::KeyToken, j, -1, -1,
        "key " + std::to_string(j) + ", cluster " + std::to_string(cluster) +
            (isHidden ? "\nlater than the query" : "\nweight " + shortNumber(weight))};
  }
  for (int64_t c = 0; c < data.clusters; ++c) {
    const Point p = at(data.plane.centres, c);
    const int64_t visited = place[static_cast<size_t>(c)];
    const double r = unit * 5;
    figure.add(RectItem{
        {p.x - r, p.y - r, 2 * r, 2 * r}, kTransparent, visited >= 0 ? t.ink : t.inkSecond.withAlpha(0.6), visited >= 0 ? 1.5 : 0.5, r});
    if (visited >= 0) figure.add(textAt({p.x + r + 2, p.y}, std::to_string(visited + 1), t.small(), t.ink, AnchorX::Left, AnchorY::Middle));
  }
  figure.add(ClipItem{});
}

void addCurve(Figure& figure, const Rect& plot, const KeyClusters& data, const ViewFrame& frame) {
  const Theme& t = frame.theme;
  LineChart chart(figure, plot, {0, 1, false, "share of visible keys read"}, {0, 1.02, false, "mass recalled, mean over rows"}, t);
  chart.addAxes();
  std::vector<Point> clusters{{0, 0}}, exact{{0, 0}}, random{{0, 0}};
  for (const core::RecallPoint& p : data.curve) {
    clusters.push_back({p.shareRead, p.recall});
    exact.push_back({p.shareRead, p.exact});
    random.push_back({p.shareRead, p.random});
  }
  chart.addLine(random, t.inkSecond, 1, {Pick::Kind::Value, -1, -1, -1, "as many keys at random"});
  chart.addLine(exact, t.categories[2], 1.5, {Pick::Kind::Value, -1, -1, -1, "as many keys, the best"});
  chart.addLine(clusters, t.accent, 2, {Pick::Kind::Value, -1, -1, -1, "clusters"});
  const core::RecallPoint& now = data.curve[static_cast<size_t>(std::clamp<int64_t>(data.visit, 1, data.clusters) - 1)];
  const Point at = chart.at(now.shareRead, now.recall);
  const double r = t.smallSize * 0.36;
  figure.add(RectItem{{at.x - r, at.y - r, 2 * r, 2 * r}, t.canvas, t.accent, 1.5, r});
  // The three lines meet at both ends: named in a corner that none of them crosses
  double y = plot.bottom() - t.smallSize * 1.5 * 4 - t.gap / 2;
  const std::pair<std::string, Color> names[] = {
      {"exact top keys", t.categories[2]},
      {"clusters", t.accent},
      {"random keys", t.inkSecond},
      {shortNumber(100 * now.shareRead, 2) + " % read, " + shortNumber(100 * now.recall, 3) + " % of the mass", t.ink}};
  for (const auto& [name, color] : names) {
    figure.add(textAt({plot.right() - t.gap / 2, y}, name, t.small(), color, AnchorX::Right, AnchorY::Top));
    y += t.smallSize * 1.5;
  }
}

}  // namespace

std::string keyClustersKey(const ViewInput& input) {
  return core::headName(input.selection.ref()) + ":" + std::to_string(queryOf(input)) + ":" +
         std::to_string(wholeIn(input, "clusters", 16, 256)) + ":" + std::to_string(wholeIn(input, "visit", 4, 256)) + ":" +
         wordIn(input.options, "on", "keys") + ":" + wordIn(input.options, "fit", "");
}

KeyClusters keyClusters(const ViewInput& input, core::Job& job) {
  KeyClusters out;
  out.head = input.selection.ref();
  out.count = input.trace->count();
  out.query = queryOf(input);
  out.fit = wordIn(input.options, "fit", "");
  std::shared_ptr<const core::Trace> fit;
  if (!out.fit.empty()) {
    const auto prompt = core::promptOfFile(input.trace->model(), out.fit, kFitTokens, job);
    fit = core::runForward(input.trace->sharedModel(), prompt, input.trace->sharedBackend(), {}, job);
  }
  const core::LayerHeads layer(input.trace, out.head.layer, job, fit);
  const core::HeadInput head = layer.input(out.head.head);
  const auto on = wordIn(input.options, "on", "keys") == "queries" ? core::ClusterOn::Queries : core::ClusterOn::Keys;
  const core::ConstMatrixView fitted = on == core::ClusterOn::Keys ? (fit ? head.fitKey : head.key) : (fit ? head.fitQuery : head.query);
  core::Matrix centres = core::fitCentres(fitted, wholeIn(input, "clusters", 16, 256), 1, job);
  out.clusters = centres.rows();
  out.visit = std::min(wholeIn(input, "visit", 4, 256), out.clusters);
  out.plane = core::projectKeys(head.key, centres);
  const core::ClusterMask mask(head, std::move(centres), out.visit, on);
  for (int64_t j = 0; j < out.count; ++j) out.owner.push_back(mask.clusterOf(j));
  out.order = mask.order(out.query);
  core::Matrix row(1, out.count);
  const auto all = std::make_shared<core::PatternMask>(core::Visibility(head), nullptr);
  core::softmaxRows(core::SoftmaxHead::of(head, all), out.query, 1, row.view(), job);
  out.weights.assign(row.data(), row.data() + out.count);
  out.curve = core::clusterRecall(head, mask, job);
  return out;
}

std::string addKeyClusters(Figure& figure, const Rect& area, const KeyClusters& data, const ViewFrame& frame) {
  const Theme& t = frame.theme;
  const bool isNarrow = area.width < t.smallSize * 60;
  const double axes = t.smallSize * 4, below = t.smallSize * 4;
  const double title = t.smallSize * 1.6;
  if (isNarrow) {
    const double each = area.height / 2 - title - below;
    addPlane(figure, {area.x, area.y + title, area.width, each}, data, frame);
    addCurve(figure, {area.x + axes, area.y + area.height / 2 + title * 1.4, area.width - axes - t.gap, each - title * 0.4}, data, frame);
  } else {
    const double half = area.width / 2 - t.gap, high = area.height - title - below;
    addPlane(figure, {area.x, area.y + title, half, high}, data, frame);
    addCurve(figure, {area.x + half + 2 * t.gap + axes, area.y + title, half - axes - 2 * t.gap, high}, data, frame);
  }
  return "Keys of head " + core::headName(data.head) + " along their two principal components; dots grow with the weight that query " +
         std::to_string(data.query) + " gives them; rings: " + std::to_string(data.clusters) + " k-means centres" +
         (data.fit.empty() ? "" : ", fitted on " + data.fit) + "; the " + std::to_string(data.visit) +
         " clusters it visits in colour, in order. Curve: mean recall of the mass against the share of visible keys read, beside as many "
         "exact top keys and as many random ones.";
}

}  // namespace headscope::views
