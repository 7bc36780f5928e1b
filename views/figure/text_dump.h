#pragma once
// Text dump: a figure as small, byte-stable text, one item a line, for golden tests. Images are given by size and a checksum of
// their pixels, so that a changed cell shows.
#include <string>

#include "views/figure/figure.h"

namespace headscope::views {

/// withOverlay: the overlay's items after the content's, under a line "overlay" (default: no).
std::string dumpFigure(const Figure& figure, bool withOverlay = false);

}  // namespace headscope::views
