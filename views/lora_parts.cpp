#include "views/lora_parts.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/attention/head_name.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/head_heat.h"
#include "views/line_chart.h"

namespace headscope::views {
namespace {

constexpr size_t kTopHeads = 10;

double largestChange(const LoraData& data) {
  double most = 0;
  for (const auto& layer : data.done) {
    if (!layer) continue;
    for (const core::HeadLora& h : layer->heads) {
      for (const double v : {h.qk.relative, h.ov.relative}) most = std::isfinite(v) ? std::max(most, v) : most;
    }
  }
  return most > 0 ? most : 1;
}

ValueScale scaleOf(const ViewInput& input, const LoraData& data) {
  ValueScale scale{core::ColorScale::Linear, 0, largestChange(data), input.options.limits.has_value()};
  if (input.options.limits) scale.low = input.options.limits->first, scale.high = input.options.limits->second;
  return scale;
}

double barWidth(const ValueScale& scale, const ViewFrame& frame) {
  return frame.theme.gap * 2.5 + 10 + colorBarTextWidth(scale, frame.theme, frame.measure);
}

double titleHeight(const ViewFrame& frame) { return frame.theme.smallSize * 1.8; }

/// A small table with one coloured cell a layer and column, its text inside where there is room.
struct ModuleGrid {
  std::string title;
  std::vector<std::string> columns;
  std::map<std::pair<int64_t, size_t>, std::pair<double, std::string>> cells;  // layer, column -> share in [0, 1], text
  std::map<std::pair<int64_t, size_t>, std::string> tips;
};

/// Columns that `names` have among those of attention, in the order query, key, value, output, then all others.
void addColumns(ModuleGrid& grid, std::vector<std::string> names) {
  const auto rank = [](const std::string& name) {
    const char* const kinds[] = {"c_attn", "query_key_value", "q_", "query", "k_", "key", "v_", "value", "c_proj", "o_", "dense"};
    for (size_t i = 0; i < std::size(kinds); ++i) {
      if (name.starts_with(kinds[i])) return i;
    }
    return std::size(kinds);
  };
  std::stable_sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) { return rank(a) < rank(b); });
  for (const std::string& name : names) {
    if (std::find(grid.columns.begin(), grid.columns.end(), name) == grid.columns.end()) grid.columns.push_back(name);
  }
}

size_t columnOf(ModuleGrid& grid, const std::string& name) {
  const auto found = std::find(grid.columns.begin(), grid.columns.end(), name);
  if (found != grid.columns.end()) return static_cast<size_t>(found - grid.columns.begin());
  grid.columns.push_back(name);
  return grid.columns.size() - 1;
}

void addModuleGrid(Figure& figure, const ModuleGrid& grid, int64_t layers, const ViewFrame& frame, const Rect& area) {
  const Theme& t = frame.theme;
  TextItem title = textAt({area.x, area.y + t.smallSize * 0.7}, grid.title, t.small(), t.ink, AnchorX::Left, AnchorY::Middle);
  title.maxWidth = area.width;
  figure.add(std::move(title));
  if (grid.columns.empty() || area.height < t.smallSize * 4) return;
  const double left = area.x + t.smallSize * 2, top = area.y + t.smallSize * 3.2;
  double name = 0;
  for (const std::string& column : grid.columns) name = std::max(name, frame.measure.width(column, t.small()));
  const double width = std::clamp((area.right() - left) / static_cast<double>(grid.columns.size()), 6.0, std::max(40.0, name + t.gap));
  const double height = std::clamp((area.bottom() - top) / static_cast<double>(std::max<int64_t>(1, layers)), 1.0, t.smallSize * 1.7);
  const ColorRamp ramp = attentionRamp(t);
  const double gap = std::min(width, height) > 8 ? 1 : 0;
  for (size_t c = 0; c < grid.columns.size(); ++c) {
    TextItem text = textAt({left + (static_cast<double>(c) + 0.5) * width, top - 3}, grid.columns[c], t.small(), t.inkSecond,
                           AnchorX::Center, AnchorY::Bottom);
    text.maxWidth = width - 2;
    figure.add(std::move(text));
  }
  for (int64_t l = 0; l < layers; l += labelStep(height, t.smallSize * 1.2)) {
    figure.add(textAt({left - t.gap / 2, top + (static_cast<double>(l) + 0.5) * height}, std::to_string(l), t.small(), t.inkSecond,
                      AnchorX::Right, AnchorY::Middle));
  }
  for (const auto& [at, cell] : grid.cells) {
    const Rect rect{left + static_cast<double>(at.second) * width, top + static_cast<double>(at.first) * height, width - gap, height - gap};
    const Color fill = ramp.at(cell.first * 0.85);
    const auto tip = grid.tips.find(at);
    figure.add(RectItem{rect, fill, t.line, 0}).pick = {Pick::Kind::Value, at.first, static_cast<int64_t>(at.second), 0,
                                                        tip == grid.tips.end() ? std::string() : tip->second};
    if (height > t.smallSize * 1.15 && frame.measure.width(cell.second, t.small()) < width - 2)
      figure.add(textAt(rect.center(), cell.second, t.small(), inkOn(fill, t), AnchorX::Center, AnchorY::Middle));
  }
}

/// "model.layers.3.self_attn.q_proj" -> 3 and "q_proj"; layer -1 without a number.
std::pair<int64_t, std::string> placeOf(const std::string& path) {
  int64_t layer = -1;
  std::string part, last;
  for (size_t i = 0; i <= path.size(); ++i) {
    if (i < path.size() && path[i] != '.') {
      part += path[i];
      continue;
    }
    const bool isNumber =
        !part.empty() && part.size() < 7 && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (isNumber && layer < 0)
      layer = std::stoll(part);
    else if (!part.empty())
      last = part;
    part.clear();
  }
  return {layer, last};
}

}  // namespace

const core::HeadLora* LoraData::at(core::HeadRef head) const {
  if (head.layer < 0 || head.layer >= static_cast<int64_t>(done.size()) || head.head < 0 || head.head >= heads) return nullptr;
  const auto& layer = done[static_cast<size_t>(head.layer)];
  return layer && head.head < static_cast<int64_t>(layer->heads.size()) ? &layer->heads[static_cast<size_t>(head.head)] : nullptr;
}

const core::LoraCircuit& circuitOf(const core::HeadLora& head, bool ov) { return ov ? head.ov : head.qk; }

std::string loraTip(const core::HeadLora& h) {
  std::string tip = "Head " + core::headName({h.layer, h.head}) + "\nQK change  " + shortNumber(h.qk.relative) +
                    " of the head\nOV change  " + shortNumber(h.ov.relative) + " of the head\nshare of q, k, v, o  " +
                    shortNumber(h.shareQ) + ", " + shortNumber(h.shareK) + ", " + shortNumber(h.shareV) + ", " + shortNumber(h.shareO);
  const auto intruders = [&](const char* name, const core::LoraCircuit& c) {
    if (c.intrudersLeft >= 0)
      tip += std::string("\nintruders of the top 10, ") + name + "  " + std::to_string(c.intrudersLeft) + " read, " +
             std::to_string(c.intrudersRight) + (std::string(name) == "QK" ? " matched" : " written");
  };
  intruders("QK", h.qk), intruders("OV", h.ov);
  if (!h.writeCosines.empty()) {
    const auto degrees = [](double cosine) { return shortNumber(std::acos(std::clamp(cosine, -1.0, 1.0)) * 180 / 3.14159265358979, 2); };
    tip += "\nangles between change and head, written  " + degrees(h.writeCosines.front()) + " to " + degrees(h.writeCosines.back()) +
           " degrees";
  }
  return tip;
}

double loraGridsHeight(const LoraData& data, double width, double most, const ViewFrame& frame) {
  const double half = (width - 60) / 2 / static_cast<double>(std::max<int64_t>(1, data.heads));
  const double cells = std::max(18.0, static_cast<double>(data.layers) * std::clamp(half, 0.4, frame.isPaper ? 24.0 : 32.0));
  return std::min(most, std::max(cells + titleHeight(frame) + frame.theme.smallSize * 1.4, frame.theme.smallSize * 7));
}

void addLoraGrids(Figure& figure, const ViewInput& input, const LoraData& data, const ViewFrame& frame, const Rect& area, double most) {
  const Theme& t = frame.theme;
  const ValueScale scale = scaleOf(input, data);
  const ColorRamp ramp = attentionRamp(t);
  const double gap = t.gap * 2, half = (area.width - barWidth(scale, frame) - gap) / 2;
  HeadHeat heats[2];
  for (const int ov : {0, 1}) {
    core::Matrix values(data.layers, data.heads);
    for (int64_t l = 0; l < data.layers; ++l) {
      for (int64_t h = 0; h < data.heads; ++h) {
        const core::HeadLora* head = data.at({l, h});
        values(l, h) = head == nullptr ? std::nanf("") : static_cast<float>(std::min(circuitOf(*head, ov == 1).relative, scale.high));
      }
    }
    const Rect part{area.x + ov * (half + gap), area.y + titleHeight(frame), half, area.height - titleHeight(frame)};
    heats[ov] = layOutHeat(data.layers, data.heads, part, most, frame);
    figure.add(textAt({heats[ov].left, area.y + t.smallSize * 0.7}, ov == 1 ? "change of W_OV" : "change of W_QK", t.small(), t.ink,
                      AnchorX::Left, AnchorY::Middle));
    addHeat(
        figure, heats[ov], values, scale, ramp, input.selection, frame,
        [&](core::HeadRef head) {
          const core::HeadLora* found = data.at(head);
          return found == nullptr ? "Head " + core::headName(head) + "\nnot computed yet" : loraTip(*found);
        },
        ov);
  }
  const Rect cells = heats[1].cells();
  const double high = std::clamp(cells.height - (frame.isPaper ? t.smallSize * 1.6 : 0), t.smallSize * 3, 120.0);
  addColorBar(figure, {cells.right() + t.gap * 2, cells.y, 10, high}, scale, ramp, t);
}

void addLoraTopHeads(Figure& figure, const ViewInput& input, const LoraData& data, const ViewFrame& frame, const Rect& area, bool ov) {
  const Theme& t = frame.theme;
  std::vector<const core::HeadLora*> heads;
  for (const auto& layer : data.done) {
    if (!layer) continue;
    for (const core::HeadLora& h : layer->heads) {
      if (circuitOf(h, ov).relative > 0) heads.push_back(&h);
    }
  }
  std::stable_sort(heads.begin(), heads.end(),
                   [&](const auto* a, const auto* b) { return circuitOf(*a, ov).relative > circuitOf(*b, ov).relative; });
  const double title = t.smallSize * (area.width < 200 ? 3.4 : 2);
  const double row = std::max(t.smallSize * 1.3, std::min(t.smallSize * 1.8, (area.height - title) / static_cast<double>(kTopHeads)));
  heads.resize(std::min({heads.size(), kTopHeads, static_cast<size_t>(std::max(1.0, (area.height - title) / row))}));
  figure.add(textAt({area.x, area.y + t.smallSize * 0.7}, std::string("heads whose ") + (ov ? "OV" : "QK") + " changed most", t.small(),
                    t.ink, AnchorX::Left, AnchorY::Middle));
  const std::string parts[] = {ov ? "V" : "Q", ov ? "O" : "K", "both"};
  const Color colors[] = {ov ? t.value : t.query, ov ? t.categories[3] : t.key, t.inkSecond};
  double x = area.x + (area.width < 200 ? 0 : frame.measure.width("heads whose QK changed most", t.small()) + t.gap * 2);
  const double y0 = area.y + (area.width < 200 ? t.smallSize * 2.1 : t.smallSize * 0.7);
  for (size_t p = 0; p < 3; ++p) {
    figure.add(RectItem{{x, y0 - t.smallSize * 0.4, t.smallSize * 0.8, t.smallSize * 0.8}, colors[p]});
    figure.add(textAt({x + t.smallSize * 1.1, y0}, parts[p], t.small(), t.inkSecond, AnchorX::Left, AnchorY::Middle));
    x += t.smallSize * 2.2 + frame.measure.width(parts[p], t.small());
  }
  double most = 0, name = 0;
  for (const core::HeadLora* h : heads) {
    const auto& n = circuitOf(*h, ov).termNorms;
    most = std::max(most, n[0] + n[1] + n[2]);
    name = std::max(name, frame.measure.width(core::headName({h->layer, h->head}), t.small()));
  }
  const bool isWhole = std::all_of(data.done.begin(), data.done.end(), [](const auto& layer) { return layer != nullptr; });
  if (heads.empty())
    figure.add(textAt({area.x, area.y + title + t.smallSize}, isWhole ? "nothing changed" : "nothing so far", t.small(), t.inkSecond));
  const double left = area.x + name + t.gap, room = std::max(4.0, area.right() - left - t.smallSize * 3);
  for (size_t i = 0; i < heads.size(); ++i) {
    const core::HeadLora& h = *heads[i];
    const double y = area.y + title + static_cast<double>(i) * row;
    const bool isSelected = !frame.isPaper && input.selection.ref() == core::HeadRef{h.layer, h.head};
    figure.add(textAt({left - t.gap / 2, y + row / 2}, core::headName({h.layer, h.head}), t.small(), isSelected ? t.accent : t.ink,
                      AnchorX::Right, AnchorY::Middle));
    double at = left;
    for (size_t p = 0; p < 3; ++p) {
      const double width = most > 0 ? room * circuitOf(h, ov).termNorms[p] / most : 0;
      if (width > 0) figure.add(RectItem{{at, y + row * 0.18, width, row * 0.64}, colors[p]});
      at += width;
    }
    figure.add(textAt({at + t.gap / 2, y + row / 2}, shortNumber(circuitOf(h, ov).relative), t.small(), t.inkSecond, AnchorX::Left,
                      AnchorY::Middle));
    figure.content.push_back(pickArea({area.x, y, area.width, row}, {Pick::Kind::Head, h.layer, h.head, -2, loraTip(h)}));
  }
}

void addLoraSpectra(Figure& figure, const ViewInput& input, const LoraData& data, const ViewFrame& frame, const Rect& area, bool ov) {
  const Theme& t = frame.theme;
  const core::HeadLora* head = data.at(input.selection.ref());
  if (head == nullptr) return;
  const core::LoraCircuit& c = circuitOf(*head, ov);
  double high = 0;
  for (const core::Spectrum* s : {&c.before, &c.after, &c.change}) high = s->isFinite ? std::max(high, s->largest()) : high;
  if (!(high > 0)) return;
  const double left = area.x + t.smallSize * 3, top = area.y + t.smallSize * 2, bottom = t.smallSize * 3.4;
  const double rank = static_cast<double>(std::max<int64_t>(2, c.before.count()));
  LineChart chart(
      figure, {left, top, std::max(10.0, area.right() - left - t.smallSize * 4.2), std::max(10.0, area.bottom() - top - bottom)},
      {1, rank, false, "index"},
      {0, high * 1.05, false,
       std::string(area.width > 150 ? "singular values, " : "") + (ov ? "W_OV" : "W_QK") + " of " + core::headName(input.selection.ref())},
      t);
  chart.addAxes();
  std::vector<std::vector<Point>> curves;
  std::vector<LineLabel> labels;
  const std::pair<const core::Spectrum*, const char*> all[] = {{&c.before, "before"}, {&c.after, "after"}, {&c.change, "change"}};
  const Color colors[] = {t.inkSecond, t.accent, t.categories[1]};
  for (size_t i = 0; i < 3; ++i) {
    std::vector<Point> points;
    for (size_t n = 0; all[i].first->isFinite && n < all[i].first->sigma.size() && static_cast<double>(n) < rank; ++n)
      points.push_back({static_cast<double>(n + 1), all[i].first->sigma[n]});
    if (!points.empty()) {  // no line for what isn't a number
      chart.addLine(points, colors[i], i == 2 ? 1 : 1.5);
      labels.push_back({points.back().y, all[i].second, colors[i]});
    }
    curves.push_back(std::move(points));
  }
  chart.addEndLabels(labels);
  chart.addReadings("index", {{"before", &curves[0], colors[0]}, {"after", &curves[1], colors[1]}, {"change", &curves[2], colors[2]}},
                    frame);
}

void addWastedRanks(Figure& figure, const LoraData& data, const ViewFrame& frame, const Rect& area) {
  ModuleGrid grid;
  int64_t wasted = 0, rank = 0, others = 0;
  std::vector<std::string> names;
  for (const core::LoraModule& m : data.modules) {
    if (placeOf(m.path).first >= 0) names.push_back(placeOf(m.path).second);
  }
  addColumns(grid, std::move(names));
  for (const core::LoraModule& m : data.modules) {
    wasted += m.wastedRank, rank += m.rank, others += !m.isAttention;
    const auto [layer, name] = placeOf(m.path);
    if (layer < 0) continue;
    const std::pair<int64_t, size_t> at{layer, columnOf(grid, name)};
    if (m.effectiveRank < 0) {
      grid.cells[at] = {0, "\u2013"};
      grid.tips[at] = m.path + "\nNaN or infinite values";
      continue;
    }
    grid.cells[at] = {m.rank > 0 ? static_cast<double>(m.wastedRank) / static_cast<double>(m.rank) : 0, std::to_string(m.wastedRank)};
    grid.tips[at] = m.path + "\nrank " + std::to_string(m.rank) + ", of which 99.9 % of the energy needs " +
                    std::to_string(m.effectiveRank) + "\nlargest singular value  " + (m.sigma.empty() ? "0" : shortNumber(m.sigma.front()));
  }
  grid.title = "wasted rank: " + std::to_string(wasted) + " of " + std::to_string(rank);
  if (others > 0) grid.title += ", " + std::to_string(others) + (others == 1 ? " module" : " modules") + " beside attention";
  addModuleGrid(figure, grid, data.layers, frame, area);
}

void addIntruders(Figure& figure, const LoraData& data, const ViewFrame& frame, const Rect& area) {
  ModuleGrid grid;
  int64_t count = 0;
  bool isComputed = false;
  for (const auto& layer : data.done) {
    if (!layer) continue;
    for (const core::WholeIntruders& w : layer->intruders) {
      isComputed = true, count += w.count;
      const std::pair<int64_t, size_t> at{w.layer, columnOf(grid, placeOf(w.module).second)};
      grid.cells[at] = {static_cast<double>(w.count) / 10, std::to_string(w.count)};
      grid.tips[at] = w.module + ", layer " + std::to_string(w.layer) + "\n" + std::to_string(w.count) +
                      " of the top 10 singular vectors after are far from all of the base's (cosine under 0.5)";
    }
  }
  const bool isDone = std::all_of(data.done.begin(), data.done.end(), [](const auto& layer) {
    return layer && !layer->heads.empty() && layer->heads.front().qk.intrudersLeft >= 0;
  });
  grid.title = isComputed ? "intruder dimensions in the top 10: " + std::to_string(count)
               : isDone   ? "intruder dimensions: no attention matrix changed"
                          : "intruder dimensions: not computed yet";
  addModuleGrid(figure, grid, data.layers, frame, area);
}

}  // namespace headscope::views
