#pragma once
// The slim header of a pane: the view's name (a menu), what it shows, its main controls, maximise and export; everything else
// in a popover behind one word.
#include "views/panels/workspace.h"

namespace headscope::views {

void drawPaneHeader(WorkspaceHost& host, ImGuiFonts& fonts, int index, const WorkspaceHost::Pane& pane, Rect rect);

}  // namespace headscope::views
