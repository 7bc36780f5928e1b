#include "tests/support/folders.h"

namespace headscope::tests {

std::filesystem::path sourceFolder() { return HEADSCOPE_SOURCE_FOLDER; }
std::filesystem::path buildFolder() { return HEADSCOPE_BUILD_FOLDER; }
std::filesystem::path configuredGoldenFolder() { return HEADSCOPE_GOLDEN_FOLDER; }

}  // namespace headscope::tests
