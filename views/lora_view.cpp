// LoRA: what the adapter changed in every head: two grids of relative change (QK, OV), the heads it changed most with their three
// terms as stacked bars, and the selected head's spectra before and after.
// options.words: circuit ("QK" or "OV") of bars and spectra.
#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "core/weights/lora.h"
#include "views/color_ramp.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/line_chart.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr int64_t kTopHeads = 10;

struct LoraData : ViewData {
  std::string modelName;
  double strength = 1;
  int64_t heads = 0;
  std::vector<core::LoraLayer> layers;
  std::vector<core::LoraModule> modules;
  const core::HeadLora& at(int64_t l, int64_t h) const { return layers[static_cast<size_t>(l)].heads[static_cast<size_t>(h)]; }
};

bool isOv(const core::ViewOptions& options) {
  const auto it = options.words.find("circuit");
  return it != options.words.end() && it->second == "OV";
}

const core::LoraCircuit& circuitOf(const core::HeadLora& head, bool ov) { return ov ? head.ov : head.qk; }

std::string tipOf(const core::HeadLora& h) {
  return "Head " + std::to_string(h.layer) + "." + std::to_string(h.head) + "\nQK change  " + shortNumber(h.qk.relative) +
         " of the head\nOV change  " + shortNumber(h.ov.relative) + " of the head\nshare of q, k, v, o  " + shortNumber(h.shareQ) + ", " +
         shortNumber(h.shareK) + ", " + shortNumber(h.shareV) + ", " + shortNumber(h.shareO);
}

class LoraView : public View {
 public:
  std::string_view name() const override { return "lora"; }
  std::string_view title() const override { return "LoRA"; }
  bool needsTrace() const override { return false; }
  std::string subject(const ViewInput& input) const override { return isOv(input.options) ? "OV" : "QK"; }

  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.model || input.model->adapter() == nullptr || input.model->spec().mla) return {};
    return "lora:" + std::to_string(reinterpret_cast<uintptr_t>(input.model.get()));
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<LoraData>();
    const auto base = input.model->withoutAdapter();
    data->modelName = base->name(), data->strength = input.model->strength(), data->heads = base->spec().heads;
    core::LoraOptions options;
    options.withDetails = false;
    for (int64_t l = 0; l < base->spec().layers; ++l) {
      job.report(static_cast<double>(l) / static_cast<double>(base->spec().layers), "layer " + std::to_string(l));
      data->layers.push_back(core::layerLora(*base, *input.model, l, options, job));
    }
    data->modules = core::loraModules(*input.model, job);
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.model) return emptyFigure(frame.size, "What an adapter changed in every head", "Open a model folder", frame.theme);
    if (input.model->adapter() == nullptr)
      return emptyFigure(frame.size, "What an adapter changed in every head", "Open an adapter", frame.theme);
    if (input.model->spec().mla)
      return emptyFigure(frame.size, "What an adapter changed in every head", "Not computed for latent attention", frame.theme);
    const auto* lora = dynamic_cast<const LoraData*>(data);
    if (lora == nullptr || lora->layers.empty())
      return emptyFigure(frame.size, "What the adapter changed in every head", "Computing", frame.theme);
    return drawAll(input, *lora, frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{
        {"layer", "head", "relative_qk", "relative_ov", "query_term", "key_term", "value_term", "output_term", "both_qk", "both_ov"}, {}};
    if (dataKey(input, {}).empty()) return table;
    const auto data = std::static_pointer_cast<const LoraData>(compute(input, {}, job));
    for (const core::LoraLayer& layer : data->layers) {
      for (const core::HeadLora& h : layer.heads) {
        std::vector<std::string> row{std::to_string(h.layer), std::to_string(h.head)};
        for (const double v : {h.qk.relative, h.ov.relative, h.qk.termNorms[0], h.qk.termNorms[1], h.ov.termNorms[0], h.ov.termNorms[1],
                               h.qk.termNorms[2], h.ov.termNorms[2]}) {
          row.push_back(shortNumber(v, 7));
        }
        table.rows.push_back(std::move(row));
      }
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    if (!input.model || gesture.kind != Gesture::Kind::Click || gesture.pick.kind != Pick::Kind::Head) return false;
    selection.layer = gesture.pick.a, selection.head = gesture.pick.b;
    if (gesture.pick.c >= 0) options.words["circuit"] = gesture.pick.c == 1 ? "OV" : "QK";
    return true;
  }

 private:
  static Figure drawAll(const ViewInput& input, const LoraData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    Figure figure;
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : frame.size.width * 0.8};
    figure.background = t.canvas;
    figure.title = "LoRA";
    const double gap = t.gap * 2, half = (figure.size.width - gap) / 2, upper = figure.size.height * 0.52;
    double most = 0;
    for (const core::LoraLayer& layer : data.layers) {
      for (const core::HeadLora& h : layer.heads) {
        for (const double v : {h.qk.relative, h.ov.relative}) most = std::isfinite(v) ? std::max(most, v) : most;
      }
    }
    ValueScale scale{core::ColorScale::Linear, 0, most > 0 ? most : 1, input.options.limits.has_value()};
    if (input.options.limits) scale.low = input.options.limits->first, scale.high = input.options.limits->second;
    addGrid(figure, input, data, frame, {0, 0, half, upper}, false, scale);
    addGrid(figure, input, data, frame, {half + gap, 0, half, upper}, true, scale);
    addTopHeads(figure, input, data, frame, {0, upper + gap, half, figure.size.height - upper - gap});
    addSpectra(figure, input, data, frame, {half + gap, upper + gap, half, figure.size.height - upper - gap});
    int64_t others = 0, wasted = 0, rank = 0;
    for (const core::LoraModule& m : data.modules) others += !m.isAttention, wasted += m.wastedRank, rank += m.rank;
    figure.caption =
        "Change of W_QK and W_OV of every head of " + data.modelName + " by the adapter at strength " + shortNumber(data.strength) +
        ", as a share of the head's norm; the heads changed most with the norms of their three terms; spectra before and after. " +
        std::to_string(wasted) + " of " + std::to_string(rank) + " ranks of the adapter's modules hold less than 0.1 % of the energy; " +
        std::to_string(others) + " modules beside attention.";
    return figure;
  }

  static void addGrid(Figure& figure, const ViewInput& input, const LoraData& data, const ViewFrame& frame, const Rect& area, bool ov,
                      const ValueScale& scale) {
    const Theme& t = frame.theme;
    const ColorRamp ramp = attentionRamp(t);
    const auto layers = static_cast<int64_t>(data.layers.size());
    const double left = area.x + t.smallSize * 2.4, top = area.y + t.smallSize * 3.4,
                 bar = t.gap * 3 + 10 + colorBarTextWidth(scale, t, frame.measure);
    const double width = std::clamp((area.right() - left - bar) / static_cast<double>(data.heads), 1.5, 40.0);
    const double height = std::clamp((area.bottom() - top) / static_cast<double>(layers), 1.5, std::min(40.0, width * 1.5));
    figure.add(textAt({left, area.y + t.smallSize}, ov ? "OV" : "QK", t.heading(), t.ink, AnchorX::Left, AnchorY::Middle));
    for (int64_t l = 0; l < layers; ++l) {
      if (l % labelStep(height, t.smallSize * 1.2) == 0) {
        figure.add(textAt({left - 4, top + (static_cast<double>(l) + 0.5) * height}, std::to_string(l), t.small(), t.inkSecond,
                          AnchorX::Right, AnchorY::Middle));
      }
      for (int64_t h = 0; h < data.heads; ++h) {
        if (l == 0 && h % labelStep(width, t.smallSize * 1.9) == 0) {
          figure.add(textAt({left + (static_cast<double>(h) + 0.5) * width, top - 3}, std::to_string(h), t.small(), t.inkSecond,
                            AnchorX::Center, AnchorY::Bottom));
        }
        const double space = std::min(width, height) > 8 ? 1 : 0;
        const Rect cell{left + static_cast<double>(h) * width, top + static_cast<double>(l) * height, width - space, height - space};
        const double v = circuitOf(data.at(l, h), ov).relative;
        const Pick pick{Pick::Kind::Head, l, h, ov ? 1 : 0, tipOf(data.at(l, h))};
        if (std::isnan(v)) {
          figure.add(HatchItem{cell, t.line}).pick = pick;
        } else {
          figure.add(RectItem{cell, ramp.at(scale.unit(std::min(v, scale.high))), t.line, 0}).pick = pick;
        }
        if (!frame.isPaper && input.selection.ref() == core::HeadRef{l, h})
          figure.addOverlay(RectItem{cell.inset(-1), kTransparent, t.accent, 2});
      }
    }
    if (ov) {
      const double high = std::min(120.0, static_cast<double>(layers) * height);
      addColorBar(figure, {left + static_cast<double>(data.heads) * width + t.gap * 2, top, 10, high}, scale, ramp, t);
    }
  }

  static void addTopHeads(Figure& figure, const ViewInput& input, const LoraData& data, const ViewFrame& frame, const Rect& area) {
    const Theme& t = frame.theme;
    const bool ov = isOv(input.options);
    std::vector<const core::HeadLora*> heads;
    for (const core::LoraLayer& layer : data.layers) {
      for (const core::HeadLora& h : layer.heads) {
        if (circuitOf(h, ov).relative > 0) heads.push_back(&h);
      }
    }
    std::sort(heads.begin(), heads.end(),
              [&](const auto* a, const auto* b) { return circuitOf(*a, ov).relative > circuitOf(*b, ov).relative; });
    const double row = std::max(t.smallSize * 1.5, std::min(t.listRowHeight, (area.height - t.smallSize * 3) / kTopHeads));
    const auto fitting = static_cast<size_t>(std::max(1.0, (area.height - t.smallSize * 3) / row));
    heads.resize(std::min({heads.size(), static_cast<size_t>(kTopHeads), fitting}));
    const std::string parts[] = {ov ? "v" : "q", ov ? "o" : "k", "both"};
    const Color colors[] = {ov ? t.value : t.query, ov ? t.categories[3] : t.key, t.inkSecond};
    double x = area.x;
    const std::string title = ov ? "OV changed most" : "QK changed most";
    figure.add(textAt({x, area.y + t.smallSize * 0.7}, title, t.small(), t.ink, AnchorX::Left, AnchorY::Middle));
    x += frame.measure.width(title, t.small()) + t.gap * 2;
    for (size_t p = 0; p < 3; ++p) {
      figure.add(RectItem{{x, area.y + t.smallSize * 0.3, t.smallSize * 0.8, t.smallSize * 0.8}, colors[p]});
      figure.add(textAt({x + t.smallSize, area.y + t.smallSize * 0.7}, parts[p], t.small(), t.inkSecond, AnchorX::Left, AnchorY::Middle));
      x += t.smallSize * 2 + frame.measure.width(parts[p], t.small());
    }
    double most = 0;
    for (const core::HeadLora* h : heads) {
      const auto& n = circuitOf(*h, ov).termNorms;
      most = std::max(most, n[0] + n[1] + n[2]);
    }
    if (heads.empty()) figure.add(textAt({area.x, area.y + t.smallSize * 3}, "nothing changed", t.small(), t.inkSecond));
    const double left = area.x + t.smallSize * 3.2, room = std::max(4.0, area.right() - left - t.smallSize * 3.6);
    for (size_t i = 0; i < heads.size(); ++i) {
      const core::HeadLora& h = *heads[i];
      const double y = area.y + t.smallSize * 2 + static_cast<double>(i) * row;
      const bool isSelected = input.selection.ref() == core::HeadRef{h.layer, h.head};
      figure.add(textAt({left - t.gap / 2, y + row / 2}, std::to_string(h.layer) + "." + std::to_string(h.head), t.small(),
                        isSelected ? t.accent : t.ink, AnchorX::Right, AnchorY::Middle));
      double at = left;
      for (size_t p = 0; p < 3; ++p) {
        const double width = most > 0 ? room * circuitOf(h, ov).termNorms[p] / most : 0;
        if (width > 0) figure.add(RectItem{{at, y + row * 0.2, width, row * 0.6}, colors[p]});
        at += width;
      }
      figure.add(textAt({at + t.gap / 2, y + row / 2}, shortNumber(circuitOf(h, ov).relative), t.small(), t.inkSecond, AnchorX::Left,
                        AnchorY::Middle));
      figure.content.push_back(pickArea({area.x, y, area.width, row}, {Pick::Kind::Head, h.layer, h.head, -1, tipOf(h)}));
    }
  }

  static void addSpectra(Figure& figure, const ViewInput& input, const LoraData& data, const ViewFrame& frame, const Rect& area) {
    const Theme& t = frame.theme;
    const core::HeadRef head = input.selection.ref();
    if (head.layer < 0 || head.head < 0 || head.layer >= static_cast<int64_t>(data.layers.size()) || head.head >= data.heads) return;
    const bool ov = isOv(input.options);
    const core::LoraCircuit& c = circuitOf(data.at(head.layer, head.head), ov);
    double high = 0;
    for (const core::Spectrum* s : {&c.before, &c.after}) high = s->isFinite ? std::max(high, s->largest()) : high;
    if (!(high > 0)) return;
    const double left = area.x + t.smallSize * 4, top = area.y + t.smallSize * 2.4, bottom = t.smallSize * 3.6;
    const double rank = static_cast<double>(std::max<int64_t>(2, c.before.count()));
    LineChart chart(figure,
                    {left, top, std::max(10.0, area.right() - left - t.smallSize * 4.2), std::max(10.0, area.bottom() - top - bottom)},
                    {1, rank, false, "index"}, {0, high * 1.05, false, std::string(ov ? "W_OV" : "W_QK") + " of " + headName(head)}, t);
    chart.addAxes();
    const auto line = [&](const core::Spectrum& s, Color color, const char* label, double width) {
      std::vector<Point> points;
      for (size_t i = 0; i < s.sigma.size() && static_cast<double>(i) < rank; ++i)
        points.push_back({static_cast<double>(i + 1), s.sigma[i]});
      if (!s.isFinite || points.empty()) return;
      chart.addLine(points, color, width);
      const Point end = chart.at(points.front().x, points.front().y);
      figure.add(textAt({end.x + t.gap, end.y}, label, t.small(), color, AnchorX::Left, AnchorY::Middle));
    };
    line(c.before, t.inkSecond, "before", 1.5);
    line(c.after, t.accent, "after", 1.5);
    line(c.change, t.categories[1], "change", 1);
  }
};

}  // namespace

const View& loraView() {
  static const LoraView view;
  return view;
}

}  // namespace headscope::views
