#include "app/display.h"

#include <cstdlib>

namespace headscope::app {

bool isDisplayThere() {
  const auto isSet = [](const char* name) {
    const char* value = std::getenv(name);
    return value && *value;
  };
  return isSet("DISPLAY") || isSet("WAYLAND_DISPLAY");
}

}  // namespace headscope::app
