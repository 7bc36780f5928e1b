#include "views/image_picture.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>

#include "core/attention/head_name.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/head_grid.h"
#include "views/mechanism_words.h"
#include "views/token_text.h"

namespace headscope::views {
namespace {

constexpr double kStandardOpacity = 0.65, kLargestLayerCell = 56;
constexpr double kSmallestMarkedPatch = 4;  // points; below, a grid's cell does not outline the query patch

uint64_t nextRevision() {
  static std::atomic<uint64_t> last{uint64_t{1} << 62};  // apart from the maps' numbers
  return ++last;
}

std::shared_ptr<Image> blankImage(const core::PixelImage& picture) {
  auto image = std::make_shared<Image>();
  image->width = static_cast<int>(picture.width), image->height = static_cast<int>(picture.height);
  image->rgba.assign(static_cast<size_t>(picture.width * picture.height) * 4, 255);
  image->revision = nextRevision();
  return image;
}

double opacityOf(const core::ViewOptions& options) {
  const auto found = options.numbers.find("opacity");
  return found == options.numbers.end() ? kStandardOpacity : std::clamp(found->second, 0.0, 1.0);
}

/// A position inside a sentence.
std::string inWords(const ImageData& data, int64_t position) { return (position < data.first ? "the " : "") + data.placeOf(position); }

/// Where a picture of the model's shape lies inside `cell`, centred.
Rect fitted(const Rect& cell, double aspect) {
  const double width = std::min(cell.width, cell.height * aspect), height = width / aspect;
  return {cell.x + (cell.width - width) / 2, cell.y + (cell.height - height) / 2, width, height};
}

struct Picture {
  const ImageData& data;
  const core::ViewOptions& options;
  const ViewFrame& frame;
  ColorRamp ramp, diverging;
  Figure figure;

  Picture(const ImageData& d, const core::ViewOptions& o, const ViewFrame& f)
      : data(d), options(o), frame(f), ramp(attentionRamp(f.theme)), diverging(divergingRamp(f.theme)) {
    figure.background = f.theme.canvas;
    figure.size = f.size;
  }

  double aspect() const { return static_cast<double>(data.spec.width) / static_cast<double>(data.spec.height); }

  Rect patchAt(int64_t position, const Rect& picture) const {
    const int64_t patch = position - data.first, row = patch / data.across(), col = patch % data.across();
    const double size = picture.width / static_cast<double>(data.spec.width) * static_cast<double>(data.spec.patch);
    return {picture.x + static_cast<double>(col) * size, picture.y + static_cast<double>(row) * size, size, size};
  }

  ValueScale scaleOf(const core::Matrix& rows, int64_t row) const {
    const core::ConstMatrixView one = core::ConstMatrixView(rows).rowsFrom(row, 1);
    const bool isSigned = &rows == &data.weights && !data.isSigned.empty() && data.isSigned[static_cast<size_t>(row)];
    return scaleFor(options, one, options.hideFirst ? data.first : 0, isSigned);
  }
  const ColorRamp& rampOf(const ValueScale& scale) const { return scale.isSigned ? diverging : ramp; }

  /// The overlay of one row of weights, from the cache where nothing changed.
  std::shared_ptr<const Image> overlay(size_t slot, const core::PixelImage& picture, const float* row, const ValueScale& scale) const {
    const OverlayCache::Key key{scale, frame.theme.isDark, opacityOf(options), picture.width};
    if (auto kept = data.cache.find(slot, key)) return kept;
    auto made = overlayImage(picture, data.spec, row + data.first, scale, rampOf(scale), opacityOf(options));
    data.cache.keep(slot, key, made);
    return made;
  }

  /// Two lines, one light and one dark, so that it is seen on any picture.
  void outline(const Rect& rect, Color color, bool isOverlay) {
    const double width = frame.isPaper ? 0.75 : 1.5;
    const auto put = [&](RectItem item) { isOverlay ? figure.addOverlay(item) : figure.add(item); };
    put(RectItem{rect.inset(-width), kTransparent, frame.theme.canvas, width});
    put(RectItem{rect, kTransparent, color, width});
  }

  void addPicks(const Rect& picture) {
    if (frame.isPaper) return;
    for (int64_t i = 0; i < data.across() * data.down(); ++i) {
      figure.content.push_back(pickArea(patchAt(data.first + i, picture), {Pick::Kind::KeyToken, data.first + i, -1, -1, {}}));
    }
  }
};

/// Both pictures, the class token's chip and the colour bar: of the selected head, or rollout.
struct SinglePicture : Picture {
  const core::Matrix& rows;
  int64_t row;
  ImageForm form;
  ValueScale scale;
  Rect plain{}, map{}, bar{}, chip{};
  double strip = 0;  // height of the row of layers

  SinglePicture(const ImageData& d, const core::ViewOptions& o, const core::Selection& selection, const ViewFrame& f)
      : Picture(d, o, f),
        rows(imageFormOf(o) == ImageForm::Rollout ? d.rollout : d.weights),
        row(imageFormOf(o) == ImageForm::Rollout ? d.layers - 1 : selection.layer * d.heads + selection.head),
        form(imageFormOf(o)),
        scale(scaleOf(rows, row)) {}

  core::HeadRef head() const { return {row / data.heads, row % data.heads}; }
  double line() const { return frame.theme.smallSize * 1.7; }

  void layOut() {
    const Theme& t = frame.theme;
    const double margin = frame.isPaper ? 0 : 2 * t.gap, gap = frame.isPaper ? t.gap : 2 * t.gap;
    const double barWidth = t.gap, barColumn = 1.5 * t.gap + barWidth + t.gap / 2 + colorBarTextWidth(scale, t, frame.measure);
    const double width = frame.size.width - 2 * margin - barColumn;
    if (form == ImageForm::Rollout) {
      const double cells = static_cast<double>(data.layers);
      strip =
          std::clamp((width + barColumn + t.gap / 2) / cells - t.gap / 2, 4.0, kLargestLayerCell * (frame.isPaper ? 0.6 : 1)) / aspect();
    }
    const double below = line() + (strip > 0 ? strip + 2 * line() : 0);
    const double height = frame.size.height > 0 ? frame.size.height - 2 * margin - line() - below : 1e9;
    const double beside = std::min((width - gap) / 2, height * aspect());
    const double stacked = std::min(width, (height - line() - gap) / 2 * aspect());
    const bool isStacked = frame.size.height > 0 && stacked > beside;
    const double w = std::max(4.0, isStacked ? stacked : beside), h = w / aspect();
    const double total = (isStacked ? w : 2 * w + gap) + barColumn;
    const double x = frame.isPaper ? 0 : margin + std::max(0.0, (frame.size.width - 2 * margin - total) / 2);
    const double used = isStacked ? 2 * h + gap + line() : h;
    const double y = margin + line() + (frame.size.height > 0 ? std::max(0.0, (height - used) / 2) : 0);
    plain = {x, y, w, h};
    map = isStacked ? Rect{x, y + h + gap + line(), w, h} : Rect{x + w + gap, y, w, h};
    bar = {map.right() + 1.5 * t.gap, map.y, barWidth, h - line()};
    chip = {map.x, map.bottom() + line() * 0.25, t.smallSize, t.smallSize};
    if (frame.size.height <= 0) figure.size.height = map.bottom() + below + (frame.isPaper ? 1 : margin);
  }

  std::string title() const {
    return form == ImageForm::Rollout ? "Rollout, layers 0 to " + std::to_string(data.layers - 1) : "Head " + headName(head());
  }
  std::string from() const { return "from " + inWords(data, data.query); }

  /// The longest of the texts that fits over a picture.
  void label(const Rect& picture, const std::vector<std::string>& texts) {
    const Theme& t = frame.theme;
    for (const std::string& text : texts) {
      if (frame.measure.width(text, t.small()) > picture.width) continue;
      figure.add(textAt({picture.x, picture.y - line() * 0.3}, text, t.small(), t.inkSecond));
      return;
    }
  }

  void addPictures() {
    const Theme& t = frame.theme;
    const std::string size = std::to_string(data.spec.width) + " × " + std::to_string(data.spec.height);
    label(plain, {"As the model sees it, " + size, "As the model sees it", "Picture"});
    label(map, {title() + ", " + from(), (form == ImageForm::Rollout ? "Rollout, " : title() + ", ") + from(), from(), title()});
    figure.add(ImageItem{plain, data.plain, false});
    const auto slot = static_cast<size_t>(form == ImageForm::Rollout ? data.layers * data.heads : row);
    figure.add(ImageItem{map, overlay(slot, data.picture, rows.row(row), scale), false});
    for (const Rect& picture : {plain, map}) {
      figure.add(RectItem{picture, kTransparent, t.line, 0});
      addPicks(picture);
      if (data.query >= data.first) outline(patchAt(data.query, picture), t.accent, false);
    }
    addColorBar(figure, bar, scale, rampOf(scale), t);
  }

  void addClassToken() {
    if (data.first == 0) return;
    const Theme& t = frame.theme;
    const double weight = rows(row, 0);
    figure.add(RectItem{chip, rampOf(scale).at(scale.unit(weight)), t.line, 0, 1});
    if (data.query == 0) outline(chip, t.accent, false);
    const std::string text = "class token  " + shortNumber(weight);
    const double x = chip.right() + t.gap * 0.75;
    figure.add(textAt({x, chip.center().y}, elide(text, t.small(), figure.size.width - x, frame.measure), t.small(), t.inkSecond,
                      AnchorX::Left, AnchorY::Middle));
    if (!frame.isPaper) figure.content.push_back(pickArea({chip.x, chip.y, map.width, chip.height}, {Pick::Kind::KeyToken, 0, -1, -1, {}}));
  }

  /// Rollout up to each layer, small.
  void addLayers() {
    if (strip <= 0) return;
    const Theme& t = frame.theme;
    const double gap = t.gap / 2, cell = strip * aspect(), y = map.bottom() + 2 * line();
    const double width = static_cast<double>(data.layers) * (cell + gap) - gap, margin = frame.isPaper ? 0 : 2 * t.gap;
    const double left = std::max(margin, std::min(plain.x, frame.size.width - margin - width));
    figure.add(textAt({left, y - line() * 0.3}, "Rollout up to each layer, each on its own scale", t.small(), t.inkSecond));
    const int64_t step = labelStep(cell + gap, t.smallSize * 1.6);
    for (int64_t layer = 0; layer < data.layers; ++layer) {
      const Rect rect{left + static_cast<double>(layer) * (cell + gap), y, cell, strip};
      const auto slot = static_cast<size_t>(data.layers * data.heads + 1 + layer);
      const auto image = overlay(slot, data.small, rows.row(layer), scaleOf(rows, layer));
      figure.add(ImageItem{rect, image, false});
      figure.add(RectItem{rect, kTransparent, t.line, 0}).pick = {Pick::Kind::Value, layer, -1, -1,
                                                                  "Rollout over layers 0 to " + std::to_string(layer)};
      if (layer % step == 0) {
        figure.add(textAt({rect.center().x, rect.bottom() + t.gap / 4}, std::to_string(layer), t.small(), t.inkSecond, AnchorX::Center,
                          AnchorY::Top));
      }
    }
  }

  void addHover(const core::Selection& selection) {
    if (frame.isPaper) return;
    const Theme& t = frame.theme;
    const int64_t n = rows.cols();
    for (const int64_t key : {selection.key, frame.hover.key}) {
      if (key < data.first || key >= n) continue;
      for (const Rect& picture : {plain, map}) outline(patchAt(key, picture), t.ink, true);
    }
    const int64_t key = frame.hover.key;
    // What is hovered elsewhere is told once, by the picture of the head, and only marked in rollout.
    if (key < 0 || key >= n || (form == ImageForm::Rollout && !frame.pointer)) return;
    const float weight = rows(row, key);
    const float* all = rows.row(row);
    const auto rank = 1 + std::count_if(all, all + n, [&](float w) { return w > weight; });
    addTag(figure, key < data.first ? chip : patchAt(key, map), {0, 0, figure.size.width, figure.size.height}, data.placeOf(key),
           shortNumber(weight, 4),
           "rank " + std::to_string(rank) + " of " + std::to_string(n) + (key == data.query ? ", the query itself" : ""), t, frame.measure);
  }
};

Figure drawSingle(const ImageData& data, const core::ViewOptions& options, const core::Selection& selection, const ViewFrame& frame) {
  SinglePicture picture(data, options, selection, frame);
  picture.layOut();
  picture.addPictures();
  picture.addClassToken();
  picture.addLayers();
  picture.addHover(selection);
  Figure& figure = picture.figure;
  figure.title = picture.title();
  figure.caption =
      picture.form == ImageForm::Rollout
          ? "Attention rollout (Abnar and Zuidema 2020: mean of the heads, half of it the "
            "identity, rows normalised, product over the layers 0 to " +
                std::to_string(data.layers - 1) + ") of " + inWords(data, data.query)
          : "Attention of " + inWords(data, data.query) + " in head " + headName(picture.head()) +
                (data.mechanisms.empty()
                     ? std::string()
                     : replacedWords(data.mechanisms[static_cast<size_t>(picture.head().layer * data.heads + picture.head().head)]));
  if (!data.modelName.empty()) figure.caption += " of " + data.modelName;
  figure.caption += " over the picture's " + std::to_string(data.across()) + " x " + std::to_string(data.down()) +
                    " patches; left, the picture as the model sees it. Colour: " + scaleName(options.scale) + ", " +
                    shortNumber(picture.scale.lowest()) + " to " + shortNumber(picture.scale.high) +
                    (picture.scale.isLocked ? " (locked)" : "") + ", laid over the picture in grey.";
  return std::move(figure);
}

struct GridPicture : Picture {
  HeadGridLayout layout;
  const core::Selection& selection;
  const core::HeadScores* scores;
  bool isSorted;

  GridPicture(const ImageData& d, const core::ViewOptions& o, const core::Selection& s, const core::HeadScores* sc, const ViewFrame& f)
      : Picture(d, o, f),
        layout(layOutHeadGrid(d.layers, d.heads, o, f.size, f.isPaper)),
        selection(s),
        scores(sc),
        isSorted(sc != nullptr && !o.sortBy.empty() && sc->has(o.sortBy)) {
    const double height = layout.top + static_cast<double>(d.layers) * (layout.cell + layout.gap);
    if (f.size.height <= 0) figure.size.height = height + (f.isPaper ? 0 : f.theme.gap);
  }

  void addLabels() {
    const Theme& t = frame.theme;
    const int64_t rowStep = labelStep(layout.cell + layout.gap, t.smallSize * 1.2),
                  colStep = labelStep(layout.cell + layout.gap, t.smallSize * 1.9);
    for (int64_t row = layout.firstLayer; row < layout.firstLayer + layout.layers; row += rowStep) {
      const Rect cell = layout.cellAt(row, layout.firstHead);
      figure.add(textAt({cell.x - t.gap, cell.center().y}, std::to_string(row), t.small(), t.inkSecond, AnchorX::Right, AnchorY::Middle));
    }
    for (int64_t col = layout.firstHead; col < layout.firstHead + layout.heads && !isSorted; ++col) {
      if (col % colStep != 0) continue;
      const Rect cell = layout.cellAt(layout.firstLayer, col);
      figure.add(
          textAt({cell.center().x, cell.y - t.gap / 2}, std::to_string(col), t.small(), t.inkSecond, AnchorX::Center, AnchorY::Bottom));
    }
    if (!isSorted) return;
    const Rect first = layout.cellAt(layout.firstLayer, layout.firstHead);
    figure.add(textAt({first.x, first.y - t.gap / 2}, "highest first", t.small(), t.inkSecond, AnchorX::Left, AnchorY::Bottom));
  }

  void addCell(const Rect& cell, core::HeadRef head) {
    const Theme& t = frame.theme;
    const int64_t row = head.layer * data.heads + head.head;
    const Rect picture = fitted(cell, aspect());
    figure.add(ImageItem{picture, overlay(static_cast<size_t>(row), data.small, data.weights.row(row), scaleOf(data.weights, row)), false});
    const int64_t hovered = frame.hover.key;
    std::string tip = "Head " + headName(head) + "\nclass token  " + shortNumber(data.weights(row, 0));
    if (data.first == 0) tip.resize(tip.find('\n'));
    if (hovered >= data.first && hovered < data.weights.cols())
      tip += "\n" + data.placeOf(hovered) + "  " + shortNumber(data.weights(row, hovered));
    figure.add(RectItem{picture, kTransparent, t.line, 0});
    const Rect mark = data.query >= data.first ? patchAt(data.query, picture) : Rect{};
    if (mark.width >= kSmallestMarkedPatch) figure.add(RectItem{mark, kTransparent, t.accent, frame.isPaper ? 0.5 : 1});
    figure.content.push_back(pickArea(cell, {Pick::Kind::Head, head.layer, head.head, -1, std::move(tip)}));
    if (isSorted && layout.cell >= 2.4 * t.smallSize) {
      figure.add(textAt({cell.right() - 3, cell.y + 2}, std::to_string(head.head), t.small(), t.ink, AnchorX::Right, AnchorY::Top));
    }
    if (frame.isPaper) return;
    const bool isSelected = head == selection.ref(), isHovered = head == core::HeadRef{frame.hover.layer, frame.hover.head};
    const bool isBrushed = std::find(selection.brushed.begin(), selection.brushed.end(), head) != selection.brushed.end();
    if (isBrushed) figure.addOverlay(RectItem{cell.inset(-1), kTransparent, t.accent, 1, 1.5});
    if (isHovered) figure.addOverlay(RectItem{cell.inset(-1), kTransparent, t.inkSecond, 1, 1.5});
    if (isSelected) figure.addOverlay(RectItem{cell.inset(-1.5), kTransparent, t.accent, 2, 1.5});
  }
};

Figure drawGrid(const ImageData& data, const core::ViewOptions& options, const core::Selection& selection, const core::HeadScores* scores,
                const ViewFrame& frame) {
  GridPicture grid(data, options, selection, scores, frame);
  grid.addLabels();
  const auto order = headOrder(data.layers, data.heads, scores, options.sortBy);
  for (int64_t row = grid.layout.firstLayer; row < grid.layout.firstLayer + grid.layout.layers; ++row) {
    for (int64_t col = grid.layout.firstHead; col < grid.layout.firstHead + grid.layout.heads; ++col) {
      grid.addCell(grid.layout.cellAt(row, col), {row, order[static_cast<size_t>(row)][static_cast<size_t>(col)]});
    }
  }
  Figure& figure = grid.figure;
  addHiddenNote(figure, grid.layout, data.layers, data.heads, frame);
  figure.title = "Attention of " + inWords(data, data.query);
  figure.caption = "Attention of " + inWords(data, data.query) + " over the picture, in all " + std::to_string(data.layers) + " x " +
                   std::to_string(data.heads) + " heads" + (data.modelName.empty() ? "" : " of " + data.modelName) +
                   ": layers down, heads across" +
                   (grid.isSorted ? ", within a layer by " + options.sortBy + ", highest first" : std::string()) +
                   ". Colour: " + scaleName(options.scale) +
                   (options.limits ? ", " + shortNumber(options.limits->first) + " to " + shortNumber(options.limits->second) + " (locked)"
                                   : std::string(", 0 to each head's largest weight on a patch")) +
                   ".";
  return std::move(figure);
}

}  // namespace

std::shared_ptr<const Image> OverlayCache::find(size_t slot, const Key& key) const {
  const std::lock_guard lock(mutex_);
  const Slot& kept = slots_[slot];
  return kept.image && kept.key == key ? kept.image : nullptr;
}

void OverlayCache::keep(size_t slot, const Key& key, std::shared_ptr<const Image> image) const {
  const std::lock_guard lock(mutex_);
  slots_[slot] = {key, std::move(image)};
}

std::string ImageData::placeOf(int64_t position) const {
  if (position < first) return "class token";
  return "patch " + std::to_string((position - first) / across()) + ", " + std::to_string((position - first) % across());
}

std::shared_ptr<const Image> plainImage(const core::PixelImage& picture) {
  auto image = blankImage(picture);
  for (size_t i = 0; i < image->rgba.size() / 4; ++i) std::copy_n(picture.data.data() + 3 * i, 3, image->rgba.data() + 4 * i);
  return image;
}

std::shared_ptr<const Image> overlayImage(const core::PixelImage& picture, const core::ImageSpec& spec, const float* weights,
                                          const ValueScale& scale, const ColorRamp& ramp, double opacity) {
  auto image = blankImage(picture);
  const int64_t across = spec.width / spec.patch, down = spec.height / spec.patch;
  std::vector<Color> colors(static_cast<size_t>(across * down));
  for (size_t i = 0; i < colors.size(); ++i) colors[i] = ramp.at(scale.unit(weights[i]));
  uint8_t* out = image->rgba.data();
  const uint8_t* in = picture.data.data();
  for (int64_t y = 0; y < picture.height; ++y) {
    const int64_t row = (2 * y + 1) * spec.height / (2 * picture.height) / spec.patch;
    for (int64_t x = 0; x < picture.width; ++x, out += 4, in += 3) {
      const int64_t col = (2 * x + 1) * spec.width / (2 * picture.width) / spec.patch;
      const double grey = 0.299 * in[0] + 0.587 * in[1] + 0.114 * in[2];
      // Pixels at the right and lower edge that no patch covers stay grey.
      const Color color = row < down && col < across ? colors[static_cast<size_t>(row * across + col)] : kTransparent;
      const double share = color.a > 0 ? opacity : 0;
      const auto over = [&](uint8_t c) { return static_cast<uint8_t>(grey + (c - grey) * share + 0.5); };
      out[0] = over(color.r), out[1] = over(color.g), out[2] = over(color.b);
    }
  }
  return image;
}

ImageForm imageFormOf(const core::ViewOptions& options) {
  const auto found = options.words.find("form");
  if (found == options.words.end()) return ImageForm::Head;
  return found->second == "heads" ? ImageForm::Heads : found->second == "rollout" ? ImageForm::Rollout : ImageForm::Head;
}

Figure drawImage(const ImageData& data, const core::ViewOptions& options, const core::Selection& selection, const core::HeadScores* scores,
                 const ViewFrame& frame) {
  return imageFormOf(options) == ImageForm::Heads ? drawGrid(data, options, selection, scores, frame)
                                                  : drawSingle(data, options, selection, frame);
}

}  // namespace headscope::views
