#include "views/token_flow.h"

#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/mechanism_words.h"
#include "views/token_text.h"

namespace headscope::views {
namespace {

constexpr double kSmallestRow = 14;             // points on screen
constexpr double kTop = 40, kControlLine = 22;  // points on screen: above the tokens, and where the threshold stands
constexpr int64_t kPaperColumns = 72;           // more tokens than this make the columns too long for a page

double rowHeightFor(int64_t count, const ViewFrame& frame) {
  if (frame.isPaper) return frame.theme.monoSize * 1.3;
  const double room = frame.size.height - 48 - frame.theme.gap;
  return std::clamp(room / static_cast<double>(std::max<int64_t>(count, 1)), kSmallestRow, 24.0);
}

class FlowDrawing {
 public:
  FlowDrawing(const TokenFlowData& data, const core::ViewOptions& options, const core::Selection& selection, const ViewFrame& frame)
      : data_(data),
        options_(options),
        selection_(selection),
        frame_(frame),
        theme_(frame.theme),
        mono_{FontFace::Mono, std::min(frame.theme.monoSize, rowHeightFor(data.count, frame) * 0.8), FontWeight::Regular} {
    figure_.background = theme_.canvas;
    figure_.title = "Token flow";
    for (const core::HeadRef& head : data.heads) figure_.title += " " + headName(head);
    row_ = rowHeightFor(data.count, frame);
    top_ = frame.isPaper ? (data.heads.size() > 1 ? 2 * theme_.textSize : 2) : kTop + (data.heads.size() > 1 ? 18 : 0);
    const double widest = widestLabel(), pad = frame.isPaper ? 1 : 2 * theme_.gap;
    labelWidth_ = std::min(widest, frame.size.width * 0.3);
    const double between = std::min(frame.size.width - 2 * (pad + labelWidth_ + theme_.gap), 30 * theme_.monoSize);
    const double used = 2 * (labelWidth_ + theme_.gap) + between;
    left_ = (frame.size.width - used) / 2 + labelWidth_ + theme_.gap;
    right_ = left_ + std::max(between, 10.0);
    const double height = frame.size.height > 0 ? frame.size.height : top_ + row_ * static_cast<double>(data.count) + pad;
    figure_.size = {frame.size.width, height};
    shown_ = std::clamp<int64_t>(static_cast<int64_t>((height - top_ - (frame.isPaper ? 0 : theme_.gap)) / row_), 1,
                                 std::max<int64_t>(1, data.count));
    first_ = std::clamp<int64_t>(std::isfinite(options.firstRow) ? static_cast<int64_t>(std::clamp(options.firstRow, 0.0, 1e9)) : 0, 0,
                                 std::max<int64_t>(0, data.count - shown_));
    hoverQuery_ = frame.isPaper ? -1 : frame.hover.query;
    hoverKey_ = frame.isPaper || hoverQuery_ >= 0 ? -1 : frame.hover.key;
  }

  Figure draw() {
    addLines();
    addTokens();
    addLegend();
    if (!frame_.isPaper) addThreshold();
    describe();
    return std::move(figure_);
  }

 private:
  double y(int64_t token) const { return top_ + (static_cast<double>(token - first_) + 0.5) * row_; }
  bool isHovering() const { return hoverQuery_ >= 0 || hoverKey_ >= 0; }
  bool isLit(const FlowEdge& e) const { return hoverQuery_ >= 0 ? e.query == hoverQuery_ : hoverKey_ < 0 || e.key == hoverKey_; }
  bool isVisible(int64_t token) const { return token >= first_ && token < first_ + shown_; }

  double widestLabel() const {
    double widest = 2 * theme_.monoSize;
    for (const std::string& label : data_.labels) widest = std::max(widest, frame_.measure.width(label, mono_));
    return widest;
  }

  // By head; one head's signed weights by their sign, as on a map.
  Color colorOf(const FlowEdge& e) const {
    if (data_.heads.size() == 1 && data_.hasSigned()) return divergingRamp(theme_).at(e.isNegative ? 0.1 : 0.9);
    return theme_.categories[static_cast<size_t>(e.head) % theme_.categories.size()];
  }

  void addLines() {
    figure_.add(ClipItem{Rect{0, top_, figure_.size.width, row_ * static_cast<double>(shown_)}});
    const double middle = (left_ + right_) / 2, widest = std::min(row_ * 0.28, 3.5);
    for (const bool lit : {false, true}) {  // what is lit lies on top
      for (const FlowEdge& e : data_.edges) {
        if (e.weight < options_.threshold || isLit(e) != lit || (!isVisible(e.query) && !isVisible(e.key))) continue;
        // Lines to a resting first token would hide all others: thin and grey, as its column is left out of a map's limits.
        const bool isRest = options_.hideFirst && e.key == 0 && data_.count > 1 && !(lit && isHovering());
        const Color color = isRest ? theme_.inkSecond : colorOf(e);
        const double strength =
            !lit     ? 0.05
            : isRest ? 0.10 + 0.12 * e.weight
                     : (isHovering() ? 0.35 : 0.18) + (isHovering() ? 0.55 : 0.67) * std::sqrt(static_cast<double>(e.weight));
        figure_.add(CurveItem{{left_, y(e.query)},
                              {middle, y(e.query)},
                              {middle, y(e.key)},
                              {right_, y(e.key)},
                              color.withAlpha(strength),
                              std::max(frame_.isPaper ? 0.2 : 0.6, widest * e.weight * (isRest ? 0.3 : 1.0))});
        ++drawn_;
      }
    }
    figure_.add(ClipItem{});
  }

  // How much the hovered token gives to (or gets from) token i, summed over the shown heads; negative when nothing is hovered.
  double share(int64_t i, bool isKeySide) const {
    if (!isHovering() || (hoverQuery_ >= 0) != isKeySide) return -1;
    double sum = 0;
    for (const FlowEdge& e : data_.edges) {
      if (isLit(e) && (isKeySide ? e.key : e.query) == i) sum += e.weight;
    }
    return sum / static_cast<double>(data_.heads.size());
  }

  void addTokens() {
    for (int64_t i = first_; i < first_ + shown_; ++i) {
      const std::string label = elide(data_.labels[static_cast<size_t>(i)], mono_, labelWidth_, frame_.measure);
      const bool isSpecial = !data_.isSpecial.empty() && data_.isSpecial[static_cast<size_t>(i)];
      for (const bool isKeySide : {false, true}) {
        const double x = isKeySide ? right_ + theme_.gap : left_ - theme_.gap;
        const double part = share(i, isKeySide);
        const bool isOwn = isKeySide ? i == hoverKey_ : i == hoverQuery_;
        const bool isFaded = isHovering() && !isOwn && part < options_.threshold;
        Color ink = isSpecial ? theme_.specialInk : isOwn || part >= options_.threshold ? theme_.ink : theme_.inkSecond;
        if (isFaded) ink = mix(ink, theme_.canvas, 0.55);
        Font font = mono_;
        if (isOwn || (!frame_.isPaper && !isKeySide && i == selection_.query)) font.weight = FontWeight::SemiBold;
        figure_.add(textAt({x, y(i)}, label, font, ink, isKeySide ? AnchorX::Left : AnchorX::Right, AnchorY::Middle));
        const Rect area{isKeySide ? right_ : left_ - theme_.gap - labelWidth_, y(i) - row_ / 2, labelWidth_ + theme_.gap, row_};
        figure_.content.push_back(pickArea(area, {isKeySide ? Pick::Kind::KeyToken : Pick::Kind::QueryToken, i, -1, -1,
                                                  data_.labels[static_cast<size_t>(i)] + "  position " + std::to_string(i)}));
        if (part < options_.threshold) continue;
        const double textWidth = frame_.measure.width(label, mono_) + theme_.gap;
        figure_.addOverlay(textAt({isKeySide ? x + textWidth : x - textWidth, y(i)}, fixedNumber(part, 2),
                                  {FontFace::Mono, mono_.size_pt * 0.9}, theme_.accent, isKeySide ? AnchorX::Left : AnchorX::Right,
                                  AnchorY::Middle));
      }
    }
  }

  void addLegend() {
    const double line = frame_.isPaper ? theme_.textSize : kControlLine + 20;
    const Font font = theme_.small();
    if (!frame_.isPaper) {
      figure_.add(textAt({left_ - theme_.gap, kControlLine}, "query", font, theme_.inkSecond, AnchorX::Right, AnchorY::Middle));
      figure_.add(textAt({right_ + theme_.gap, kControlLine}, "key", font, theme_.inkSecond, AnchorX::Left, AnchorY::Middle));
    }
    if (data_.heads.size() < 2) return;
    double width = -2 * theme_.gap;
    for (const core::HeadRef& head : data_.heads)
      width += frame_.measure.width(headName(head), font) + 1.4 * theme_.smallSize + 2 * theme_.gap;
    double x = (left_ + right_ - width) / 2;
    for (size_t i = 0; i < data_.heads.size(); ++i) {
      const std::string name = headName(data_.heads[i]);
      figure_.add(
          segment({x, line}, {x + theme_.smallSize, line}, theme_.categories[i % theme_.categories.size()], frame_.isPaper ? 1.2 : 2.5));
      figure_.add(textAt({x + 1.4 * theme_.smallSize, line}, name, font, theme_.ink, AnchorX::Left, AnchorY::Middle));
      x += frame_.measure.width(name, font) + 1.4 * theme_.smallSize + 2 * theme_.gap;
    }
  }

  // A small slider between the columns: weights under it are not drawn. Position is the square root, where most weights lie.
  void addThreshold() {
    const std::string text = "over " + shortNumber(options_.threshold, 2);
    const double width = 72, line = kControlLine, textWidth = frame_.measure.width(text, theme_.small());
    const bool hasRoom = right_ - left_ >= width + textWidth + 6 * theme_.gap;  // in a narrow pane only the tip says the value
    const double x = (left_ + right_) / 2 - width / 2 + (hasRoom ? 3 * theme_.gap : 0);
    const double at = x + width * std::sqrt(std::clamp(options_.threshold, 0.0, 1.0));
    figure_.add(segment({x, line}, {x + width, line}, theme_.line, 2));
    figure_.add(segment({at, line}, {x + width, line}, mix(theme_.accent, theme_.canvas, 0.4), 2));
    figure_.add(RectItem{{at - 4, line - 4, 8, 8}, theme_.accent, kTransparent, 0, 4});
    if (hasRoom) figure_.add(textAt({x - theme_.gap, line}, text, theme_.small(), theme_.inkSecond, AnchorX::Right, AnchorY::Middle));
    figure_.content.push_back(
        pickArea({x, line - 10, width, 20},
                 {Pick::Kind::Control, 0, -1, -1, "Smallest weight drawn: " + shortNumber(options_.threshold, 2) + ", drag to change"}));
  }

  void describe() {
    figure_.caption = "Attention of head";
    if (data_.heads.size() > 1) figure_.caption += "s";
    for (size_t i = 0; i < data_.heads.size(); ++i) figure_.caption += (i ? ", " : " ") + headName(data_.heads[i]);
    if (!data_.modelName.empty()) figure_.caption += " of " + data_.modelName;
    figure_.caption += data_.replaced();
    figure_.caption += ": lines from each query (left) to its keys (right), width and opacity by weight, weights of at least " +
                       shortNumber(std::max<double>(options_.threshold, kSmallestFlow)) + ", " + std::to_string(drawn_) + " lines";
    if (data_.dropped > 0) figure_.caption += ", the " + std::to_string(data_.dropped) + " smallest left out";
    if (data_.hasSigned())
      figure_.caption += std::string(", of signed maps over the head's largest in size") +
                         (data_.heads.size() == 1 ? ", blue negative, orange positive" : "");
    if (options_.hideFirst) figure_.caption += ", lines to the first token in grey";
    figure_.caption += ".";
  }

  const TokenFlowData& data_;
  const core::ViewOptions& options_;
  const core::Selection& selection_;
  const ViewFrame& frame_;
  const Theme& theme_;
  Font mono_;
  double row_ = 0, top_ = 0, left_ = 0, right_ = 0, labelWidth_ = 0;
  int64_t first_ = 0, shown_ = 0, hoverQuery_ = -1, hoverKey_ = -1, drawn_ = 0;
  Figure figure_;
};

}  // namespace

std::string TokenFlowData::replaced() const {
  std::vector<std::string> words;
  for (size_t h = 0; h < mechanisms.size(); ++h) {
    if (mechanisms[h].empty()) continue;
    const std::string word =
        (mechanisms.size() > 1 ? headName(heads[h]) + " " : std::string()) + "under " + mechanisms[h] + whatIf(mechanisms[h]);
    words.push_back(word);
  }
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? " " : ", ") + word;
  return text;
}

bool isFlowInColumns(const core::ViewOptions& options, int64_t count, const ViewFrame& frame) {
  if (count > kMostFlowTokens) return false;
  if (const auto form = options.words.find("form"); form != options.words.end() && !form->second.empty()) return form->second == "columns";
  if (frame.isPaper) return count <= kPaperColumns;
  return static_cast<double>(count) * kSmallestRow <= frame.size.height - 48;
}

Figure drawTokenFlow(const TokenFlowData& data, const core::ViewOptions& options, const core::Selection& selection,
                     const ViewFrame& frame) {
  return FlowDrawing(data, options, selection, frame).draw();
}

Figure drawInlineFlow(const TokenFlowData& data, const InlineRow& row, const core::ViewOptions& options, const core::Selection& selection,
                      const ViewFrame& frame) {
  const Theme& t = frame.theme;
  Figure figure;
  figure.background = t.canvas;
  const std::string head = data.heads.empty() ? "" : headName(data.heads.front());
  figure.title = "Token flow " + head;
  const Font mono = t.mono();
  const double pad = frame.isPaper ? 1 : 2 * t.gap, line = mono.size_pt * (frame.isPaper ? 1.55 : 1.8), inset = mono.size_pt * 0.12;
  const double width = frame.size.width - pad, bottom = frame.size.height > 0 ? frame.size.height - pad : 1e9;
  const ColorRamp ramp = row.isSigned ? divergingRamp(t) : attentionRamp(t);
  ValueScale scale{options.scale, 0, 0, options.limits.has_value(), row.isSigned};
  if (options.limits) scale.low = options.limits->first, scale.high = options.limits->second;
  for (size_t j = options.hideFirst && row.weights.size() > 1 ? 1 : 0; !scale.isLocked && j < row.weights.size(); ++j) {
    if (std::isfinite(row.weights[j])) scale.high = std::max(scale.high, std::abs(static_cast<double>(row.weights[j])));
  }
  if (row.isSigned) scale.low = 0;
  if (!(scale.high > scale.low)) scale.high = scale.low + 1;

  double x = pad, y = pad;
  if (!frame.isPaper && row.query >= 0) {
    figure.add(textAt({x, y + line / 2},
                      "what " + data.labels[static_cast<size_t>(row.query)] + " (position " + std::to_string(row.query) + ") looks at",
                      t.small(), t.inkSecond, AnchorX::Left, AnchorY::Middle));
    y += line * 1.3;
  }
  const int64_t first =
      std::clamp<int64_t>(std::isfinite(options.firstRow) ? static_cast<int64_t>(std::clamp(options.firstRow, 0.0, 1e12)) : 0, 0,
                          std::max<int64_t>(0, data.count - 1));
  for (int64_t i = first; i < data.count; ++i) {
    const std::string label = elide(data.labels[static_cast<size_t>(i)], mono, width - pad, frame.measure);
    const double w = frame.measure.width(label, mono);
    if (x + w > width && x > pad) x = pad, y += line;
    if (y + line > bottom) break;
    const Rect box{x - inset, y + line * 0.07, w + 2 * inset, line * 0.86};
    const float weight = static_cast<size_t>(i) < row.weights.size() ? row.weights[static_cast<size_t>(i)] : std::nanf("");
    const Color fill = ramp.at(std::isnan(weight) ? scale.unit(0) : scale.unit(weight));
    if (fill != t.canvas) figure.add(RectItem{box, fill, kTransparent, 0, t.radius / 2});
    const bool isLater = std::isnan(weight);
    const Color ink = isLater ? mix(t.inkSecond, t.canvas, 0.25) : inkOn(fill, t);
    figure.add(textAt({x, y + line / 2}, label, mono, ink, AnchorX::Left, AnchorY::Middle));
    if (i == row.query) figure.add(RectItem{{box.x, box.bottom(), box.width, mono.size_pt * 0.12}, t.accent});
    figure.content.push_back(
        pickArea(box, {Pick::Kind::QueryToken, i, -1, -1,
                       label + "  position " + std::to_string(i) + (isLater ? "" : "\nweight " + shortNumber(weight))}));
    x += w + 2 * inset;
  }
  figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : y + line + pad};
  figure.caption = "What " +
                   (row.query >= 0 ? data.labels[static_cast<size_t>(row.query)] + " (position " + std::to_string(row.query) + ")"
                                   : std::string("a token")) +
                   " attends to in head " + head + (data.modelName.empty() ? "" : " of " + data.modelName) + data.replaced() +
                   ". Colour: " + scaleName(scale.kind) + ", " + shortNumber(scale.lowest()) + " to " + shortNumber(scale.high) + ".";
  (void)selection;
  return figure;
}

}  // namespace headscope::views
