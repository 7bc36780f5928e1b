// What chat templates offer, hostile ones among them; and two segments in one prompt.
#include "core/tokenizer/chat_template.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "core/tokenizer/prompt_builder.h"
#include "tests/support/golden.h"

using namespace headscope::core;
using namespace headscope::tests;
namespace fs = std::filesystem;

namespace {

constexpr const char* kTokenizer = R"({"model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "user": 1, "</s>": 2}},
  "pre_tokenizer": {"type": "Whitespace"}, "added_tokens": [
  {"id": 2, "content": "</s>", "special": true}, {"id": 3, "content": "<|im_start|>", "special": true},
  {"id": 4, "content": "<|im_end|>", "special": true}, {"id": 5, "content": "<s>", "special": true},
  {"id": 6, "content": "<unused>", "special": true}]})";

class ChatTemplateFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() /
             ("headscope_chat_" + std::to_string(::getpid()) + "_" + ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }
  void write(const char* name, const std::string& text) const { std::ofstream(folder / name, std::ios::binary) << text; }
  auto read() const { return readChatTemplate(folder, *tokenizer); }

  fs::path folder;
  std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::fromJson(kTokenizer, "t");
};

}  // namespace

TEST_F(ChatTemplateFiles, nothingWhereThereIsNone) {
  EXPECT_FALSE(read());
  write("tokenizer_config.json", R"({"chat_template": null})");
  EXPECT_FALSE(read());
}

TEST_F(ChatTemplateFiles, tokensInTheOrderOfTheTemplate) {
  write("tokenizer_config.json", R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>",
    "chat_template": "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"})");
  const auto chat = read();
  ASSERT_TRUE(chat);
  EXPECT_EQ(chat->name, "ChatML");
  EXPECT_EQ(chat->tokens, (std::vector<std::string>{"<s>", "<|im_start|>", "<|im_end|>"}));
  EXPECT_EQ(chat->around("Hi"), "<s><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST_F(ChatTemplateFiles, namedTemplatesAndFilesOfTheirOwn) {
  write("tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "x </s>"},
    {"name": "default", "template": "[INST] </s>"}]})");
  EXPECT_EQ(read()->name, "Llama 2");
  EXPECT_EQ(read()->around("Hi"), "[INST] Hi [/INST]");
  write("chat_template.json", R"({"chat_template": "<|im_start|> <|im_end|>"})");
  EXPECT_EQ(read()->name, "ChatML");
  write("chat_template.jinja", "nothing that is known </s>");
  EXPECT_EQ(read()->name, "");
  EXPECT_EQ(read()->tokens, (std::vector<std::string>{"</s>"}));
}

TEST_F(ChatTemplateFiles, aShapeWhoseTokensTheVocabularyLacksIsNotOffered) {
  write("chat_template.jinja", "<|start_header_id|>user<|end_header_id|> <start_of_turn>");
  ASSERT_TRUE(read());
  EXPECT_EQ(read()->after, "");
  EXPECT_TRUE(read()->tokens.empty());
}

TEST_F(ChatTemplateFiles, hostileOnesAreHarmless) {
  const std::string loop = "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}{% include self %}";
  write("chat_template.jinja", loop + "{% for i in range(10**9) %}<|im_start|><|im_end|>{% endfor %}");
  EXPECT_EQ(read()->name, "ChatML");
  std::string huge;
  while (huge.size() < (3u << 20)) huge += "{{ '<|im_start|>' * 1000000000 }}";
  write("chat_template.jinja", huge);
  EXPECT_NE(read()->note.find("256 KB"), std::string::npos);
  fs::remove(folder / "chat_template.jinja");
  for (const std::string& bad : {std::string("{"), std::string(5000, '['), std::string("[]"), std::string("{\"chat_template\": 3}"),
                                 std::string("{\"chat_template\": [3, {\"name\": 1, \"template\": {}}]}"),
                                 "{\"a\": " + std::string(200, '[') + std::string(200, ']') + ", \"chat_template\": \"x\"}"}) {
    write("tokenizer_config.json", bad);
    EXPECT_FALSE(read()) << bad.substr(0, 40);
  }
}

TEST_F(ChatTemplateFiles, aFirstTokenThatOnlyTheConfigAsksForIsSaid) {
  EXPECT_EQ(missingFirstTokenNote(folder, *tokenizer), "");
  write("tokenizer_config.json", R"({"add_bos_token": true, "bos_token": "<s>"})");
  EXPECT_NE(missingFirstTokenNote(folder, *tokenizer).find("\"<s>\""), std::string::npos);
  write("tokenizer_config.json", R"({"add_bos_token": true, "bos_token": "<absent>"})");
  EXPECT_EQ(missingFirstTokenNote(folder, *tokenizer), "");
}

TEST(PromptPair, isWhatTheTokenizersPackageMakes) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto tokenizer = Tokenizer::open(goldenFolder() / "tokenizers" / "bert_wordpiece");
  Job job;
  const auto prompt = promptFromPair(*tokenizer, "the cat [MASK] on", "a mat.", 64, job);
  const std::vector<int32_t> expectedIds = {2, 224, 826, 4, 263, 3, 30, 486, 14, 3}, expectedTypes = {0, 0, 0, 0, 0, 0, 1, 1, 1, 1};
  std::vector<int32_t> types;
  for (const Token& token : prompt->tokens) types.push_back(token.segment);
  EXPECT_EQ(prompt->ids(), expectedIds);
  EXPECT_EQ(types, expectedTypes);
  EXPECT_EQ(promptFromPair(*tokenizer, "the cat", "", 64, job)->ids(), promptFromText(*tokenizer, "the cat", true, 64, job)->ids());
}

TEST(PromptPair, theEndIsCutAndItsLastTokenStays) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto tokenizer = Tokenizer::open(goldenFolder() / "tokenizers" / "bert_wordpiece");
  Job job;
  const auto whole = promptFromPair(*tokenizer, "the cat", "sat on the mat and the dog", -1, job);
  const auto cut = promptFromPair(*tokenizer, "the cat", "sat on the mat and the dog", whole->count() - 3, job);
  ASSERT_EQ(cut->count(), whole->count() - 3);
  EXPECT_EQ(cut->tokens.back().id, whole->tokens.back().id);
  EXPECT_EQ(cut->tokens[cut->tokens.size() - 2].id, whole->tokens[cut->tokens.size() - 2].id);
  ASSERT_FALSE(cut->notes.empty());
  EXPECT_NE(cut->notes.back().find("the last 3 are cut"), std::string::npos);
}
