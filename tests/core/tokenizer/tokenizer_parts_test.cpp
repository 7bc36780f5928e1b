// Parts of the pipeline on small examples whose outcome the tokenizers package gives.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/tokenizer/prompt_builder.h"
#include "core/tokenizer/regex.h"
#include "core/tokenizer/regex_syntax.h"
#include "core/tokenizer/tokenizer.h"
#include "core/tokenizer/unicode.h"

namespace headscope::tests {
namespace {

namespace fs = std::filesystem;
using core::Tokenizer;

std::shared_ptr<const Tokenizer> tokenizerOf(const std::string& members) {
  return Tokenizer::fromJson("{" + members + "}", "tokenizer.json");
}

/// "piece[begin,end) ..." of a text.
std::string shown(const Tokenizer& tokenizer, const std::string& text, bool withSpecial = true) {
  core::Job job;
  std::ostringstream out;
  for (const auto& entry : tokenizer.encode(text, withSpecial, job).entries) {
    if (out.tellp() > 0) out << ' ';
    out << entry.piece << '[' << entry.begin << ',' << entry.end << ')';
  }
  return out.str();
}

/// Every split of a text as one unknown token: what a normalizer and a pre-tokenizer do.
std::string splits(const std::string& members, const std::string& text) {
  return shown(*tokenizerOf(members + R"(,"model":{"type":"WordLevel","unk_token":"?","vocab":{"?":0}})"), text);
}

TEST(PreTokenizers, CutAsTheReferenceCuts) {
  const auto split = [](const std::string& behaviour) {
    return R"("pre_tokenizer":{"type":"Split","pattern":{"String":"-"},"behavior":")" + behaviour + R"("})";
  };
  EXPECT_EQ(splits(split("Removed"), "a-b--c"), "?[0,1) ?[2,3) ?[5,6)");
  EXPECT_EQ(splits(split("Isolated"), "a-b--c"), "?[0,1) ?[1,2) ?[2,3) ?[3,4) ?[4,5) ?[5,6)");
  EXPECT_EQ(splits(split("MergedWithPrevious"), "a-b--c"), "?[0,2) ?[2,4) ?[4,5) ?[5,6)");
  EXPECT_EQ(splits(split("MergedWithNext"), "a-b--c"), "?[0,1) ?[1,3) ?[3,4) ?[4,6)");
  EXPECT_EQ(splits(split("Contiguous"), "a-b--c"), "?[0,1) ?[1,2) ?[2,3) ?[3,5) ?[5,6)");
  EXPECT_EQ(splits(R"("pre_tokenizer":{"type":"Digits","individual_digits":true})", "a12b"), "?[0,1) ?[1,2) ?[2,3) ?[3,4)");
  EXPECT_EQ(splits(R"("pre_tokenizer":{"type":"Whitespace"})", "Hey, you_2"), "?[0,3) ?[3,4) ?[5,10)");
  EXPECT_EQ(splits(R"("pre_tokenizer":{"type":"Metaspace"})", "a  b"), "?[0,1) ?[1,2) ?[2,4)");
}

TEST(AddedTokens, StripSpacesAndNumberThemselves) {
  const auto tokenizer = tokenizerOf(
      R"("added_tokens":[{"id":10,"content":"<x>","lstrip":true,"rstrip":true,"normalized":false,"special":true},{"id":20,"content":"<y>"}],)"
      R"("model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})");
  EXPECT_EQ(shown(*tokenizer, "ab  <x> ab<y>zb"), "ab[0,2)   <x> [2,8) ab[8,10) <y>[10,13) b[13,14)");
  EXPECT_EQ(tokenizer->idOf("<x>"), 3);
  EXPECT_EQ(tokenizer->idOf("<y>"), 4);
  EXPECT_TRUE(tokenizer->isSpecial(3));
  EXPECT_FALSE(tokenizer->isSpecial(4));
  EXPECT_EQ(tokenizer->size(), 5);
}

TEST(Bpe, LongWordsOfOneLetterTakeLinearlyMany) {
  const auto tokenizer = tokenizerOf(R"("model":{"type":"BPE","vocab":{"a":0,"aa":1,"aaaa":2},"merges":["a a","aa aa"]})");
  core::Job job;
  const auto encoding = tokenizer->encode(std::string(200002, 'a'), true, job);
  ASSERT_EQ(encoding.entries.size(), 50001U);
  EXPECT_EQ(encoding.entries.back().piece, "aa");
  EXPECT_EQ(encoding.entries.back().end, 200002);
}

TEST(Bpe, ByteFallbackGivesOffsetsOfTheCharacter) {
  const auto tokenizer = tokenizerOf(
      R"("decoder":{"type":"ByteFallback"},"model":{"type":"BPE","unk_token":"?","byte_fallback":true,"vocab":{"?":0,"a":1,"<0xC3>":2,"<0xA9>":3},"merges":[]})");
  EXPECT_EQ(shown(*tokenizer, "aéa"), "a[0,1) <0xC3>[1,2) <0xA9>[1,2) a[2,3)");
  EXPECT_EQ(tokenizer->decode({1, 2, 3}), "aé");
  EXPECT_EQ(tokenizer->decode({1, 2}), "a\xEF\xBF\xBD");
  EXPECT_EQ(tokenizer->bytesOf(2), "\xC3");
  const core::Token half = core::tokenOf(tokenizer.get(), 2), unknown = core::tokenOf(tokenizer.get(), 9);
  EXPECT_EQ(half.bytes, "\xC3") << "as stored, not as a replacement character: labels tell such tokens apart";
  EXPECT_EQ(half.piece, "<0xC3>");
  EXPECT_EQ(unknown.id, 9);
  EXPECT_EQ(unknown.bytes + unknown.piece, "");
}

TEST(InvalidUtf8, BecomesReplacementCharacters) {
  EXPECT_EQ(core::repairUtf8("a\xE2\x96z\xFF\xC0\x80"), "a\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_TRUE(core::isValidUtf8("aé\xF0\x9F\x99\x82"));
  EXPECT_FALSE(core::isValidUtf8("\xED\xA0\x80"));
}

TEST(RegexSyntax, WhatDiffersIsRewritten) {
  EXPECT_EQ(core::pcreFromOniguruma("(?m:.)\\h", ""), "(?s:.)[0-9A-Fa-f]");
  EXPECT_EQ(core::pcreFromOniguruma("a{2,3}+b{,4}\\u00e9", ""), "(?:a{2,3})+b{0,4}\\x{00e9}");
  core::Job job;
  const auto matches = [&](const std::string& pattern, const std::string& text) {
    int count = 0;
    core::Regex regex(pattern, "");
    core::Regex::Matcher(regex).forEachPart(text, job, [&](size_t, size_t, bool isMatch) { count += isMatch ? 1 : 0; });
    return count;
  };
  EXPECT_EQ(matches("[a-z&&[^aeiou]]", "abcde"), 3);
  EXPECT_EQ(matches("[[a-c][x-z]0]", "a0xq"), 3);
  EXPECT_EQ(matches("\\p{Han}", "a你、"), 1);
  EXPECT_EQ(matches("^a", "a\na"), 2);
  EXPECT_EQ(matches("\\s", "\xE1\xA0\x8E "), 1);  // U+180E is no space
}

TEST(OlderFiles, AreReadAsWhatTheyMean) {
  const fs::path folder = fs::temp_directory_path() / ("headscope_older_files_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const auto write = [&](const char* name, const std::string& text) { std::ofstream(folder / name) << text; };
  write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhe\n##llo\n");
  EXPECT_EQ(shown(*Tokenizer::open(folder), "Hello [MASK]x"), "[CLS][0,0) he[0,2) ##llo[2,5) [MASK][6,12) [UNK][12,13) [SEP][0,0)");
  write("vocab.json", R"({"a":0,"b":1,"ab":2,"<|endoftext|>":3})");
  write("merges.txt", "#version: 0.2\na b\n");
  const auto gpt2 = Tokenizer::open(folder);
  EXPECT_EQ(shown(*gpt2, "ab<|endoftext|>"), "ab[0,2) <|endoftext|>[2,15)");
  EXPECT_TRUE(gpt2->isSpecial(3));
  fs::remove_all(folder);
}

TEST(Prompts, FromTextAreCutWithANote) {
  const auto tokenizer = tokenizerOf(
      R"("post_processor":{"type":"BertProcessing","cls":["<",1],"sep":[">",2]},"model":{"type":"WordLevel","unk_token":"?","vocab":{"?":0,"<":1,">":2}},)"
      R"("added_tokens":[{"content":"<","special":true},{"content":">","special":true}],"pre_tokenizer":{"type":"WhitespaceSplit"})");
  core::Job job;
  const auto whole = core::promptFromText(*tokenizer, "a b c d", true, -1, job);
  EXPECT_EQ(whole->ids(), (std::vector<int32_t>{1, 0, 0, 0, 0, 2}));
  EXPECT_TRUE(whole->notes.empty());
  const auto cut = core::promptFromText(*tokenizer, "a b c d", true, 4, job);
  EXPECT_EQ(cut->ids(), (std::vector<int32_t>{1, 0, 0, 2}));
  ASSERT_EQ(cut->notes.size(), 1U);
  EXPECT_EQ(cut->notes[0], "prompt has 6 tokens, the model's context is 4: the last 2 are cut");
  std::string longText;
  for (int i = 0; i < 600000; ++i) longText += "word ";
  const auto longCut = core::promptFromText(*tokenizer, longText, false, 100, job);
  EXPECT_EQ(longCut->count(), 100);
  ASSERT_EQ(longCut->notes.size(), 1U);
}

TEST(Prompts, FromIdsAndRandomTokens) {
  const auto prompt = core::promptFromIds(nullptr, {3, 4}, {0, 1});
  EXPECT_EQ(prompt->tokens[1].segment, 1);
  EXPECT_ANY_THROW(core::promptFromIds(nullptr, {3, 4}, {0}));
  EXPECT_ANY_THROW(core::promptFromIds(nullptr, {-3}, {}));
  const auto repeated = core::promptOfRepeatedTokens(nullptr, 1000, 50, 1, false);
  ASSERT_EQ(repeated->count(), 100);
  for (size_t i = 0; i < 50; ++i) EXPECT_EQ(repeated->tokens[i].id, repeated->tokens[i + 50].id);
  EXPECT_EQ(core::promptOfRepeatedTokens(nullptr, 1000, 50, 1, false)->ids(), repeated->ids());
  EXPECT_NE(core::promptOfRepeatedTokens(nullptr, 1000, 50, 2, false)->ids(), repeated->ids());
}

}  // namespace
}  // namespace headscope::tests
