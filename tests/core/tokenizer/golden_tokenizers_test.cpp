// Every case of golden/tokenizers: ids, pieces, offsets and decoded text as the tokenizers package has them.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/tokenizer/tokenizer.h"
#include "tests/support/golden.h"

namespace headscope::tests {
namespace {

namespace fs = std::filesystem;

std::string runCase(const core::Tokenizer& tokenizer, const nlohmann::json& expected) {
  core::Job job;
  const core::Encoding encoding = tokenizer.encode(expected["text"].get<std::string>(), expected["special"].get<bool>(), job);
  nlohmann::json found = {{"ids", nlohmann::json::array()}, {"pieces", nlohmann::json::array()}, {"offsets", nlohmann::json::array()}};
  std::vector<int32_t> ids;
  for (const core::Encoding::Entry& entry : encoding.entries) {
    ids.push_back(entry.id);
    found["ids"].push_back(entry.id);
    found["pieces"].push_back(entry.piece);
    found["offsets"].push_back({entry.begin, entry.end});
  }
  found["decoded"] = tokenizer.decode(ids);
  for (const char* name : {"ids", "pieces", "offsets", "decoded"}) {
    if (found[name] != expected[name])
      return std::string(name) + " of " + expected["text"].dump() + ": " + found[name].dump() + ", not " + expected[name].dump();
  }
  return {};
}

TEST(GoldenTokenizers, EveryCaseIsEqual) {
  HEADSCOPE_REQUIRE_GOLDEN();
  int kinds = 0;
  for (const auto& entry : fs::directory_iterator(goldenFolder() / "tokenizers")) {
    ++kinds;
    const auto tokenizer = core::Tokenizer::open(entry.path());
    std::ifstream file(entry.path() / "cases.json");
    const nlohmann::json cases = nlohmann::json::parse(file);
    int faults = 0;
    for (const nlohmann::json& expected : cases) {
      const std::string fault = runCase(*tokenizer, expected);
      if (!fault.empty() && ++faults <= 5) ADD_FAILURE() << entry.path().filename() << ": " << fault;
    }
    EXPECT_EQ(faults, 0) << entry.path().filename() << ": of " << cases.size() << " cases";
    EXPECT_GT(cases.size(), 0U);
  }
  EXPECT_GE(kinds, 7);
}

}  // namespace
}  // namespace headscope::tests
