// Safetensors files: what is written is read; every way in which a header can lie is an Error that names the place.
#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/checkpoint/safetensors_file.h"
#include "core/checkpoint/safetensors_writer.h"
#include "core/checkpoint/shard_index.h"
#include "tests/support/safetensors_builder.h"

namespace headscope::core {
namespace {

using tests::safetensorsBytes;

SafetensorsHeader parse(const std::string& bytes) { return parseSafetensors(std::as_bytes(std::span(bytes)), "file.safetensors"); }

/// The message of the Error that parsing throws; "" when it throws none.
std::string faultOf(const std::string& bytes) {
  try {
    parse(bytes);
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

std::string one(const std::string& fields) { return "{\"a\":{" + fields + "}}"; }

TEST(Safetensors, writtenIsRead) {
  tests::TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.metadata["made by"] = "test \"quoted\"";
  writer.add("x", {2, 3}, std::vector<float>{1, 2, 3, 4, 5, NAN});
  writer.add("y.\xC3\xA9", {1}, std::vector<double>{0.5});
  writer.add("z", {0, 4}, std::vector<int64_t>{});
  writer.write(folder / "m.safetensors");
  const auto file = SafetensorsFile::open(folder / "m.safetensors");
  EXPECT_EQ(file->metadata().at("made by"), "test \"quoted\"");
  ASSERT_EQ(file->tensors().size(), 3u);
  const TensorInfo* x = file->find("x");
  ASSERT_NE(x, nullptr);
  EXPECT_EQ(x->shapeText(), "[2, 3]");
  EXPECT_EQ(decodeOne(x->dtype, x->data + 8), 3.0f);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(x->data) % 8, 0u);
  EXPECT_EQ(file->find("y.\xC3\xA9")->dtype, DType::F64);
  EXPECT_EQ(file->find("z")->count(), 0);
  EXPECT_EQ(file->find("w"), nullptr);
}

TEST(Safetensors, writerRefusesWrongCountsAndLeavesTheOldFile) {
  tests::TemporaryFolder folder;
  tests::writeFile(folder / "m.safetensors", "old");
  SafetensorsWriter writer;
  writer.add("x", {2, 3}, std::vector<float>{1, 2});
  EXPECT_THROW(writer.write(folder / "m.safetensors"), Error);
  EXPECT_EQ(std::filesystem::file_size(folder / "m.safetensors"), 3u);
  SafetensorsWriter twice;
  twice.add("x", {1}, std::vector<float>{1});
  twice.add("x", {1}, std::vector<float>{1});
  EXPECT_THROW(twice.write(folder / "m.safetensors"), Error);
}

TEST(Safetensors, scalarsEmptyTensorsAndPaddingAreFine) {
  EXPECT_EQ(faultOf(safetensorsBytes(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )", "1234")), "");
  EXPECT_EQ(faultOf(safetensorsBytes(
                R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "12")),
            "");
  EXPECT_EQ(faultOf(safetensorsBytes("{}", "")), "");
}

TEST(Safetensors, liesAreFound) {
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  ASSERT_EQ(faultOf(safetensorsBytes(one(good), "1234")), "");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "only 0 bytes"},
      {"1234567", "only 7 bytes"},
      {safetensorsBytes(one(good), "1234", 1'000'000), "should be 1000000 bytes long"},
      {safetensorsBytes(one(good), "1234", 200'000'000), "header would be"},
      {safetensorsBytes(one(good), "1234", 0x7FFFFFFFFFFFFFFF), "header would be"},
      {safetensorsBytes("", ""), "does not begin"},
      {safetensorsBytes("[]", ""), "does not begin"},
      {safetensorsBytes("{\"a\"", ""), "not JSON"},
      {safetensorsBytes(one(good) + "x", "1234"), "not JSON"},
      {safetensorsBytes(std::string(5000, '{'), ""), "not JSON"},
      {safetensorsBytes("{\"a\":" + std::string(5000, '['), ""), "array where none"},
      {safetensorsBytes("{\"a\":3}", ""), "number where none"},
      {safetensorsBytes("{\"a\":null}", ""), "null where none"},
      {safetensorsBytes("{\"a\":\"b\"}", ""), "text where none"},
      {safetensorsBytes(R"({"__metadata__":{"a":1}})", ""), "number where none"},
      {safetensorsBytes(R"({"__metadata__":{"a":"1","a":"2"}})", ""), "appears twice"},
      {safetensorsBytes(R"({"__metadata__":{},"__metadata__":{}})", ""), "appears twice"},
      {safetensorsBytes(one(R"("dtype":"F33","shape":[1],"data_offsets":[0,4])"), "1234"), "F33"},
      {safetensorsBytes(one(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), "1234"), "negative"},
      {safetensorsBytes(one(R"("dtype":"F32","shape":[1.5],"data_offsets":[0,4])"), "1234"), "whole number"},
      {safetensorsBytes(one(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4])"), "1234"), "whole number"},
      {safetensorsBytes(one(R"("dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4])"), "1234"), "overflows"},
      {safetensorsBytes(one(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4])"), "1234"), "dimensions"},
      {safetensorsBytes(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), "1234"), "takes 8"},
      {safetensorsBytes(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,8])"), "1234"), "past the end"},
      {safetensorsBytes(one(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), "1234"), "before they begin"},
      {safetensorsBytes(one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), "12345678"), "belong to no tensor"},
      {safetensorsBytes(one(good), "12345678"), "belong to no tensor"},
      {safetensorsBytes(one(R"("dtype":"F32","shape":[1],"data_offsets":[0])"), "1234"), "two numbers"},
      {safetensorsBytes(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,8])"), "1234"), "more than two"},
      {safetensorsBytes(one(R"("dtype":"F32","shape":[1])"), "1234"), "missing"},
      {safetensorsBytes(one(good + R"(,"dtype":"F32")"), "1234"), "twice"},
      {safetensorsBytes(one(good + R"(,"extra":1)"), "1234"), "unknown field"},
      {safetensorsBytes("{\"a\":{" + good + "},\"a\":{" + R"("dtype":"F32","shape":[1],"data_offsets":[4,8])" + "}}", "12345678"),
       "appears twice"},
      {safetensorsBytes("{\"a\":{" + good + "},\"b\":{" + R"("dtype":"F32","shape":[1],"data_offsets":[2,6])" + "}}", "123456"), "overlap"},
  };
  for (const auto& [bytes, fault] : cases) {
    const std::string message = faultOf(bytes);
    EXPECT_NE(message.find(fault), std::string::npos) << "expected \"" << fault << "\" in: " << message;
    EXPECT_NE(message.find("file.safetensors"), std::string::npos) << message;
  }
}

TEST(Safetensors, hostileNamesDontReachTheTerminal) {
  const std::string message = faultOf(safetensorsBytes("{\"\\u001b[2J\":{\"dtype\":\"Q\",\"shape\":[],\"data_offsets\":[0,0]}}", ""));
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
  EXPECT_NE(message.find("\\x1b"), std::string::npos);
}

TEST(ShardIndex, namesOutsideTheFolderAndWrongShapesAreRefused) {
  const auto fault = [](const std::string& text) -> std::string {
    try {
      parseShardIndex(text, "index.json");
      return "";
    } catch (const Error& e) {
      return e.what();
    }
  };
  EXPECT_EQ(fault(R"({"metadata":{"total_size":1,"x":[[{}]]},"weight_map":{"a":"m.safetensors"}})"), "");
  for (const char* file : {"../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..", ".", "", "a\\\\b.safetensors"}) {
    EXPECT_NE(fault("{\"weight_map\":{\"a\":\"" + std::string(file) + "\"}}").find("outside the folder"), std::string::npos) << file;
  }
  EXPECT_NE(fault(R"({"weight_map":{"a":"m.bin"}})").find("not a safetensors file"), std::string::npos);
  EXPECT_NE(fault(R"({"weight_map":{"a":"m.safetensors","a":"n.safetensors"}})").find("twice"), std::string::npos);
  EXPECT_NE(fault(R"({"weight_map":[]})").find("not an object"), std::string::npos);
  EXPECT_NE(fault(R"({"weight_map":3})").find("not an object"), std::string::npos);
  EXPECT_NE(fault(R"({"weight_map":{"a":3}})").find("not a file name"), std::string::npos);
  EXPECT_NE(fault(R"({"weight_map":{"a":{}}})").find("not a file name"), std::string::npos);
  EXPECT_NE(fault("{}").find("weight_map"), std::string::npos);
  EXPECT_NE(fault(std::string(100000, '[')).find("deeper"), std::string::npos);
}

}  // namespace
}  // namespace headscope::core
