#pragma once
// What a view's own options say, with what they are when unset.
#include <algorithm>
#include <cmath>
#include <string>

#include "core/session/session.h"

namespace headscope::views {

inline std::string wordIn(const core::ViewOptions& options, const std::string& key, const std::string& fallback) {
  const auto it = options.words.find(key);
  return it == options.words.end() || it->second.empty() ? fallback : it->second;
}

/// Never NaN: sessions come from outside.
inline double numberIn(const core::ViewOptions& options, const std::string& key, double fallback) {
  const auto it = options.numbers.find(key);
  return it == options.numbers.end() || !std::isfinite(it->second) ? fallback : it->second;
}

inline bool isBrushed(const core::Selection& selection, core::HeadRef head) {
  return std::find(selection.brushed.begin(), selection.brushed.end(), head) != selection.brushed.end();
}

}  // namespace headscope::views
