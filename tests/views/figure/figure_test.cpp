#include "views/figure/figure.h"

#include "tests/views/support.h"
#include "views/figure/build.h"

namespace headscope::views {
namespace {

Pick head(int64_t layer, int64_t index) { return {Pick::Kind::Head, layer, index}; }

TEST(FigurePick, FindsTheTopmostAndPrefersTheOverlay) {
  Figure f;
  f.add(RectItem{{0, 0, 10, 10}}).pick = head(0, 0);
  f.add(RectItem{{5, 0, 10, 10}}).pick = head(0, 1);
  EXPECT_EQ(f.pick({2, 2}).b, 0);
  EXPECT_EQ(f.pick({7, 2}).b, 1);
  f.addOverlay(RectItem{{6, 0, 2, 2}}).pick = head(3, 3);
  EXPECT_EQ(f.pick({7, 1}).a, 3);
  EXPECT_EQ(f.pick({20, 2}).kind, Pick::Kind::None);
}

TEST(FigurePick, HonoursClips) {
  Figure f;
  f.add(ClipItem{Rect{0, 0, 5, 5}});
  f.add(ClipItem{Rect{2, 0, 10, 10}});
  f.add(RectItem{{0, 0, 10, 10}}).pick = head(1, 1);
  f.add(ClipItem{});
  f.add(ClipItem{});
  EXPECT_EQ(f.pick({1, 1}).kind, Pick::Kind::None);
  EXPECT_EQ(f.pick({3, 3}).kind, Pick::Kind::Head);
  EXPECT_EQ(f.pick({7, 3}).kind, Pick::Kind::None);
}

TEST(FigurePick, FillsTheCellFromThePoint) {
  Figure f;
  Item area = pickArea({100, 50, 80, 40}, {Pick::Kind::Cell});
  area.pickRows = 4, area.pickCols = 8;
  area.pickFirstRow = 10, area.pickFirstCol = 20;
  f.content.push_back(area);
  EXPECT_EQ(f.pick({100, 50}).a, 10);
  EXPECT_EQ(f.pick({100, 50}).b, 20);
  EXPECT_EQ(f.pick({179.9, 89.9}).a, 13);
  EXPECT_EQ(f.pick({179.9, 89.9}).b, 27);
  EXPECT_EQ(f.pick({120, 60}).bounds.width, 80);
}

TEST(FigurePick, GivesTheFirstTokenOfAPooledCellAndOfAPartlyVisibleOne) {
  Figure f;
  Item area = pickArea({0, 0, 100, 100}, {Pick::Kind::Cell});
  area.pickRows = area.pickCols = 2.5, area.pickStep = 4, area.pickFirstRow = 2, area.pickFirstCol = 0;
  f.content.push_back(area);
  EXPECT_EQ(f.pick({0, 0}).a, 0);   // token 2 lies in the cell of tokens 0 to 3
  EXPECT_EQ(f.pick({0, 25}).a, 4);  // token 4.5
  EXPECT_EQ(f.pick({99, 0}).b, 8);  // token 9.9
}

TEST(FigurePick, HitsLinesAndCurvesWithinAFewPoints) {
  Figure f;
  f.add(segment({0, 0}, {100, 0}, {0, 0, 0})).pick = head(0, 7);
  f.add(CurveItem{{0, 50}, {50, 50}, {50, 100}, {100, 100}, {0, 0, 0}, 1}).pick = head(0, 8);
  EXPECT_EQ(f.pick({50, 3}).b, 7);
  EXPECT_EQ(f.pick({50, 9}).kind, Pick::Kind::None);
  EXPECT_EQ(f.pick({50, 75}).b, 8);
}

}  // namespace
}  // namespace headscope::views
