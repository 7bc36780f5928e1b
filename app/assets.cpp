#include "app/assets.h"

#include "core/base/error.h"

namespace headscope::app {
namespace fs = std::filesystem;
namespace {

fs::path bundledOrFolder(const std::string& name, const char* what) {
  if (fs::exists(name)) return name;
  if (name.find('/') == std::string::npos && fs::is_directory(assetsFolder() / name)) return assetsFolder() / name;
  throw core::Error(std::string("no such ") + what, name, "give a folder, or the name of a bundled one (tales)");
}

}  // namespace

fs::path assetsFolder() {
  std::error_code code;
  const fs::path program = fs::read_symlink("/proc/self/exe", code);
  for (const fs::path& candidate :
       {program.parent_path() / "assets", program.parent_path() / "../share/headscope", fs::path(HEADSCOPE_SOURCE_ASSETS)}) {
    if (fs::is_directory(candidate / "tales", code)) return candidate.lexically_normal();
  }
  throw core::Error("the bundled files are not where they should be", HEADSCOPE_SOURCE_ASSETS,
                    "build the program again from its source folder");
}

fs::path resolveModel(const std::string& model) { return bundledOrFolder(model, "model"); }
fs::path resolveAdapter(const std::string& adapter) { return bundledOrFolder(adapter, "adapter"); }

}  // namespace headscope::app
