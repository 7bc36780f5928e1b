#pragma once
// A head as people write it: layer, point, head, both from 0: "3.1".
#include <string>

#include "core/attention/trace.h"

namespace headscope::core {

inline std::string headName(HeadRef head) { return std::to_string(head.layer) + "." + std::to_string(head.head); }

}  // namespace headscope::core
