#include "core/base/memory.h"

#include <fstream>
#include <limits>
#include <string>

namespace headscope::core {
namespace {

/// The kB after `name` in one of the kernel's tables, in bytes; `otherwise` where there is no such line.
uint64_t bytesAfter(const std::string& name, const char* table, uint64_t otherwise) {
  std::ifstream lines(table);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name)) return std::stoull(line.substr(name.size())) * 1024;
  }
  return otherwise;
}

}  // namespace

uint64_t residentBytes() { return bytesAfter("VmRSS:", "/proc/self/status", 0); }
uint64_t anonymousBytes() { return bytesAfter("RssAnon:", "/proc/self/status", 0); }
uint64_t availableMemory() { return bytesAfter("MemAvailable:", "/proc/meminfo", std::numeric_limits<uint64_t>::max()); }

}  // namespace headscope::core
