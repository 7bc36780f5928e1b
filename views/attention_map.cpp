#include "views/attention_map.h"

#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/mechanism_words.h"
#include "views/token_text.h"

namespace headscope::views {
namespace {

constexpr double kSin60 = 0.8660254, kCos60 = 0.5;
constexpr double kFewestTokens = 4;  // deepest zoom
constexpr double kOutlinedCell = 4;  // points; thinner rows and columns are shown by a line
constexpr double kLowPane = 24;      // times the type's size
constexpr double kLargestCell = 56;  // points: a short sentence needs no wall of colour

// Tokens have no round numbers: every second, third or fourth is as good as every fifth.
int64_t tokenStep(double cell, double label) {
  const double step = std::ceil(label / cell - 1e-9);
  return step <= 4 ? static_cast<int64_t>(std::max(1.0, step)) : labelStep(cell, label);
}

struct Layout {
  Rect plot, received, entropy, bar;
  double labelWidth = 0;     // of the longest label at the left
  double topLabelWidth = 0;  // room along the slanted labels
  int64_t labelStep = 1;     // every how many tokens a label
  double cell = 0;           // points a token
};

class Drawing {
 public:
  Drawing(const AttentionMapData& data, const core::ViewOptions& options, const ViewFrame& frame)
      : data_(data),
        options_(options),
        frame_(frame),
        theme_(frame.theme),
        part_(visiblePart(options, data.count)),
        ramp_(data.isSigned ? divergingRamp(frame.theme) : attentionRamp(frame.theme)),
        scale_(data.cache.scale(options, data.values, options.hideFirst && data.firstCol == 0 && data.values.cols() > 1 ? 1 : 0,
                                data.isSigned)),
        mono_{FontFace::Mono, frame.theme.smallSize, FontWeight::Regular} {
    figure_.background = theme_.canvas;
    figure_.title = "Attention map " + headName(data.head) + replacedWords(data.mechanism);
    layOut();
  }

  Figure draw(const core::Selection& selection, const std::optional<CellDetail>& detail) {
    addCells();
    addLabels();
    addReceived();
    addEntropy();
    addColorBar(figure_, layout_.bar, scale_, ramp_, theme_);
    addSinkBadge();
    if (!frame_.isPaper) addCrosshair(selection, detail);
    describe();
    return std::move(figure_);
  }

 private:
  double x(double token) const { return layout_.plot.x + (token - part_.firstCol) * layout_.plot.width / part_.cols; }
  double y(double token) const { return layout_.plot.y + (token - part_.firstRow) * layout_.plot.height / part_.rows; }
  const std::string& label(int64_t token) const { return data_.labels[static_cast<size_t>(token)]; }
  int64_t lastRow() const { return std::min(data_.count, static_cast<int64_t>(std::ceil(part_.firstRow + part_.rows - 1e-9))); }
  int64_t lastCol() const { return std::min(data_.count, static_cast<int64_t>(std::ceil(part_.firstCol + part_.cols - 1e-9))); }

  double widestLabel(double first, int64_t end, int64_t step) const {
    double widest = 0;
    for (int64_t i = firstLabel(first, step); i < end; i += step) widest = std::max(widest, frame_.measure.width(label(i), mono_));
    return widest;
  }
  static int64_t firstLabel(double first, int64_t step) {
    return (static_cast<int64_t>(std::max(0.0, std::floor(first + 1e-9))) + step - 1) / step * step;
  }

  void layOut();
  void addCells();
  void addLabels();
  void addReceived();
  void addEntropy();
  void addSinkBadge();
  void addCrosshair(const core::Selection& selection, const std::optional<CellDetail>& detail);
  void addBoldLabel(int64_t token, bool isRow);
  void describe();

  const AttentionMapData& data_;
  const core::ViewOptions& options_;
  const ViewFrame& frame_;
  const Theme& theme_;
  VisiblePart part_;
  ColorRamp ramp_;
  ValueScale scale_;
  Font mono_;
  Layout layout_;
  Figure figure_;
};

void Drawing::layOut() {
  const double g = theme_.gap, type = theme_.smallSize;
  const bool isLow = frame_.size.height > 0 && frame_.size.height < kLowPane * type;  // the map before its labels
  const double pad = frame_.isPaper ? 1 : isLow ? g : 2 * g;
  const double stripWidth = data_.entropy.empty() ? 0 : 2.6 * type, stripHeight = data_.received.empty() ? 0 : 1.4 * type;
  const double barWidth = 0.7 * type;
  const double right = (stripWidth > 0 ? g + stripWidth : 0) + 2 * g + barWidth + g / 2 + colorBarTextWidth(scale_, theme_, frame_.measure);
  const double above = stripHeight > 0 ? stripHeight + g : g / 2, below = 1.6 * type + g / 2;
  const double width = frame_.size.width, height = frame_.size.height > 0 ? frame_.size.height : 1e9;

  // The labels' room depends on how many are shown, which depends on the room: two rounds settle it.
  double side = std::min(width, height) * 0.6, left = 0, top = 0;
  for (int round = 0; round < 3; ++round) {
    layout_.labelStep = tokenStep(side / part_.rows, type * 1.12);
    const double widest = std::max(widestLabel(part_.firstRow, lastRow(), layout_.labelStep), 2 * type);
    left = std::min(widest, width * 0.26);
    const double topRoom = height < 1e8 ? height * (isLow ? 0.15 : 0.22) : width * 0.22;
    layout_.topLabelWidth = std::min(std::max(widestLabel(part_.firstCol, lastCol(), layout_.labelStep), type), topRoom / kSin60);
    top = layout_.topLabelWidth * kSin60 + type * kCos60;
    side = std::max(8 * g, std::min(width - 2 * pad - left - g - right, height - 2 * pad - top - above - below));
    side = std::min(side, kLargestCell * part_.rows);
  }
  layout_.labelWidth = left;
  layout_.cell = side / part_.rows;
  const double used = left + g + side + right;
  const double x0 = std::max(pad, (width - used) / 2), totalHeight = top + above + side + below;
  const double y0 = height < 1e8 ? std::max(pad, (height - totalHeight) / 2) : pad;
  layout_.plot = {x0 + left + g, y0 + top + above, side, side};
  layout_.received = {layout_.plot.x, layout_.plot.y - g / 2 - stripHeight, side, stripHeight};
  layout_.entropy = {layout_.plot.right() + g, layout_.plot.y, stripWidth, side};
  const double barX = (stripWidth > 0 ? layout_.entropy.right() : layout_.plot.right()) + 2 * g;
  layout_.bar = {barX, layout_.plot.y, barWidth, std::min(side * 0.4, 11 * type)};
  figure_.size = {width, height < 1e8 ? height : totalHeight + 2 * pad};
}

void Drawing::addCells() {
  const double step = static_cast<double>(data_.step());
  const MapPart part{(part_.firstRow - static_cast<double>(data_.firstRow)) / step, part_.rows / step,
                     (part_.firstCol - static_cast<double>(data_.firstCol)) / step, part_.cols / step};
  addMap(figure_, layout_.plot, data_.values, part, scale_, ramp_, data_.cache, theme_, frame_.isPaper);
  figure_.add(RectItem{layout_.plot, kTransparent, theme_.line, 0});
  Item area = pickArea(layout_.plot, {Pick::Kind::Cell});
  area.pickFirstRow = part_.firstRow, area.pickFirstCol = part_.firstCol;
  area.pickRows = part_.rows / step, area.pickCols = part_.cols / step, area.pickStep = step;
  figure_.content.push_back(std::move(area));
}

void Drawing::addLabels() {
  const double g = theme_.gap, rowHeight = layout_.cell;
  const bool hasTicks = layout_.labelStep > 1;
  const Rect& plot = layout_.plot;
  const double topBase = layout_.received.height > 0 ? layout_.received.y - g / 2 : plot.y - g / 2;
  const auto ink = [&](int64_t i) {
    return !data_.isSpecial.empty() && data_.isSpecial[static_cast<size_t>(i)] ? theme_.specialInk : theme_.inkSecond;
  };
  for (int64_t i = firstLabel(part_.firstRow, layout_.labelStep); i < lastRow(); i += layout_.labelStep) {
    const double middle = y(static_cast<double>(i) + 0.5);
    if (middle < plot.y || middle > plot.bottom()) continue;
    if (hasTicks) figure_.add(segment({plot.x - g * 0.375, middle}, {plot.x, middle}, theme_.line));
    figure_.add(textAt({plot.x - g, middle}, elide(label(i), mono_, layout_.labelWidth, frame_.measure), mono_, ink(i), AnchorX::Right,
                       AnchorY::Middle));
    const double slot = std::max(rowHeight, rowHeight * static_cast<double>(layout_.labelStep));
    figure_.content.push_back(pickArea({plot.x - g - layout_.labelWidth, middle - slot / 2, layout_.labelWidth + g, slot},
                                       {Pick::Kind::QueryToken, i, -1, -1, label(i) + "  position " + std::to_string(i)}));
  }
  for (int64_t i = firstLabel(part_.firstCol, layout_.labelStep); i < lastCol(); i += layout_.labelStep) {
    const double middle = x(static_cast<double>(i) + 0.5);
    if (middle < plot.x || middle > plot.right()) continue;
    if (hasTicks && layout_.received.height == 0) figure_.add(segment({middle, plot.y - g * 0.375}, {middle, plot.y}, theme_.line));
    TextItem text =
        textAt({middle + mono_.size_pt * 0.3, topBase}, elide(label(i), mono_, layout_.topLabelWidth, frame_.measure), mono_, ink(i));
    text.angle_deg = -60;
    figure_.add(std::move(text));
  }
}

// Bars of `values` over [first, last), several tokens to a bar where a token is thinner than a point and a half.
struct Bins {
  int64_t first, last, size;
};

Bins binsFor(double first, int64_t last, double cell) {
  const auto size = static_cast<int64_t>(std::max(1.0, std::ceil(1.5 / cell)));
  return {static_cast<int64_t>(first) / size * size, last, size};
}

double binMean(const std::vector<float>& values, int64_t first, int64_t last) {
  double sum = 0;
  for (int64_t i = first; i < last; ++i) sum += values[static_cast<size_t>(i)];
  return sum / static_cast<double>(std::max<int64_t>(1, last - first));
}

void Drawing::addReceived() {
  if (layout_.received.height == 0) return;
  const Rect& strip = layout_.received;
  const Color bar = mix(theme_.inkSecond, theme_.canvas, 0.5);
  const Bins bins = binsFor(part_.firstCol, lastCol(), layout_.cell);
  double top = 0;
  for (int64_t i = std::max<int64_t>(bins.first, options_.hideFirst && data_.count > 1 ? 1 : 0); i < bins.last; ++i) {
    if (std::isfinite(data_.received[static_cast<size_t>(i)]))
      top = std::max(top, static_cast<double>(data_.received[static_cast<size_t>(i)]));
  }
  figure_.add(ClipItem{Rect{strip.x, strip.y, strip.width, strip.height}});
  for (int64_t i = bins.first; i < bins.last && top > 0; i += bins.size) {
    const int64_t end = std::min(bins.last, i + bins.size);
    const double value = binMean(data_.received, i, end), height = std::clamp(value / top, 0.0, 1.0) * strip.height;
    const double x0 = x(static_cast<double>(i)), x1 = x(static_cast<double>(end)), space = x1 - x0 > 3 ? (x1 - x0) * 0.1 : 0;
    if (!std::isfinite(height)) continue;
    figure_.add(RectItem{{x0 + space, strip.bottom() - height, x1 - x0 - 2 * space, height}, bar});
    figure_.content.push_back(pickArea(
        {x0, strip.y, x1 - x0, strip.height},
        {Pick::Kind::KeyToken, i, -1, -1,
         label(i) + "  position " + std::to_string(i) + "\nreceives " + shortNumber(value) + " of " + std::to_string(data_.count)}));
  }
  figure_.add(ClipItem{});
  figure_.add(
      textAt({strip.x - theme_.gap, strip.center().y}, "received", theme_.small(), theme_.inkSecond, AnchorX::Right, AnchorY::Middle));
}

void Drawing::addEntropy() {
  if (layout_.entropy.width == 0) return;
  const Rect& strip = layout_.entropy;
  const Color bar = mix(theme_.inkSecond, theme_.canvas, 0.5);
  const Bins bins = binsFor(part_.firstRow, lastRow(), layout_.cell);
  double top = 0;
  for (int64_t i = bins.first; i < bins.last; ++i) {
    if (std::isfinite(data_.entropy[static_cast<size_t>(i)]))
      top = std::max(top, static_cast<double>(data_.entropy[static_cast<size_t>(i)]));
  }
  figure_.add(ClipItem{strip});
  for (int64_t i = bins.first; i < bins.last && top > 0; i += bins.size) {
    const int64_t end = std::min(bins.last, i + bins.size);
    const double value = binMean(data_.entropy, i, end), width = std::clamp(value / top, 0.0, 1.0) * strip.width;
    const double y0 = y(static_cast<double>(i)), y1 = y(static_cast<double>(end)), space = y1 - y0 > 3 ? (y1 - y0) * 0.1 : 0;
    if (!std::isfinite(width)) continue;
    figure_.add(RectItem{{strip.x, y0 + space, width, y1 - y0 - 2 * space}, bar});
    figure_.content.push_back(pickArea(
        {strip.x, y0, strip.width, y1 - y0},
        {Pick::Kind::QueryToken, i, -1, -1, label(i) + "  position " + std::to_string(i) + "\nentropy " + shortNumber(value) + " bits"}));
  }
  figure_.add(ClipItem{});
  figure_.add(segment({strip.x, strip.y}, {strip.x, strip.bottom()}, theme_.line));
  figure_.add(textAt({strip.x, strip.y - theme_.gap / 2}, "bits", theme_.small(), theme_.inkSecond, AnchorX::Left, AnchorY::Bottom));
  if (top > 0)
    figure_.add(textAt({strip.right(), strip.bottom() + theme_.gap / 2}, shortNumber(top, 2), theme_.small(), theme_.inkSecond,
                       AnchorX::Right, AnchorY::Top));
}

void Drawing::addSinkBadge() {
  const bool isShown = options_.hideFirst && !scale_.isLocked && part_.firstCol < 1 && data_.firstCol == 0 && data_.count > 1;
  if (!isShown || frame_.isPaper) return;
  const Font font = theme_.small();
  const double width = frame_.measure.width("sink", font) + theme_.gap, height = theme_.smallSize * 1.4;
  const Rect box{std::max(layout_.plot.x, x(0.5) - width / 2), layout_.plot.bottom() + theme_.gap / 2, width, height};
  figure_.add(RectItem{box, theme_.specialFill, kTransparent, 0, theme_.radius}).pick = {
      Pick::Kind::Control, -1, -1, -1, "The first token's column is shown but left out of the colour limits"};
  figure_.add(textAt(box.center(), "sink", font, theme_.specialInk, AnchorX::Center, AnchorY::Middle));
}

void Drawing::addBoldLabel(int64_t token, bool isRow) {
  const Font bold{FontFace::Mono, theme_.smallSize, FontWeight::SemiBold};
  const std::string text = elide(label(token), bold, (isRow ? layout_.labelWidth : layout_.topLabelWidth) * 1.1, frame_.measure);
  const double g = theme_.gap, width = frame_.measure.width(text, bold), height = theme_.smallSize * 1.25;
  // A patch of canvas hides the thin label and those neighbours that the bold one would touch.
  const double type = theme_.smallSize;
  const int64_t before = token % layout_.labelStep, after = before == 0 ? 0 : layout_.labelStep - before;
  const auto reach = [&](int64_t tokens, double pitch) {
    const double distance = static_cast<double>(tokens) * pitch;
    return tokens > 0 && distance < type * 1.2 ? distance : 0.0;
  };
  if (isRow) {
    const double middle = y(static_cast<double>(token) + 0.5);
    const double up = height / 2 + reach(before, layout_.cell), down = height / 2 + reach(after, layout_.cell);
    figure_.addOverlay(
        RectItem{{layout_.plot.x - g - layout_.labelWidth, middle - up, layout_.labelWidth + g * 0.75, up + down}, theme_.canvas});
    figure_.addOverlay(textAt({layout_.plot.x - g, middle}, text, bold, theme_.ink, AnchorX::Right, AnchorY::Middle));
    return;
  }
  const double base = layout_.received.height > 0 ? layout_.received.y - g / 2 : layout_.plot.y - g / 2;
  const Point at{x(static_cast<double>(token) + 0.5) + bold.size_pt * 0.3, base};
  const double rise = type * 0.9 + reach(before, layout_.cell * kSin60), drop = type * 0.3 + reach(after, layout_.cell * kSin60);
  const double length = std::max(width, layout_.topLabelWidth) + type;
  const auto corner = [&](double along, double across) {
    return Point{at.x + along * kCos60 - across * kSin60, at.y - along * kSin60 - across * kCos60};
  };
  figure_.addOverlay(PolylineItem{{corner(-type * 0.2, rise), corner(length, rise), corner(length, -drop), corner(-type * 0.2, -drop)},
                                  kTransparent,
                                  theme_.canvas,
                                  0,
                                  true});
  TextItem item = textAt(at, text, bold, theme_.ink);
  item.angle_deg = -60;
  figure_.addOverlay(std::move(item));
}

void Drawing::addCrosshair(const core::Selection& selection, const std::optional<CellDetail>& detail) {
  const int64_t query = detail ? detail->query : selection.query, key = detail ? detail->key : selection.key;
  const double step = static_cast<double>(data_.step());
  const auto start = [&](int64_t token) { return std::floor(static_cast<double>(token) / step) * step; };
  const bool hasRow = query >= 0 && query < data_.count, hasCol = key >= 0 && key < data_.count;
  const Rect& plot = layout_.plot;
  figure_.addOverlay(ClipItem{plot.inset(-1)});
  const double side = layout_.cell * step;
  if (side >= kOutlinedCell) {
    if (hasRow) figure_.addOverlay(RectItem{{plot.x, y(start(query)), plot.width, side}, kTransparent, theme_.accent, 1.25});
    if (hasCol) figure_.addOverlay(RectItem{{x(start(key)), plot.y, side, plot.height}, kTransparent, theme_.accent, 1.25});
  } else {  // two outlines would hide a thin row: one line, open around the cell
    const double row = y(start(query) + step / 2), col = x(start(key) + step / 2), open = hasRow && hasCol ? kOutlinedCell : 0;
    const Color ink = theme_.accent.withAlpha(0.7);
    if (hasRow) figure_.addOverlay(segment({plot.x, row}, {hasCol ? col - open : plot.right(), row}, ink, 1));
    if (hasRow && hasCol) figure_.addOverlay(segment({col + open, row}, {plot.right(), row}, ink, 1));
    if (hasCol) figure_.addOverlay(segment({col, plot.y}, {col, hasRow ? row - open : plot.bottom()}, ink, 1));
    if (hasRow && hasCol) figure_.addOverlay(segment({col, row + open}, {col, plot.bottom()}, ink, 1));
    if (hasRow && hasCol) figure_.addOverlay(RectItem{{col - open, row - open, 2 * open, 2 * open}, kTransparent, theme_.accent, 1});
  }
  figure_.addOverlay(ClipItem{});
  if (hasRow && y(static_cast<double>(query) + 0.5) > plot.y && y(static_cast<double>(query) + 0.5) < plot.bottom())
    addBoldLabel(query, true);
  if (hasCol && x(static_cast<double>(key) + 0.5) > plot.x && x(static_cast<double>(key) + 0.5) < plot.right()) addBoldLabel(key, false);
  if (!detail || !hasRow || !hasCol) return;
  const Rect cell{x(start(key)), y(start(query)), x(start(key) + step) - x(start(key)), y(start(query) + step) - y(start(query))};
  const std::string name = label(query) + " → " + label(key);
  std::string note;
  if (data_.level > 0)
    note = std::string(data_.isSigned ? "largest in size of " : "largest of ") + std::to_string(data_.step()) + " x " +
           std::to_string(data_.step());
  else if (detail->rank > 0)
    note = "rank " + std::to_string(detail->rank) + " of " + std::to_string(detail->visible);
  const std::string value = std::isnan(detail->weight)           ? "masked"
                            : std::abs(detail->weight) >= 0.0005 ? fixedNumber(detail->weight, 3)
                                                                 : shortNumber(detail->weight, 2);
  addTag(figure_, cell, {theme_.gap, theme_.gap, figure_.size.width - 2 * theme_.gap, figure_.size.height - 2 * theme_.gap}, name, value,
         note, theme_, frame_.measure);
}

void Drawing::describe() {
  std::string& caption = figure_.caption;
  caption = "Attention map of layer " + std::to_string(data_.head.layer) + ", head " + std::to_string(data_.head.head);
  if (!data_.modelName.empty()) caption += " of " + data_.modelName;
  caption += replacedWords(data_.mechanism) + ": queries down, keys across";
  if (part_.rows < static_cast<double>(data_.count)) {
    caption += ", queries " + std::to_string(static_cast<int64_t>(part_.firstRow)) + " to " + std::to_string(lastRow() - 1) + ", keys " +
               std::to_string(static_cast<int64_t>(part_.firstCol)) + " to " + std::to_string(lastCol() - 1);
  }
  if (data_.level > 0)
    caption += std::string(", each cell the largest ") + (data_.isSigned ? "in size of " : "of ") + std::to_string(data_.step()) + " x " +
               std::to_string(data_.step()) + " weights";
  caption += ". Colour: " + scaleName(scale_.kind) + ", " + shortNumber(scale_.lowest()) + " to " + shortNumber(scale_.high) +
             (data_.isSigned ? ", blue negative, orange positive" : "");
  if (scale_.isLocked)
    caption += " (locked)";
  else if (options_.hideFirst)
    caption += ", the first token's column left out of the limits";
  caption += ".";
  if (!data_.entropy.empty()) caption += " Right: entropy of each row in bits.";
  if (!data_.received.empty()) caption += " Top: mass that each key receives, summed over queries.";
  if (!data_.notes.empty()) caption += " Note: " + joined(data_.notes) + ".";
}

}  // namespace

VisiblePart visiblePart(const core::ViewOptions& options, int64_t count) {
  const double n = static_cast<double>(std::max<int64_t>(count, 1));
  const auto clampSize = [n](double size) { return std::isfinite(size) && size > 0 ? std::clamp(size, std::min(n, kFewestTokens), n) : n; };
  VisiblePart part;
  part.rows = part.cols = clampSize(options.rows);  // cells are square and so is the plot
  const auto clampFirst = [&](double first) { return std::isfinite(first) ? std::clamp(first, 0.0, n - part.rows) : 0.0; };
  part.firstRow = clampFirst(options.firstRow), part.firstCol = clampFirst(options.firstCol);
  return part;
}

bool followInMap(const core::Selection& selection, int64_t count, core::ViewOptions& options) {
  const VisiblePart part = visiblePart(options, count);
  if (part.rows >= static_cast<double>(count)) return false;
  // What is outside comes to the middle; what is inside stays where it is.
  const auto moved = [count](int64_t token, double first, double size) {
    const double at = static_cast<double>(token);
    return token < 0 || token >= count || (at >= first && at + 1 <= first + size) ? first : at + 0.5 - size / 2;
  };
  options.firstRow = moved(selection.query, part.firstRow, part.rows);
  options.firstCol = moved(selection.key, part.firstCol, part.cols);
  const VisiblePart kept = visiblePart(options, count);
  options.firstRow = kept.firstRow, options.firstCol = kept.firstCol;
  return kept.firstRow != part.firstRow || kept.firstCol != part.firstCol;
}

bool zoomMap(const View::Gesture& gesture, int64_t count, core::ViewOptions& options) {
  using Kind = View::Gesture::Kind;
  const VisiblePart part = visiblePart(options, count);
  const Rect& plot = gesture.pick.bounds;
  if (gesture.pick.kind != Pick::Kind::Cell || plot.width <= 0 || plot.height <= 0) return false;
  VisiblePart next = part;
  if (gesture.kind == Kind::DoubleClick) {
    options.firstRow = options.rows = options.firstCol = options.cols = 0;
    return true;
  }
  if (gesture.kind == Kind::Wheel) {
    const double fx = (gesture.at.x - plot.x) / plot.width, fy = (gesture.at.y - plot.y) / plot.height;
    const double n = static_cast<double>(count);
    next.rows = next.cols = std::clamp(part.rows * std::pow(1.2, -gesture.delta.y), std::min(n, kFewestTokens), n);
    next.firstRow = part.firstRow + fy * (part.rows - next.rows);
    next.firstCol = part.firstCol + fx * (part.cols - next.cols);
  } else if (gesture.kind == Kind::Drag && (gesture.isPan || part.rows < static_cast<double>(count))) {
    next.firstRow -= gesture.delta.y * part.rows / plot.height;
    next.firstCol -= gesture.delta.x * part.cols / plot.width;
  } else {
    return false;
  }
  const bool isWhole = next.rows >= static_cast<double>(count);
  options.firstRow = next.firstRow, options.firstCol = next.firstCol;
  options.rows = options.cols = isWhole ? 0 : next.rows;
  const VisiblePart kept = visiblePart(options, count);
  options.firstRow = kept.firstRow, options.firstCol = kept.firstCol;
  return true;
}

Figure drawAttentionMap(const AttentionMapData& data, const core::ViewOptions& options, const core::Selection& selection,
                        const std::optional<CellDetail>& detail, const ViewFrame& frame) {
  return Drawing(data, options, frame).draw(selection, detail);
}

}  // namespace headscope::views
