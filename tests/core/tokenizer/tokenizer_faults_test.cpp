// Broken and hostile tokenizers: an Error that names the place, never a crash, never without end.
#include <gtest/gtest.h>

#include <string>

#include "core/base/error.h"
#include "core/tokenizer/tokenizer.h"

namespace headscope::tests {
namespace {

using core::Error;
using core::Tokenizer;

/// A small BPE tokenizer.json with one more member ("\"normalizer\": ...").
std::string documentWith(const std::string& members, const std::string& model) {
  return "{" + members + (members.empty() ? "" : ",") + "\"model\":" + model + "}";
}
const std::string kModel = R"({"type":"BPE","unk_token":"?","vocab":{"a":0,"b":1,"ab":2,"?":3},"merges":["a b"]})";

/// What opening (and encoding of text) says; "" when nothing is wrong.
std::string faultOf(const std::string& json, const std::string& text = "ab") {
  try {
    core::Job job;
    Tokenizer::fromJson(json, "tokenizer.json")->encode(text, true, job);
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

void expectFault(const std::string& json, const std::string& part, const std::string& text = "ab") {
  const std::string fault = faultOf(json, text);
  EXPECT_NE(fault.find(part), std::string::npos) << "said: " << fault << "\nfor: " << json.substr(0, 300);
  EXPECT_NE(fault.find("tokenizer.json"), std::string::npos) << fault;
}

TEST(TokenizerFaults, GoodOneIsGood) { EXPECT_EQ(faultOf(documentWith("", kModel)), ""); }

TEST(TokenizerFaults, BrokenJson) {
  expectFault("", "JSON");
  expectFault("[]", "object");
  expectFault("{\"model\":", "JSON");
  expectFault(std::string(100000, '['), "64 levels");
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "{\"a\":";
  expectFault(deep, "64 levels");
  expectFault("{}", "model");
  expectFault(documentWith("", R"({"type":"BPE"})"), "vocab");
  expectFault(documentWith("", R"({"type":"BPE","vocab":[],"merges":[]})"), "vocab");
  expectFault(documentWith("", R"({"type":"BPE","vocab":{"a":"x"},"merges":[]})"), "\"a\"");
  expectFault(documentWith("", R"({"type":"BPE","vocab":{"a":-1},"merges":[]})"), "out of range");
  expectFault(documentWith("", R"({"type":"BPE","vocab":{"a":99999999999},"merges":[]})"), "out of range");
  expectFault(documentWith("", R"({"type":"BPE","vocab":{"a":18446744073709551615},"merges":[]})"), "out of range");
  expectFault(documentWith("", R"({"type":"BPE","vocab":{"a":{}},"merges":[]})"), "object");
}

TEST(TokenizerFaults, Merges) {
  const auto model = [](const std::string& merges) {
    return documentWith("", R"({"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"":3},"merges":)" + merges + "}");
  };
  expectFault(model(R"(["a"])"), "merge 0");
  expectFault(model(R"(["a b c"])"), "merge 0");
  expectFault(model(R"([["a","b"],["a"]])"), "merge 1");
  expectFault(model(R"([["a","b","c"]])"), "two strings");
  expectFault(model(R"([["a",1]])"), "two strings");
  expectFault(model(R"([["a","x"]])"), "\"x\"");
  expectFault(model(R"([["b","a"]])"), "\"ba\"");
  expectFault(model(R"([["","a"]])"), "cyclic");
  EXPECT_EQ(faultOf(model(R"([["a","b"],["a","b"]])")), "");
}

TEST(TokenizerFaults, WhatIsNotSupportedIsNamed) {
  expectFault(documentWith("", R"({"type":"Unigram","unk_id":0,"vocab":[["a",-1.0],["b",[2]]]})"), "Unigram");
  expectFault(documentWith(R"("normalizer":{"type":"Precompiled","precompiled_charsmap":"AA=="})", kModel), "Precompiled");
  expectFault(documentWith(R"("normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Odd"}]})", kModel), "normalizers[1]");
  expectFault(documentWith(R"("pre_tokenizer":{"type":"UnicodeScripts"})", kModel), "UnicodeScripts");
  expectFault(documentWith(R"("decoder":{"type":"Odd"})", kModel), "Odd");
  expectFault(documentWith(R"("post_processor":{"type":"Odd"})", kModel), "Odd");
  expectFault(documentWith(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"a"},"behavior":"Sideways"})", kModel), "Sideways");
  expectFault(documentWith(R"("pre_tokenizer":{"type":"Metaspace","prepend_scheme":"odd"})", kModel), "odd");
  expectFault(documentWith(R"("pre_tokenizer":{"type":"Metaspace","replacement":""})", kModel), "single character");
  expectFault(documentWith(R"("normalizer":3)", kModel), "object");
}

TEST(TokenizerFaults, NestingIsBounded) {
  std::string inner = R"({"type":"NFC"})";
  for (int i = 0; i < 20; ++i) inner = R"({"type":"Sequence","normalizers":[)" + inner + "]}";
  expectFault(documentWith("\"normalizer\":" + inner, kModel), "nested too deeply");
}

TEST(TokenizerFaults, RegularExpressions) {
  const auto split = [](const std::string& pattern) {
    return documentWith(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":")" + pattern + R"("},"behavior":"Isolated"})", kModel);
  };
  for (const char* broken : {"(", "[a", "a{2,1}", "\\\\p{Odd}", "\\\\p{L", "(?<=a*)b", "\\\\u12"})
    expectFault(split(broken), "regular expression");
  expectFault(split(std::string(70000, 'a')), "65,536");
  // Exponential: both end and name the pattern.
  expectFault(split("(a+)+$"), "(a+)+$", std::string(60, 'a') + "b");
  expectFault(split("(a|aa)+[bc]"), "(a|aa)+[bc]", std::string(100, 'a'));
  EXPECT_EQ(faultOf(split("")), "");
  EXPECT_EQ(faultOf(split("x*")), "");
}

TEST(TokenizerFaults, Templates) {
  const auto with = [](const std::string& single, const std::string& specials) {
    return documentWith(
        R"("post_processor":{"type":"TemplateProcessing","single":)" + single + R"(,"pair":[],"special_tokens":)" + specials + "}", kModel);
  };
  const std::string a = R"({"Sequence":{"id":"A","type_id":0}})";
  const std::string cls = R"({"SpecialToken":{"id":"[CLS]","type_id":0}})";
  EXPECT_EQ(faultOf(with("[" + cls + "," + a + "]", R"({"[CLS]":{"id":"[CLS]","ids":[1],"tokens":["[CLS]"]}})")), "");
  expectFault(with("[" + cls + "," + a + "]", "{}"), "[CLS]");
  expectFault(with("[" + a + "," + a + "]", "{}"), "repeats");
  expectFault(with(R"([{"Sequence":{"id":"B","type_id":0}}])", "{}"), "\"B\"");
  expectFault(with("[" + cls + "]", R"({"[CLS]":{"id":"[CLS]","ids":[1,2],"tokens":["[CLS]"]}})"), "one length");
  expectFault(with("[" + cls + "]", R"({"[CLS]":{"id":"[CLS]","ids":[99999999999],"tokens":["[CLS]"]}})"), "out of range");
  // Special tokens that name each other are looked up once, never followed.
  EXPECT_EQ(faultOf(with("[" + cls + "]", R"({"[CLS]":{"id":"[CLS]","ids":[1],"tokens":["[CLS]"]}})")), "");
}

TEST(TokenizerFaults, UnknownWithoutUnknownToken) {
  expectFault(documentWith("", R"({"type":"BPE","unk_token":"?","vocab":{"a":0},"merges":[]})"), "unk_token", "z");
  expectFault(documentWith("", R"({"type":"WordPiece","unk_token":"?","vocab":{"a":0}})"), "unk_token", "z");
  expectFault(documentWith("", R"({"type":"WordLevel","unk_token":"?","vocab":{"a":0}})"), "unk_token", "z");
}

TEST(TokenizerFaults, AddedTokens) {
  expectFault(documentWith(R"("added_tokens":{})", kModel), "list");
  expectFault(documentWith(R"("added_tokens":[{"id":1}])", kModel), "content");
  expectFault(documentWith(R"("added_tokens":[{"id":1,"content":")" + std::string(5000, 'x') + R"("}])", kModel), "4,096");
  EXPECT_EQ(faultOf(documentWith(R"("added_tokens":[{"id":1,"content":""}])", kModel)), "");
}

TEST(TokenizerFaults, ACancelledRunStops) {
  const auto tokenizer = Tokenizer::fromJson(documentWith("", kModel), "tokenizer.json");
  core::Job job;
  job.cancel();
  EXPECT_THROW(tokenizer->encode(std::string(100000, 'a'), true, job), core::Cancelled);
}

TEST(TokenizerFaults, FoldersWithoutTokenizer) { EXPECT_THROW(Tokenizer::open("/nonexistent/folder"), Error); }

}  // namespace
}  // namespace headscope::tests
