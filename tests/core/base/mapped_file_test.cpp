#include "core/base/mapped_file.h"

#include <gtest/gtest.h>

#include <numeric>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint/checkpoint.h"
#include "tests/support/safetensors_builder.h"

namespace headscope::core {
namespace {
namespace fs = std::filesystem;

constexpr size_t kBytes = 1 << 20, kLeft = 100'000;

int64_t sum(std::span<const std::byte> bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), int64_t{0}, [](int64_t s, std::byte b) { return s + static_cast<int64_t>(b); });
}

std::string faultOf(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

TEST(MappedFile, whatIsCutOffWhileOpenReadsAsZerosAndIsSaid) {
  const tests::TemporaryFolder folder;
  tests::writeFile(folder / "whole", std::string(kBytes, '\1'));
  tests::writeFile(folder / "cut", std::string(kBytes, '\1'));
  auto whole = MappedFile::open(folder / "whole"), file = MappedFile::open(folder / "cut");
  const CutWatch before;
  EXPECT_EQ(sum(file->bytes()), static_cast<int64_t>(kBytes));
  before.check();
  fs::resize_file(folder / "cut", kLeft);
  EXPECT_EQ(sum(file->bytes()), static_cast<int64_t>(kLeft));
  const std::string fault = faultOf([&] { before.check(); });
  EXPECT_NE(fault.find((folder / "cut").string()), std::string::npos) << fault;
  EXPECT_NE(fault.find("cut the file short"), std::string::npos) << fault;
  EXPECT_THROW(file->requireWhole(), Error);
  EXPECT_EQ(sum(whole->bytes()), static_cast<int64_t>(kBytes));
  whole->requireWhole();
  CutWatch().check();  // what begins now has seen nothing
  CutWatch::checkUnreported();
}

TEST(MappedFile, nothingIsWrittenFromAFileThatWasCut) {
  const tests::TemporaryFolder folder;
  tests::writeFile(folder / "cut", std::string(kBytes, '\1'));
  tests::writeFile(folder / "result", "of before");
  auto file = MappedFile::open(folder / "cut");
  fs::resize_file(folder / "cut", 10);
  const auto result = [&](std::ostream& out) { out << sum(file->bytes()); };
  EXPECT_NE(faultOf([&] { writeFileWhole(folder / "result", result); }).find((folder / "cut").string()), std::string::npos);
  EXPECT_EQ(readTextFile(folder / "result", 100), "of before");
  file.reset();
  writeFileWhole(folder / "result", [](std::ostream& out) { out << "of after"; });  // it has been said
  EXPECT_EQ(readTextFile(folder / "result", 100), "of after");
}

TEST(MappedFile, aCheckpointThatWasCutSaysSo) {
  const tests::TemporaryFolder folder;
  tests::writeFile(
      folder / "model.safetensors",
      tests::safetensorsBytes(R"({"a":{"dtype":"F32","shape":[256,1024],"data_offsets":[0,1048576]}})", std::string(kBytes, '\0')));
  const auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint->vector("a").size(), kBytes / 4);
  fs::resize_file(folder / "model.safetensors", kLeft);
  const WeightView view = checkpoint->matrix("a");
  const CutWatch watch;
  EXPECT_EQ(view.decode()(255, 1023), 0);
  EXPECT_THROW(watch.check(), Error);
  EXPECT_NE(faultOf([&] { checkpoint->requireWhole(); }).find("model.safetensors"), std::string::npos);
}

}  // namespace
}  // namespace headscope::core
