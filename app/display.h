#pragma once
// Whether there is a display that a window could open on.

namespace headscope::app {

bool isDisplayThere();

}  // namespace headscope::app
