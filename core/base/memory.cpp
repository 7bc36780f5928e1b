#include "core/base/memory.h"

#include <fstream>
#include <string>

namespace headscope::core {
namespace {

uint64_t statusLine(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) return std::stoull(line.substr(name.size())) * 1024;
  }
  return 0;
}

}  // namespace

uint64_t residentBytes() { return statusLine("VmRSS:"); }
uint64_t anonymousBytes() { return statusLine("RssAnon:"); }

}  // namespace headscope::core
