#include "views/head_grid.h"

#include "tests/views/support.h"
#include "views/figure/panel.h"
#include "views/figure/text_dump.h"

namespace headscope::views {
namespace {

class HeadGridPicture : public ::testing::Test {
 protected:
  HeadGridPicture() {
    data.layers = 2, data.heads = 3, data.count = 2;
    data.limits.assign(6, 0.5), data.limitsAll.assign(6, 1.0);
    data.caches = std::vector<MapImageCache>(6);
    for (int i = 0; i < 6; ++i) {
      core::Matrix map = core::Matrix::zeros(2, 2);
      map(0, 0) = 1, map(1, 0) = 0.5f, map(1, 1) = 0.1f * static_cast<float>(i);
      data.maps.push_back(std::move(map));
    }
  }
  HeadGridData data;
  tests::FixedMeasure measure;
  Theme theme = lightTheme();
  core::ViewOptions options;
  core::Selection selection;
  ViewFrame frame{theme, measure, {300, 200}};
};

TEST_F(HeadGridPicture, MatchesItsGoldenDumps) {
  selection.layer = 1, selection.head = 2;
  selection.brushed = {{0, 0}, {0, 1}};
  frame.hover.layer = 0, frame.hover.head = 2;
  tests::expectGolden("head_grid_screen", dumpFigure(drawHeadGrid(data, options, selection, nullptr, frame), true));
  frame.progress = 0.5;
  tests::expectGolden("head_grid_loading", dumpFigure(drawHeadGridLoading(2, 3, selection, frame), true));
}

TEST_F(HeadGridPicture, EveryCellAnswersTheMouse) {
  const Figure f = drawHeadGrid(data, options, selection, nullptr, frame);
  const HeadGridLayout layout = layOutHeadGrid(2, 3, options, frame.size, false);
  for (int64_t layer = 0; layer < 2; ++layer) {
    for (int64_t head = 0; head < 3; ++head) {
      const Pick pick = f.pick(layout.cellAt(layer, head).center());
      EXPECT_EQ(pick.kind, Pick::Kind::Head);
      EXPECT_EQ(pick.a, layer);
      EXPECT_EQ(pick.b, head);
    }
  }
}

TEST(HeadGridLayout, CellsKeepTheirSmallestSizeAndScroll) {
  core::ViewOptions options;
  const HeadGridLayout small = layOutHeadGrid(32, 32, options, {300, 200}, false);
  EXPECT_GE(small.cell, 28);
  EXPECT_LT(small.heads, 32);
  options.firstCol = 1e9, options.firstRow = std::nan("");
  const HeadGridLayout end = layOutHeadGrid(32, 32, options, {300, 200}, false);
  EXPECT_EQ(end.firstHead + end.heads, 32);
  EXPECT_EQ(end.firstLayer, 0);
  const HeadGridLayout paper = layOutHeadGrid(32, 32, {}, {243.78, 0}, true);
  EXPECT_EQ(paper.heads, 32);
  EXPECT_LE(paper.cellAt(0, 31).right(), 243.78);
}

TEST_F(HeadGridPicture, AllHeadsAtAGlanceBeforeLargeCells) {
  const HeadGridLayout close = layOutHeadGrid(12, 12, {}, {329, 267}, false);
  EXPECT_EQ(close.layers, 12);
  EXPECT_EQ(close.heads, 12);
  EXPECT_EQ(close.cell, 15);
  const HeadGridLayout part = layOutHeadGrid(32, 32, {}, {329, 267}, false);
  EXPECT_LT(part.layers, 32);
  EXPECT_EQ(part.cell, 28);
  Figure figure;
  figure.size = {329, 267};
  const Theme theme = lightTheme();
  const tests::FixedMeasure measure;
  addHiddenNote(figure, close, 12, 12, {theme, measure, figure.size});
  EXPECT_TRUE(figure.content.empty());
  addHiddenNote(figure, part, 32, 32, {theme, measure, figure.size});
  ASSERT_EQ(figure.content.size(), 1U);
  EXPECT_EQ(std::get<TextItem>(figure.content[0].shape).text.rfind("layers 0 to 6 of 32", 0), 0U);
}

TEST(HeadOrder, IsByIndexWithoutScores) {
  const auto order = headOrder(2, 3, nullptr, "induction");
  EXPECT_EQ(order[1], (std::vector<int64_t>{0, 1, 2}));
}

TEST(Panel, LaysOutRowsWithLetters) {
  Figure one;
  one.size = {100, 50}, one.caption = "One.", one.title = "t";
  one.add(RectItem{{1, 2, 3, 4}, {0, 0, 0}});
  const Figure panel = panelOf({one, one, one}, {"1.0", "1.1", "1.2"}, 2, 10, true, lightTheme());
  EXPECT_DOUBLE_EQ(panel.size.width, 210);
  EXPECT_DOUBLE_EQ(panel.size.height, 110);
  EXPECT_EQ(panel.caption, "(a) One. (b) One. (c) One.");
  const std::string dump = dumpFigure(panel);
  EXPECT_NE(dump.find("rect 111,2 3x4"), std::string::npos);
  EXPECT_NE(dump.find("rect 1,62 3x4"), std::string::npos);
  EXPECT_NE(dump.find("text 110,0 \"b\""), std::string::npos);
}

}  // namespace
}  // namespace headscope::views
