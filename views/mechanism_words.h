#pragma once
// What the mechanism views read from options and say the same way.
#include <string>
#include <vector>

#include "core/attention/head_name.h"
#include "core/session/session.h"

namespace headscope::views {

/// options.words["mechanism"], or the fallback; a bare name takes its whole-number parameters from options.numbers.
std::string mechanismOf(const core::ViewOptions& options, const std::string& fallback);
double numberOf(const core::ViewOptions& options, const std::string& name, double fallback);
inline std::string headName(const core::Selection& selection) { return core::headName(selection.ref()); }
std::string joined(const std::vector<std::string>& notes);  // by "; "
/// 1536 -> "1.5 KiB".
std::string byteSize(double bytes);

}  // namespace headscope::views
