#pragma once
// Where the system keeps the typefaces that the canvas draws with. Dear ImGui needs files, Qt only knows families.
#include "views/figure/imgui_sink_fonts.h"

namespace headscope::app {

/// Looks through the system's font folders for the files of Inter, JetBrains Mono, DejaVu and wide-coverage fallbacks; falls
/// back to DejaVu where the first two are absent. Costs a directory walk of a few milliseconds.
views::FontFiles findFontFiles();

}  // namespace headscope::app
