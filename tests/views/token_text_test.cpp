#include "views/token_text.h"

#include "tests/views/support.h"
#include "views/figure/axis.h"

namespace headscope::views {
namespace {

TEST(TokenText, ShowsSpacesAndLineEnds) {
  EXPECT_EQ(visibleText(" the"), "·the");
  EXPECT_EQ(visibleText("   "), "···");
  EXPECT_EQ(visibleText("\n"), "↵");
  EXPECT_EQ(visibleText("\t\r"), "⇥\\r");
  EXPECT_EQ(visibleText(""), "");
  EXPECT_EQ(visibleText("100%##x"), "100%##x");
}

TEST(TokenText, EscapesWhatCannotBeSeen) {
  EXPECT_EQ(visibleText(std::string("\0", 1)), "\\x00");
  EXPECT_EQ(visibleText("\x07\x7F"), "\\x07\\x7F");
  EXPECT_EQ(visibleText("\xE2\x80"), "\\xE2\\x80");
  EXPECT_EQ(visibleText("a\xFF"), "a\\xFF");
  EXPECT_EQ(visibleText("\xC0\x80"), "\\xC0\\x80");           // overlong
  EXPECT_EQ(visibleText("\xED\xA0\x80"), "\\xED\\xA0\\x80");  // surrogate
  EXPECT_EQ(visibleText("\xF4\x90\x80\x80"), "\\xF4\\x90\\x80\\x80");
  EXPECT_EQ(visibleText("\u200B"), "\\u{200B}");
  EXPECT_EQ(visibleText("\u202E"), "\\u{202E}");
  EXPECT_EQ(visibleText("\u00A0"), "\\u{A0}");
  EXPECT_EQ(visibleText("\u0301"), "◌\u0301");
  EXPECT_EQ(visibleText("e\u0301"), "e\u0301");
}

TEST(TokenText, KeepsOtherScripts) {
  for (const char* text : {"Ελληνικά", "Кириллица", "漢字かな", "한글", "🙂"}) EXPECT_EQ(visibleText(text), text);
}

TEST(TokenText, EscapesBeyondTheBasicPlaneForTheScreenOnly) {
  EXPECT_EQ(escapeBeyondBmp("a🙂b"), "aU+1F642b");
  EXPECT_EQ(escapeBeyondBmp("漢"), "漢");
  EXPECT_EQ(escapeBeyondBmp("x\xFF"), "x\\xFF");
}

TEST(TokenText, LabelsTokens) {
  core::Token t;
  t.id = 17;
  EXPECT_EQ(tokenLabel(t), "#17");
  t.piece = "Ġthe", t.bytes = " the";
  EXPECT_EQ(tokenLabel(t), "·the");
  t.piece = "<s>", t.bytes = "<s>", t.isSpecial = true;
  EXPECT_EQ(tokenLabel(t), "<s>");
}

TEST(TokenText, PlainTextKeepsSpaces) { EXPECT_EQ(plainText("a b\nc\x01"), "a b c\\x01"); }

TEST(TokenText, Elides) {
  const tests::FixedMeasure measure;
  const Font font{FontFace::Mono, 10};  // 6 points a character
  EXPECT_EQ(elide("grandmother", font, 100, measure), "grandmother");
  EXPECT_EQ(elide("grandmother", font, 30, measure), "gran…");
  EXPECT_EQ(elide("漢字漢字漢字", font, 18, measure), "漢字…");
  EXPECT_EQ(elide("grandmother", font, 5, measure), "");
}

TEST(Axis, RoundTicks) {
  EXPECT_EQ(roundTicks(0, 1, 5), (std::vector<double>{0, 0.5, 1}));
  EXPECT_EQ(roundTicks(0, 10, 6), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_TRUE(roundTicks(1, 1, 5).empty());
  for (const auto& [low, high] : {std::pair{0.0, 37.0}, {-3.0, 1e4}, {0.001, 0.0042}}) {
    const auto ticks = roundTicks(low, high, 5);
    EXPECT_GE(ticks.size(), 2u);
    EXPECT_LE(ticks.size(), 5u);
    EXPECT_GE(ticks.front(), low - 1e-9);
    EXPECT_LE(ticks.back(), high + 1e-9);
  }
  EXPECT_EQ(decadeTicks(1e-3, 10, 5), (std::vector<double>{1e-3, 1e-2, 1e-1, 1, 10}));
  EXPECT_LE(decadeTicks(1e-12, 10, 5).size(), 5u);
}

TEST(Axis, tickLabelsTellNeighboursApart) {
  EXPECT_EQ(tickLabels({181, 181.5, 182, 182.5}), (std::vector<std::string>{"181", "181.5", "182", "182.5"}));
  EXPECT_EQ(tickLabels({0, 0.5, 1}), (std::vector<std::string>{"0", "0.5", "1"}));
  EXPECT_EQ(tickLabels({12340, 12350}), (std::vector<std::string>{"12340", "12350"}));
  EXPECT_EQ(tickLabels({1e-5, 1e-4}), (std::vector<std::string>{"1e-5", "1e-4"}));
  EXPECT_EQ(tickLabels({1.002e-5, 1.004e-5}), (std::vector<std::string>{"1.002e-5", "1.004e-5"}));
  EXPECT_EQ(tickLabels({128}), (std::vector<std::string>{"128"}));
  EXPECT_TRUE(tickLabels({}).empty());
}

TEST(Axis, Numbers) {
  EXPECT_EQ(shortNumber(0.41899), "0.419");
  EXPECT_EQ(shortNumber(1), "1");
  EXPECT_EQ(shortNumber(0.5), "0.5");
  EXPECT_EQ(shortNumber(12.3456), "12.3");
  EXPECT_EQ(shortNumber(1234.5), "1234");
  EXPECT_EQ(shortNumber(0.00001), "1e-5");
  EXPECT_EQ(shortNumber(-2.5e7), "-2.5e7");
  EXPECT_EQ(shortNumber(std::nan("")), "nan");
  EXPECT_EQ(bigNumber(4.2e6), "4.2 M");
  EXPECT_EQ(bigNumber(8.03e9), "8.03 B");
  EXPECT_EQ(labelStep(10, 9), 1);
  EXPECT_EQ(labelStep(5, 9), 2);
  EXPECT_EQ(labelStep(0.3, 9), 50);
}

}  // namespace
}  // namespace headscope::views
