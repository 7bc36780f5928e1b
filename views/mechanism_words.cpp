#include "views/mechanism_words.h"

#include "views/figure/axis.h"

namespace headscope::views {

std::string mechanismOf(const core::ViewOptions& options, const std::string& fallback) {
  const auto found = options.words.find("mechanism");
  return found == options.words.end() || found->second.empty() ? fallback : found->second;
}

double numberOf(const core::ViewOptions& options, const std::string& name, double fallback) {
  const auto found = options.numbers.find(name);
  return found == options.numbers.end() ? fallback : found->second;
}

std::string headName(core::HeadRef head) { return std::to_string(head.layer) + "." + std::to_string(head.head); }

std::string joined(const std::vector<std::string>& notes) {
  std::string out;
  for (const std::string& note : notes) out += (out.empty() ? "" : "; ") + note;
  return out;
}

std::string byteSize(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(units)) bytes /= 1024, ++unit;
  return shortNumber(bytes) + " " + units[unit];
}

}  // namespace headscope::views
