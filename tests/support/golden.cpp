#include "tests/support/golden.h"
#include "tests/support/folders.h"

#include <cstdlib>

namespace headscope::tests {

std::filesystem::path goldenFolder() {
  const char* set = std::getenv("HEADSCOPE_GOLDEN");
  return set != nullptr ? std::filesystem::path(set) : configuredGoldenFolder();
}

bool hasGolden() { return std::filesystem::is_directory(goldenFolder() / "models"); }

}  // namespace headscope::tests
