#include "views/token_flow.h"

#include "tests/views/support.h"
#include "views/figure/text_dump.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

class TokenFlowPicture : public ::testing::Test {
 protected:
  TokenFlowPicture() {
    data.heads = {{1, 2}};
    data.count = 3;
    data.labels = {"the", "·cat", "·sat"};
    data.edges = {{2, 2, 0, 0.1f}, {2, 1, 0, 0.2f}, {1, 0, 0, 0.4f}, {1, 1, 0, 0.6f}, {2, 0, 0, 0.7f}, {0, 0, 0, 1.0f}};
  }
  int curves(const Figure& f) {
    int n = 0;
    for (const Item& item : f.content) n += std::holds_alternative<CurveItem>(item.shape);
    return n;
  }
  TokenFlowData data;
  tests::FixedMeasure measure;
  Theme theme = lightTheme();
  core::ViewOptions options;
  core::Selection selection;
  ViewFrame frame{theme, measure, {400, 300}};
};

TEST_F(TokenFlowPicture, MatchesItsGoldenDumps) {
  frame.hover.query = 2;
  tests::expectGolden("token_flow_screen", dumpFigure(drawTokenFlow(data, options, selection, frame), true));
  tests::expectGolden("token_flow_inline", dumpFigure(drawInlineFlow(data, {2, {0.7f, 0.2f, 0.1f}}, options, selection, frame)));
}

TEST_F(TokenFlowPicture, DrawsWeightsOfAtLeastTheThreshold) {
  EXPECT_EQ(curves(drawTokenFlow(data, options, selection, frame)), 6);
  options.threshold = 0.5;
  EXPECT_EQ(curves(drawTokenFlow(data, options, selection, frame)), 3);
  options.threshold = 2;
  EXPECT_EQ(curves(drawTokenFlow(data, options, selection, frame)), 0);
}

TEST_F(TokenFlowPicture, HoveringAQueryFadesTheOtherLines) {
  frame.hover.query = 1, frame.hover.key = -1;
  int strong = 0;
  for (const Item& item : drawTokenFlow(data, options, selection, frame).content) {
    if (const auto* c = std::get_if<CurveItem>(&item.shape)) strong += c->stroke.a > 30;
  }
  EXPECT_EQ(strong, 2);
}

TEST_F(TokenFlowPicture, SeveralHeadsHaveALegendAndTheirOwnColours) {
  data.heads.push_back({3, 4});
  data.edges.push_back({2, 1, 1, 0.9f});
  const std::string dump = dumpFigure(drawTokenFlow(data, options, selection, frame));
  EXPECT_NE(dump.find("\"1.2\""), std::string::npos);
  EXPECT_NE(dump.find("\"3.4\""), std::string::npos);
  EXPECT_NE(dump.find("#D55E00"), std::string::npos);
}

TEST_F(TokenFlowPicture, LongTextsAreInline) {
  EXPECT_TRUE(isFlowInColumns(options, 10, frame));
  EXPECT_FALSE(isFlowInColumns(options, 100, frame));
  options.words["form"] = "columns";
  EXPECT_TRUE(isFlowInColumns(options, 100, frame));
  EXPECT_FALSE(isFlowInColumns(options, 100'000, frame));
}

TEST_F(TokenFlowPicture, SurvivesOddOptionsAndSizes) {
  options.firstRow = std::nan("");
  for (const Size size : {Size{0, 0}, Size{5, 5}, Size{2000, 20}}) {
    const ViewFrame odd{theme, measure, size};
    drawTokenFlow(data, options, selection, odd);
    drawInlineFlow(data, {-1, {}}, options, selection, odd);
  }
}

TEST(TokenFlowGestures, TheThresholdCanBeDragged) {
  core::ViewOptions options;
  core::Selection selection;
  View::Gesture drag{View::Gesture::Kind::Drag, {150, 10}, {}, {Pick::Kind::Control}};
  drag.pick.bounds = {100, 0, 100, 20};
  EXPECT_FALSE(tokenFlowView().handle(drag, {}, {}, options, selection));  // nothing is open
}

}  // namespace
}  // namespace headscope::views
