#pragma once
// SVG sink: a figure's content as SVG 1.1 that people can edit: text stays text, rectangles stay rectangles, clips are clips.
// Written directly: QSvgGenerator drops clips and the pixelated rendering of images, and adds words of its own.
// The same figure gives the same bytes: no dates, no random ids, no hash order.
#include <ostream>
#include <string>

#include "views/figure/figure.h"

namespace headscope::app {

struct SvgOptions {
  double hairline = 0.25;   // points of lines whose width is 0
  std::string unit = "pt";  // unit of width and height: "pt" in print, "px" on screen
  std::string sessionJson;  // into <metadata id="headscope-session">; "" none
  std::string description;  // into <desc>; "" none
};

void writeSvg(std::ostream& out, const views::Figure& figure, const SvgOptions& options);

}  // namespace headscope::app
