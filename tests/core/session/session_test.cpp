#include "core/session/session.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/base/error.h"
#include "core/session/folder_hash.h"

namespace headscope::core {
namespace {

Session full() {
  Session s;
  s.model = "tales", s.modelHash = "0123456789abcdef", s.adapter = "tales_shakespeare", s.adapterHash = "ff", s.strength = 0.75;
  s.prompt = "The wolf said \"so\" \xE2\x80\x93 <b>&amp;\n\x01 \xF0\x9F\x99\x82";
  s.image = "cat.png", s.mechanism = "local:window=64", s.replacedHeads = "3.1,4.*";
  PaneState pane;
  pane.view = "attention_map";
  pane.options.scale = ColorScale::Log, pane.options.hideFirst = false, pane.options.limits = {1e-4, 0.7};
  pane.options.firstRow = 2, pane.options.rows = 10.5, pane.options.firstCol = 3, pane.options.cols = 10.5;
  pane.options.threshold = 0.1, pane.options.sortBy = "induction", pane.options.numbers["offset"] = -3,
  pane.options.words["matrix"] = "W_OV";
  s.panes = {pane, {"head_grid", {}}};
  s.selection = {3, 1, 5, 2, {{2, 0}, {3, 1}}};
  s.theme = "dark", s.figure = {178, 8, true};
  return s;
}

std::string faultOf(const std::string& json) {
  try {
    parseSession(json, "file.svg");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Session, ThereAndBack) {
  const Session s = full();
  const std::string json = toJson(s);
  EXPECT_EQ(parseSession(json, "here"), s);
  EXPECT_EQ(toJson(parseSession(json, "here")), json);
  for (const char c : json) EXPECT_TRUE(c >= 0x20 && c < 0x7F);
  Session ids;
  ids.ids = {1, 2, 3};
  EXPECT_EQ(parseSession(toJson(ids), "here"), ids);
}

TEST(Session, InvalidUtf8InThePromptIsReplacedNotFatal) {
  Session s;
  s.prompt = "a\xFFz";
  EXPECT_EQ(parseSession(toJson(s), "here").prompt, "a\xEF\xBF\xBDz");
}

TEST(Session, UnknownFieldsAreIgnoredAndMissingOnesDefault) {
  EXPECT_EQ(parseSession("{\"later\": [1, {}], \"model\": \"m\"}", "here").model, "m");
  EXPECT_EQ(parseSession("{}", "here").figure.width_mm, 86);
}

TEST(Session, ComplaintsNameTheFileAndTheField) {
  const std::pair<const char*, const char*> cases[] = {{"", "not valid JSON"},
                                                       {"[]", "not an object"},
                                                       {"{", "byte"},
                                                       {"{\"model\": 3}", "\"model\""},
                                                       {"{\"version\": 9}", "version 9"},
                                                       {"{\"ids\": [1, -2]}", "\"ids\""},
                                                       {"{\"ids\": [1e3]}", "\"ids\""},
                                                       {"{\"ids\": [18446744073709551615]}", "\"ids\""},
                                                       {"{\"strength\": 1e999}", ""},
                                                       {"{\"panes\": [{\"options\": {\"scale\": \"rainbow\"}}]}", "panes[0].options.scale"},
                                                       {"{\"panes\": [{\"options\": {\"limits\": [2, 1]}}]}", "panes[0].options.limits"},
                                                       {"{\"panes\": 7}", "\"panes\""},
                                                       {"{\"panes\": [{\"options\": {\"numbers\": {\"x\": \"y\"}}}]}", "numbers.x"},
                                                       {"{\"selection\": {\"layer\": -4}}", "selection.layer"},
                                                       {"{\"selection\": {\"brushed\": [[1]]}}", "selection.brushed"},
                                                       {"{\"theme\": \"pink\"}", "\"theme\""},
                                                       {"{\"figure\": {\"width_mm\": 1e9}}", "figure.width_mm"}};
  for (const auto& [json, part] : cases) {
    const std::string fault = faultOf(json);
    EXPECT_NE(fault.find(part), std::string::npos) << json << " gave: " << fault;
    EXPECT_NE(fault.find("file.svg"), std::string::npos) << json << " gave: " << fault;
  }
}

TEST(Session, DepthAndSizeAreBounded) {
  EXPECT_NE(faultOf(std::string(100'000, '[')), "");
  EXPECT_NE(faultOf("{\"x\":" + std::string(200, '[') + std::string(200, ']') + "}").find("deeper"), std::string::npos);
  EXPECT_NE(faultOf("{\"model\":\"" + std::string(33u << 20, 'x') + "\"}").find("32 MB"), std::string::npos);
  std::string panes = "{\"panes\":[{}";
  for (int i = 0; i < 20; ++i) panes += ",{}";
  EXPECT_NE(faultOf(panes + "]}").find("panes"), std::string::npos);
}

TEST(FolderHash, SeesConfigAndWeights) {
  const auto folder = std::filesystem::temp_directory_path() / ("headscope_hash_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  EXPECT_EQ(folderHash(folder), "");
  EXPECT_EQ(folderHash(folder / "absent"), "");
  const auto write = [&](const char* name, const std::string& text) { std::ofstream(folder / name, std::ios::binary) << text; };
  write("config.json", "{}");
  write("model.safetensors", std::string("\2\0\0\0\0\0\0\0{}abc", 13));
  const std::string first = folderHash(folder);
  EXPECT_EQ(first.size(), 16u);
  EXPECT_EQ(folderHash(folder), first);
  write("model.safetensors", std::string("\2\0\0\0\0\0\0\0{}abd", 13));
  EXPECT_NE(folderHash(folder), first);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace headscope::core
