#pragma once
// ImGuiSink: draws a Figure, content then overlay, into a Dear ImGui draw list. Lays nothing out: text widths come from the
// figure's own measure except for right and centred anchors and elision, which use the glyphs drawn.
// The current texture of the list must be the font atlas, as it is inside any Dear ImGui window.
#include <cstdint>
#include <memory>

#include "views/figure/figure.h"
#include "views/figure/imgui_sink_fonts.h"

namespace headscope::views {

/// Uploads pictures for the sink; the canvas implements it, because textures belong to its context.
class TextureSource {
 public:
  virtual ~TextureSource() = default;
  /// The texture's handle as Dear ImGui passes it on; 0 when it can't be had. Valid until the frame ends.
  virtual uintptr_t textureFor(const std::shared_ptr<const Image>& image, bool isSmooth) = 0;
};

class ImGuiSink {
 public:
  ImGuiSink(ImGuiFonts& fonts, TextureSource& textures) : fonts_(fonts), textures_(textures) {}
  /// The figure's origin comes to `origin`; everything is clipped to the figure's size.
  void draw(const Figure& figure, ImDrawList& list, Point origin);

 private:
  void drawItem(const Item& item, ImDrawList& list);
  void operator()(const RectItem& item, ImDrawList& list);
  void operator()(const PolylineItem& item, ImDrawList& list);
  void operator()(const CurveItem& item, ImDrawList& list);
  void operator()(const TextItem& item, ImDrawList& list);
  void operator()(const ImageItem& item, ImDrawList& list);
  void operator()(const HatchItem& item, ImDrawList& list);
  void operator()(const ClipItem& item, ImDrawList& list);
  double baselineShift(const TextItem& item);
  double hairline() const { return 1 / fonts_.pixelRatio(); }

  ImGuiFonts& fonts_;
  TextureSource& textures_;
  Point origin_;
  int openClips_ = 0;
};

}  // namespace headscope::views
