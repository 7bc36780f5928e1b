#include "views/neuron.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/attention/head_name.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/mechanism_words.h"
#include "views/token_text.h"

namespace headscope::views {
namespace {

enum Column : int64_t { kQuery, kKey, kProduct, kScore, kSoftmax, kShare, kColumns };
constexpr const char* kTitles[kColumns] = {"q", "k", "q × k", "score", "softmax", "share"};
constexpr size_t kPaperRows = 24;
constexpr double kFewRows = 4;

// Fixed decimals, and no minus before a zero.
std::string signedNumber(double v, int decimals) { return fixedNumber(std::abs(v) < 0.5 * std::pow(10.0, -decimals) ? 0.0 : v, decimals); }

// 1/scale as people write it: "√32" where its square is whole.
std::string divisor(double scale) {
  const double square = 1 / (scale * scale);
  return std::abs(square - std::round(square)) < 1e-3 * square && square < 1e6 ? "√" + shortNumber(std::round(square), 6)
                                                                               : shortNumber(1 / scale, 4);
}

class NeuronDrawing {
 public:
  NeuronDrawing(const NeuronData& data, const core::Selection& selection, const ViewFrame& frame)
      : data_(data),
        frame_(frame),
        theme_(frame.theme),
        mono_{FontFace::Mono, frame.theme.smallSize, FontWeight::Regular},
        ramp_(divergingRamp(frame.theme)) {
    figure_.background = theme_.canvas;
    figure_.title = "Neuron detail " + headName(data.head);
    lit_ = frame.isPaper ? -1 : frame.under.kind == Pick::Kind::Value ? frame.under.a : -1;
    hoverKey_ = frame.isPaper ? -1 : frame.under.kind == Pick::Kind::Value ? frame.under.b : frame.hover.key;
    layOut(selection);
  }

  Figure draw() {
    addFormula();
    addTitles();
    if (!rows_.empty()) {
      addVectors();
      for (size_t i = 0; i < rows_.size(); ++i) addRow(i);
    }
    addRest();
    if (!frame_.isPaper) addValueTag();
    describe();
    return std::move(figure_);
  }

 private:
  double y(size_t row) const { return top_ + static_cast<double>(row) * row_; }
  const NeuronKey& key(size_t row) const { return data_.keys[rows_[row]]; }
  Rect column(Column c, double rowTop, double height) const { return {x_[c], rowTop, width_[c], height}; }

  void layOut(const core::Selection& selection) {
    const double pad = frame_.isPaper ? 1 : 2 * theme_.gap, type = theme_.smallSize;
    row_ = frame_.isPaper ? type * 1.5 : std::max(20.0, std::round(type * 1.4));
    formula_ = pad + type;
    bars_ = formula_ + 2.2 * type;                  // top of the query's bars
    top_ = bars_ + 3.2 * type + theme_.gap * 0.75;  // first row
    const double bottom = 1.8 * type + pad;
    // Where few rows would be left the query's bars give way: its entries are the column below as well.
    hasBars_ = frame_.size.height <= 0 || frame_.size.height - top_ - bottom >= kFewRows * row_;
    if (!hasBars_) top_ = bars_ + theme_.gap * 0.5;
    const size_t fit =
        frame_.size.height > 0 ? static_cast<size_t>(std::max(1.0, (frame_.size.height - top_ - bottom) / row_)) : kPaperRows;
    rows_ = shownKeys(data_.keys, fit, hoverKey_ >= 0 ? hoverKey_ : selection.key);
    const double height = frame_.size.height > 0 ? frame_.size.height : top_ + row_ * static_cast<double>(rows_.size()) + bottom;
    figure_.size = {frame_.size.width, height};

    for (const size_t row : rows_) labelWidth_ = std::max(labelWidth_, frame_.measure.width(label(data_.keys[row].key), mono_));
    labelWidth_ = std::min(labelWidth_, frame_.size.width * 0.18);
    const double number = frame_.measure.width("-0.000", mono_), gap = theme_.gap * (frame_.size.width > 40 * type ? 1.5 : 1);
    // Bars beside the numbers give way first, then the vectors.
    const double fixed = 2 * pad + labelWidth_ + theme_.gap + 5 * gap + 3 * number;
    double bar = std::clamp((frame_.size.width - fixed - 3 * 6 * type) / 3 - theme_.gap, 0.0, 3.5 * type);
    if (bar < type) bar = 0;
    const double numeric = number + (bar > 0 ? theme_.gap + bar : 0);
    const double vector = std::clamp((frame_.size.width - fixed - 3 * (numeric - number)) / 3, 2 * type, 26 * type);
    const double used = fixed - 2 * pad + 3 * vector + 3 * (numeric - number);
    double x = std::max(pad, (frame_.size.width - used) / 2) + labelWidth_ + theme_.gap;
    for (int c = 0; c < kColumns; ++c) {
      x_[c] = x, width_[c] = c < kScore ? vector : numeric;
      x += width_[c] + gap;
    }
    numberWidth_ = number;
  }

  bool hasShares() const { return data_.keys.empty() || !std::isnan(data_.keys.front().share); }
  const std::string& label(int64_t token) const { return data_.labels[static_cast<size_t>(token)]; }

  void addFormula() {
    // The parts of the sum light up with the column under the mouse.
    const std::string scaleText = "/ " + divisor(data_.scale);
    std::pair<std::string, int> parts[] = {
        {data_.mechanism.empty() ? "score" : "own score", kScore},
        {" = ", -2},
        {"q", kQuery},
        {" · ", kProduct},
        {"k", kKey},
        {" " + scaleText, kScore},
        {data_.softcap > 0 ? " (soft cap " + shortNumber(data_.softcap) + ")" : "", kScore},
        {"     a", kSoftmax},
        {data_.mechanism.empty() ? " = softmax(score)" : " by " + shortMechanism(data_.mechanism), kSoftmax},
        {"     output", kShare},
        {" = Σ a v", kShare}};
    double width = 0;
    const Font font{FontFace::Mono, theme_.smallSize, FontWeight::Regular};
    for (const auto& [text, part] : parts) width += frame_.measure.width(text, font);
    if (width > figure_.size.width - 2 * theme_.gap) {  // no room for the wide gaps between the three formulas
      for (auto& [text, part] : parts) {
        if (!text.starts_with("     ")) continue;
        width -= frame_.measure.width("   ", font);
        text.erase(0, 3);
      }
    }
    const double room = figure_.size.width - 2 * (frame_.isPaper ? 1 : theme_.gap);
    for (size_t end = std::size(parts); end > std::size(parts) - 4 && width > room; end -= 2) {  // the last formulas go, both sides of them
      for (size_t i = end - 2; i < end; ++i) {
        width -= frame_.measure.width(parts[i].first, font);
        parts[i].first.clear();
      }
    }
    double x = std::max(frame_.isPaper ? 1 : theme_.gap, std::min(x_[0], x_[kShare] + width_[kShare] - width));
    for (const auto& [text, part] : parts) {
      if (text.empty()) continue;
      const bool isLit = lit_ >= 0 && (part == lit_ || (lit_ == kProduct && (part == kQuery || part == kKey)));
      figure_.add(textAt({x, formula_}, text, font, isLit ? theme_.accent : theme_.inkSecond, AnchorX::Left, AnchorY::Middle));
      x += frame_.measure.width(text, font);
    }
  }

  void addTitles() {
    for (int c = 0; c < kColumns; ++c) {
      const Color ink = c == kQuery ? theme_.query : c == kKey ? theme_.key : c == kShare ? theme_.value : theme_.inkSecond;
      const double base = c == kQuery && hasBars_ ? bars_ - theme_.gap * 0.25 : top_ - theme_.gap * 0.75;
      std::string title = kTitles[c];
      if (c == kSoftmax && !data_.mechanism.empty()) title = "weight";
      if (c == kShare && !hasShares()) continue;
      if (c == kQuery) title += " of " + label(data_.query);
      const Font font{FontFace::Sans, theme_.smallSize, c == lit_ ? FontWeight::SemiBold : FontWeight::Regular};
      const bool isNumber = c >= kScore;
      figure_.add(
          textAt({isNumber ? x_[c] + numberWidth_ : x_[c], base},
                 elide(title, font, c == kQuery && hasBars_ ? width_[kQuery] + width_[kKey] : width_[c] + theme_.gap, frame_.measure), font,
                 ink, isNumber ? AnchorX::Right : AnchorX::Left, AnchorY::Bottom));
    }
  }

  // Signed bars of q over its column; below, q repeated as one tall picture, since it is the same for every key.
  void addVectors() {
    const core::ConstMatrixView q = data_.queryVector;
    const double top = largestEntry(q), height = 3.2 * theme_.smallSize, middle = bars_ + height / 2,
                 each = width_[kQuery] / static_cast<double>(q.cols);
    if (hasBars_) figure_.add(segment({x_[kQuery], middle}, {x_[kQuery] + width_[kQuery], middle}, theme_.line));
    for (int64_t i = 0; i < q.cols && hasBars_; ++i) {
      const double h = q(0, i) / top * height / 2;
      if (!std::isfinite(h)) continue;
      figure_.add(
          RectItem{{x_[kQuery] + each * static_cast<double>(i), std::min(middle, middle - h), each * 0.8, std::abs(h)}, theme_.query});
    }
    const double all = row_ * static_cast<double>(rows_.size());
    const double space = row_ * 0.12;
    figure_.add(
        ImageItem{column(kQuery, top_ + space / 2, all - space), mapImage(q, ValueScale{core::ColorScale::Linear, -top, top}, ramp_)});
    keyTop_ = data_.keyTop > 0 ? data_.keyTop : largestEntry(data_.keyVectors);
    productTop_ = 0;
    for (const size_t row : rows_) productTop_ = std::max(productTop_, largestEntry(product(row)));
    scoreTop_ = 1e-12;
    for (const size_t row : rows_) scoreTop_ = std::max(scoreTop_, std::abs(data_.keys[row].score));
  }

  core::Matrix product(size_t index) const {
    core::Matrix out(1, data_.queryVector.cols());
    for (int64_t i = 0; i < out.cols(); ++i) out(0, i) = data_.queryVector(0, i) * data_.keyVectors(static_cast<int64_t>(index), i);
    return out;
  }

  void addRow(size_t i) {
    const NeuronKey& k = key(i);
    const auto index = static_cast<int64_t>(rows_[i]);
    const double space = row_ * 0.12, middle = y(i) + row_ / 2;
    const bool isHovered = k.key == hoverKey_;
    if (isHovered)
      figure_.addOverlay(
          RectItem{{x_[0] - labelWidth_ - 2 * theme_.gap, y(i), x_[kShare] + width_[kShare] - x_[0] + labelWidth_ + 3 * theme_.gap, row_},
                   kTransparent,
                   theme_.accent,
                   1,
                   theme_.radius / 2});
    Font font = mono_;
    if (isHovered) font.weight = FontWeight::SemiBold;
    figure_.add(textAt({x_[0] - theme_.gap, middle}, elide(label(k.key), font, labelWidth_, frame_.measure), font,
                       isHovered ? theme_.ink : theme_.inkSecond, AnchorX::Right, AnchorY::Middle));
    figure_.content.push_back(pickArea({x_[0] - theme_.gap - labelWidth_, y(i), labelWidth_ + theme_.gap, row_},
                                       {Pick::Kind::KeyToken, k.key, -1, -1, label(k.key) + "  position " + std::to_string(k.key)}));
    const core::ConstMatrixView keyRow = data_.keyVectors.view().rowsFrom(index, 1);
    figure_.add(ImageItem{column(kKey, y(i) + space / 2, row_ - space),
                          mapImage(keyRow, ValueScale{core::ColorScale::Linear, -keyTop_, keyTop_}, ramp_)});
    figure_.add(ImageItem{column(kProduct, y(i) + space / 2, row_ - space),
                          mapImage(product(rows_[i]), ValueScale{core::ColorScale::Linear, -productTop_, productTop_}, ramp_)});
    for (const Column c : {kQuery, kKey, kProduct}) {
      Item area = pickArea(column(c, y(i), row_), {Pick::Kind::Value, c, k.key});
      area.pickCols = static_cast<double>(data_.queryVector.cols());
      figure_.content.push_back(std::move(area));
    }
    addNumber(kScore, i, k.score, k.score / scoreTop_, mix(theme_.inkSecond, theme_.canvas, k.score < 0 ? 0.75 : 0.5),
              "score " + shortNumber(k.score, 5));
    addNumber(kSoftmax, i, k.weight, k.weight, theme_.accent, "weight " + shortNumber(k.weight, 5));
    if (std::isnan(k.share)) return;
    addNumber(kShare, i, k.share, k.share, k.share < 0 ? theme_.warning : theme_.value, "share of the output " + shortNumber(k.share, 5));
  }

  void addNumber(Column c, size_t i, double value, double fraction, Color color, const std::string& tip) {
    const double middle = y(i) + row_ / 2, bar = std::max(0.0, width_[c] - numberWidth_ - theme_.gap), thick = row_ * 0.34;
    figure_.add(textAt({x_[c] + numberWidth_, middle}, signedNumber(value, c == kScore ? 2 : 3), mono_, theme_.ink, AnchorX::Right,
                       AnchorY::Middle));
    const double length = std::isfinite(fraction) ? std::clamp(std::abs(fraction), 0.0, 1.0) * bar : 0;
    if (length > 0.1)
      figure_.add(RectItem{{x_[c] + numberWidth_ + theme_.gap, middle - thick / 2, length, thick},
                           color,
                           kTransparent,
                           0,
                           std::min({thick / 2, length / 2, theme_.radius / 2})});
    figure_.content.push_back(pickArea(column(c, y(i), row_), {Pick::Kind::Value, c, key(i).key, -1, label(key(i).key) + "  " + tip}));
  }

  // What is not shown, in numbers, so that nothing is hidden silently.
  void addRest() {
    if (rows_.size() == data_.keys.size()) return;
    double weight = 0, share = 0;
    for (const NeuronKey& k : data_.keys) weight += k.weight, share += k.share;
    for (const size_t row : rows_) weight -= data_.keys[row].weight, share -= data_.keys[row].share;
    const double middle = y(rows_.size()) + row_ / 2 + theme_.gap / 2;
    const size_t hidden = data_.keys.size() - rows_.size();
    figure_.add(segment({x_[0] - labelWidth_ - theme_.gap, y(rows_.size()) + theme_.gap / 4},
                        {x_[kShare] + width_[kShare], y(rows_.size()) + theme_.gap / 4}, theme_.line));
    figure_.add(textAt({x_[0], middle}, std::to_string(hidden) + (hidden == 1 ? " more key" : " more keys") + ", smaller weights",
                       theme_.small(), theme_.inkSecond, AnchorX::Left, AnchorY::Middle));
    figure_.add(
        textAt({x_[kSoftmax] + numberWidth_, middle}, signedNumber(weight, 3), mono_, theme_.inkSecond, AnchorX::Right, AnchorY::Middle));
    if (std::isnan(share)) return;
    figure_.add(
        textAt({x_[kShare] + numberWidth_, middle}, signedNumber(share, 3), mono_, theme_.inkSecond, AnchorX::Right, AnchorY::Middle));
  }

  void addValueTag() {
    const Pick& under = frame_.under;
    if (under.kind != Pick::Kind::Value || under.a > kProduct || under.c < 0 || under.c >= data_.queryVector.cols()) return;
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (key(i).key != under.b) continue;
      const double q = data_.queryVector(0, under.c), k = data_.keyVectors(static_cast<int64_t>(rows_[i]), under.c);
      const double each = width_[kQuery] / static_cast<double>(data_.queryVector.cols());
      const Rect cell{x_[under.a] + each * static_cast<double>(under.c), y(i), each, row_};
      addTag(figure_, cell, {0, 0, figure_.size.width, figure_.size.height}, shortNumber(q) + " × " + shortNumber(k), shortNumber(q * k),
             "dimension " + std::to_string(under.c), theme_, frame_.measure);
    }
  }

  void describe() {
    figure_.caption =
        "How head " + headName(data_.head) + (data_.modelName.empty() ? "" : " of " + data_.modelName) + replacedWords(data_.mechanism) +
        " weighs keys for the query " + label(data_.query) + " (position " + std::to_string(data_.query) +
        "): query and key after positions, their elementwise product, " +
        (data_.mechanism.empty() ? "the scaled score, softmax" : "the scaled score as the model's own attention has it, the weight") +
        ", and the share of the head's output along its direction. Blue is negative, orange positive.";
  }

  const NeuronData& data_;
  const ViewFrame& frame_;
  const Theme& theme_;
  Font mono_;
  ColorRamp ramp_;
  Figure figure_;
  std::vector<size_t> rows_;
  bool hasBars_ = true;
  double row_ = 0, formula_ = 0, bars_ = 0, top_ = 0, labelWidth_ = 0, numberWidth_ = 0;
  double keyTop_ = 1, productTop_ = 1, scoreTop_ = 1;
  double x_[kColumns] = {}, width_[kColumns] = {};
  int64_t lit_ = -1, hoverKey_ = -1;
};

}  // namespace

double largestEntry(core::ConstMatrixView m) {
  double top = 0;
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < m.cols; ++c) top = std::isfinite(m(r, c)) ? std::max(top, std::abs(static_cast<double>(m(r, c)))) : top;
  }
  return top > 0 ? top : 1;
}

std::vector<size_t> shownKeys(const std::vector<NeuronKey>& keys, size_t rows, int64_t always) {
  std::vector<size_t> order(keys.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (keys.size() <= rows) return order;
  const auto isBefore = [&](size_t a, size_t b) {
    const bool first = keys[a].key == always, second = keys[b].key == always;
    if (first != second) return first;
    const double x = std::abs(keys[a].weight), y = std::abs(keys[b].weight);
    return x != y ? x > y : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(rows), order.end(), isBefore);
  order.resize(rows);
  std::sort(order.begin(), order.end());
  return order;
}

Figure drawNeuron(const NeuronData& data, const core::ViewOptions& /*options*/, const core::Selection& selection, const ViewFrame& frame) {
  return NeuronDrawing(data, selection, frame).draw();
}

}  // namespace headscope::views
