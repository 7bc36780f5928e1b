// Folders: single files, shards, missing ones, links, and tensors that don't fit what is asked of them.
#include "core/checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/checkpoint/safetensors_writer.h"
#include "tests/support/safetensors_builder.h"

namespace headscope::core {
namespace {

using tests::TemporaryFolder;
using tests::writeFile;

void writeTensors(const std::filesystem::path& path, const std::vector<std::string>& names) {
  SafetensorsWriter writer;
  for (const std::string& name : names) writer.add(name, {2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  writer.write(path);
}

std::string faultOf(const std::filesystem::path& folder) {
  try {
    Checkpoint::open(folder);
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

TEST(Checkpoint, missingShardsAndTensorsAreListed) {
  TemporaryFolder folder;
  writeTensors(folder / "a.safetensors", {"x", "y"});
  writeFile(folder / "model.safetensors.index.json",
            R"({"weight_map":{"x":"a.safetensors","z":"a.safetensors","u":"b.safetensors","v":"b.safetensors"}})");
  const auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint->missingFiles(), std::vector<std::string>{"b.safetensors"});
  EXPECT_EQ(checkpoint->missingTensors(), (std::vector<std::string>{"u", "v", "z"}));
  EXPECT_NE(checkpoint->find("y"), nullptr);
  EXPECT_THROW(checkpoint->at("z"), Error);
  EXPECT_TRUE(checkpoint->hasPrefix("u"));
  EXPECT_FALSE(checkpoint->hasPrefix("w"));
}

TEST(Checkpoint, shardsWithoutAnIndexOpen) {
  TemporaryFolder folder;
  writeTensors(folder / "model-00002-of-00163.safetensors", {"x"});
  const auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_NE(checkpoint->find("x"), nullptr);
  EXPECT_EQ(checkpoint->missingFiles(), std::vector<std::string>{"162 of 163 shards"});
}

TEST(Checkpoint, theSameTensorInTwoFilesIsRefusedUnlessTheIndexDecides) {
  TemporaryFolder folder;
  writeTensors(folder / "model-00001-of-00002.safetensors", {"x"});
  writeTensors(folder / "model-00002-of-00002.safetensors", {"x", "y"});
  EXPECT_NE(faultOf(folder.path()).find("is in both"), std::string::npos);
  writeFile(folder / "model.safetensors.index.json",
            R"({"weight_map":{"x":"model-00002-of-00002.safetensors","w":"model-00001-of-00002.safetensors"}})");
  const auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint->files()[checkpoint->at("x").file]->path().filename(), "model-00002-of-00002.safetensors");
}

TEST(Checkpoint, linksToRegularFilesOpenAndOthersDont) {
  TemporaryFolder folder, elsewhere;
  writeTensors(elsewhere / "blob", {"x"});
  std::filesystem::create_symlink(elsewhere / "blob", folder / "model.safetensors");
  EXPECT_EQ(faultOf(folder.path()), "");
  TemporaryFolder other;
  std::filesystem::create_directory(other / "model.safetensors");
  EXPECT_NE(faultOf(other.path()).find("not a regular file"), std::string::npos);
}

TEST(Checkpoint, emptyFoldersAndOtherFormatsSaySo) {
  TemporaryFolder folder;
  EXPECT_NE(faultOf(folder.path()).find("no model.safetensors"), std::string::npos);
  EXPECT_NE(faultOf(folder / "absent").find("no such folder"), std::string::npos);
  writeFile(folder / "pytorch_model.bin", "x");
  EXPECT_NE(faultOf(folder.path()).find("save_pretrained"), std::string::npos);
}

TEST(Checkpoint, shapesThatDontFitNameBoth) {
  TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.add("w", {2, 3}, std::vector<float>(6));
  writer.add("batch", {1, 2, 3}, std::vector<float>(6));
  writer.add("v", {4}, std::vector<float>(4));
  writer.add("i", {2, 2}, std::vector<int64_t>(4));
  writer.write(folder / "model.safetensors");
  const auto checkpoint = Checkpoint::open(folder.path());
  const auto fault = [&](const char* name, MatrixShape shape) -> std::string {
    try {
      checkpoint->matrix(name, shape);
      return "";
    } catch (const Error& e) {
      return e.what();
    }
  };
  EXPECT_EQ(fault("w", {2, 3}), "");
  EXPECT_EQ(fault("w", {3, 2, true}), "");
  EXPECT_EQ(fault("batch", {2, 3}), "");
  EXPECT_NE(fault("w", {5, 3}).find("[2, 3], but by config.json it should be [5, 3]"), std::string::npos);
  EXPECT_NE(fault("w", {2, 3, true}).find("should be [3, 2]"), std::string::npos);
  EXPECT_NE(fault("v", {}).find("not a matrix"), std::string::npos);
  EXPECT_NE(fault("i", {}).find("I64"), std::string::npos);
  EXPECT_NE(fault("absent", {}).find("missing"), std::string::npos);
  EXPECT_THROW(checkpoint->vector("v", 5), Error);
}

TEST(Checkpoint, floatEightNeedsScalesThatFit) {
  TemporaryFolder folder;
  const auto write = [&](std::vector<int64_t> scales) {
    SafetensorsWriter writer;
    writer.add("w", DType::F8_E4M3, {130, 10},
               [](SafetensorsWriter::Sink& sink) { sink.write(std::span<const uint8_t>(std::vector<uint8_t>(1300, 0x38))); });
    if (!scales.empty()) writer.add("w_scale_inv", scales, std::vector<float>(static_cast<size_t>(scales[0] * scales[1]), 3.0f));
    writer.write(folder / "model.safetensors");
    return Checkpoint::open(folder.path());
  };
  EXPECT_THROW(write({})->matrix("w"), Error);
  EXPECT_THROW(write({1, 1})->matrix("w"), Error);
  const auto checkpoint = write({2, 1});
  EXPECT_EQ(checkpoint->matrix("w").decode()(129, 9), 3.0f);
  EXPECT_EQ(checkpoint->parameters(), 1300);
}

}  // namespace
}  // namespace headscope::core
