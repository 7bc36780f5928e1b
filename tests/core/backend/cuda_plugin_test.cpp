// The plug-in on a machine as it is: it loads where it was built, says why there is no card, and the program goes on on the CPU.
#include "core/backend/cuda_plugin.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/backend/open_backend.h"
#include "core/base/error.h"
#include "tests/support/folders.h"

using namespace headscope::core;
namespace fs = std::filesystem;

namespace {

std::string madeUp(const char* kind) {
  return (headscope::tests::buildFolder() / "made_up" / (std::string("made_up_") + kind + ".so")).string();
}

fs::path builtPlugin() { return headscope::tests::buildFolder() / "headscope_cuda.so"; }

}  // namespace

TEST(CudaPlugin, absentFileIsAReason) {
  const PluginResult result = loadCudaBackend("/nowhere/headscope_cuda.so");
  EXPECT_EQ(result.backend, nullptr);
  EXPECT_EQ(result.reason, "built without the CUDA plug-in");
}

TEST(CudaPlugin, otherFileIsAReason) {
  const fs::path file = fs::path(testing::TempDir()) / "not_a_plugin.so";
  std::ofstream(file) << "not a library";
  const PluginResult result = loadCudaBackend(file.string());
  EXPECT_EQ(result.backend, nullptr);
  EXPECT_NE(result.reason.find("can't be loaded"), std::string::npos) << result.reason;
  fs::remove(file);
}

TEST(CudaPlugin, madeUpOnesAreReasons) {
  EXPECT_EQ(loadCudaBackend(madeUp("reason")).reason, "no CUDA device found");
  EXPECT_EQ(loadCudaBackend(madeUp("no_functions")).reason, "headscope_cuda.so is not a plug-in of this program");
  EXPECT_EQ(loadCudaBackend(madeUp("other_version")).reason,
            std::string("the CUDA plug-in is of another version (headscope-backend-0, not ") + kPluginVersion + ")");
}

TEST(CudaPlugin, whatItNeedsIsLookedForBeforeItIsLoaded) {
  const fs::path plugin = fs::path(testing::TempDir()) / "needy_plugin.so", needs = fs::path(plugin).replace_extension(".needs");
  fs::copy_file(madeUp("reason"), plugin, fs::copy_options::overwrite_existing);
  std::ofstream(needs) << "libc.so.6 no C\nlibnowhere.so.9 nothing to run on\n";
  EXPECT_EQ(loadCudaBackend(plugin.string()).reason, "nothing to run on");
  std::ofstream(needs) << "libc.so.6 no C\n\nnonsense\n";
  EXPECT_EQ(loadCudaBackend(plugin.string()).reason, "no CUDA device found");
  fs::remove(plugin), fs::remove(needs);
}

TEST(CudaPlugin, aMadeUpCardPassesItsSelfTestBehindTheGuard) {
  const PluginResult result = guarded(loadCudaBackend(madeUp("card")), DiskCache());
  ASSERT_NE(result.backend, nullptr) << result.reason;
  EXPECT_EQ(result.backend->name(), "cuda");
  EXPECT_EQ(result.backend->reason(), "");
}

TEST(CudaPlugin, loadsAndEitherWorksOrSaysWhyNot) {
  if (!fs::exists(builtPlugin())) GTEST_SKIP() << "the plug-in was not built here (no nvcc)";
  // Through a link, beside which nothing says what must be there first: the library itself is loaded on any machine
  const fs::path link = fs::path(testing::TempDir()) / "linked_plugin.so";
  fs::remove(link);
  fs::create_symlink(builtPlugin(), link);
  const PluginResult result = loadCudaBackend(link.string());
  fs::remove(link);
  EXPECT_NE(result.backend == nullptr, result.reason.empty());
  EXPECT_EQ(result.reason.find("can't be loaded"), std::string::npos) << result.reason;
}

TEST(CudaPlugin, autoFallsBackAndSaysWhy) {
  const auto backend = openBackend("auto");
  ASSERT_NE(backend, nullptr);
  if (backend->name() == "cpu") {
    EXPECT_FALSE(backend->reason().empty());
  }
}

TEST(CudaPlugin, cpuByNameHasNoExcuse) { EXPECT_EQ(openBackend("cpu")->reason(), ""); }

TEST(CudaPlugin, unknownDeviceIsRefused) { EXPECT_THROW(openBackend("tpu"), Error); }
