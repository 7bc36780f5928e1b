#include "app/scenario_file.h"

#include <fstream>

#include "app/assets.h"
#include "core/base/error.h"
#include "core/base/files.h"

namespace headscope::app {
namespace fs = std::filesystem;
namespace {
constexpr int64_t kMaxFileBytes = 32 << 20;
constexpr size_t kHead = 4096;
}  // namespace

fs::path resolveScenario(const std::string& name) {
  std::error_code code;
  if (fs::exists(name, code)) return name;
  const fs::path bundled = assetsFolder() / "lessons" / (name + ".json");
  if (name.find('/') == std::string::npos && fs::exists(bundled, code)) return bundled;
  throw core::Error("no such scenario", name, "give a file, or the name of a bundled one (first_look)");
}

core::Scenario readScenario(const fs::path& file) { return core::parseScenario(core::readTextFile(file, kMaxFileBytes), file.string()); }

bool isScenarioFile(const fs::path& file) {
  std::string head(kHead, '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<size_t>(in.gcount()));
  return head.find("\"headscope-scenario\"") != std::string::npos;
}

}  // namespace headscope::app
