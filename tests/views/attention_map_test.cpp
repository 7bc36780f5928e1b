#include "views/attention_map.h"

#include "tests/views/support.h"
#include "views/figure/text_dump.h"
#include "views/map_sampling.h"

namespace headscope::views {
namespace {

const char* kSentence = "the cat sat down | 1 | 0.4 0.6 | 0.7 0.2 0.1 | 0.1 0.2 0.3 0.4";

class AttentionMapPicture : public ::testing::Test {
 protected:
  std::shared_ptr<AttentionMapData> held = tests::attentionFrom(kSentence);
  AttentionMapData& data = *held;
  tests::FixedMeasure measure;
  Theme theme = lightTheme();
  core::ViewOptions options;
  core::Selection selection;
  ViewFrame frame{theme, measure, {500, 400}};

  Figure draw(std::optional<CellDetail> detail = {}) { return drawAttentionMap(data, options, selection, detail, frame); }
  Rect plot(const Figure& f) {
    for (const Item& item : f.content) {
      if (item.pick.kind == Pick::Kind::Cell) return std::get<RectItem>(item.shape).rect;
    }
    return {};
  }
};

TEST_F(AttentionMapPicture, MatchesItsGoldenDumps) {
  selection.query = 2;
  tests::expectGolden("attention_map_screen", dumpFigure(draw(CellDetail{2, 1, 0.2, 2, 3}), true));
  const Theme paper = paperTheme();
  const ViewFrame page{paper, measure, {243.78, 0}, true};
  tests::expectGolden("attention_map_paper", dumpFigure(drawAttentionMap(data, options, selection, {}, page)));
}

TEST_F(AttentionMapPicture, EveryCellAnswersTheMouse) {
  const Figure f = draw();
  const Rect r = plot(f);
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      const Pick pick = f.pick({r.x + (j + 0.5) * r.width / 4, r.y + (i + 0.5) * r.height / 4});
      EXPECT_EQ(pick.kind, Pick::Kind::Cell);
      EXPECT_EQ(pick.a, i);
      EXPECT_EQ(pick.b, j);
    }
  }
  EXPECT_EQ(f.pick({r.x - 12, r.y + r.height / 8}).kind, Pick::Kind::QueryToken);
}

TEST_F(AttentionMapPicture, TagNeverCoversItsCell) {
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      const Figure f = draw(CellDetail{i, j, 0.2, 1, 3});
      const Rect r = plot(f);
      const Rect cell{r.x + j * r.width / 4, r.y + i * r.height / 4, r.width / 4, r.height / 4};
      Rect tag;
      for (const Item& item : f.overlay) {
        if (const auto* box = std::get_if<RectItem>(&item.shape); box != nullptr && box->fill == theme.raised) tag = box->rect;
      }
      ASSERT_GT(tag.width, 0);
      EXPECT_TRUE(tag.x >= cell.right() || tag.right() <= cell.x || tag.y >= cell.bottom() || tag.bottom() <= cell.y) << i << "," << j;
      EXPECT_GE(tag.x, 0);
      EXPECT_LE(tag.right(), 500);
      EXPECT_LE(tag.bottom(), 400);
    }
  }
}

TEST_F(AttentionMapPicture, PaperHasNoOverlayAndSmallMapsAreRectangles) {
  const Theme paper = paperTheme();
  const ViewFrame page{paper, measure, {243.78, 0}, true};
  const Figure f = drawAttentionMap(data, options, selection, CellDetail{1, 1, 0.6, 1, 2}, page);
  EXPECT_TRUE(f.overlay.empty());
  EXPECT_GT(f.size.height, 100);
  int images = 0;
  for (const Item& item : f.content) images += std::holds_alternative<ImageItem>(item.shape);
  EXPECT_EQ(images, 1);  // the colour bar alone
}

TEST_F(AttentionMapPicture, NanIsHatched) {
  data.values(2, 1) = std::nanf("");
  int hatches = 0;
  for (const Item& item : draw().content) hatches += std::holds_alternative<HatchItem>(item.shape);
  EXPECT_EQ(hatches, 1);
}

TEST_F(AttentionMapPicture, SurvivesOddSizesAndOptions) {
  for (const Size size : {Size{1, 1}, Size{0, 0}, Size{3000, 40}, Size{40, 3000}}) {
    const ViewFrame odd{theme, measure, size};
    EXPECT_FALSE(drawAttentionMap(data, options, selection, {}, odd).content.empty());
  }
  options.rows = 1e300, options.firstRow = std::nan(""), options.firstCol = -5, options.limits = {0.5, 0.5};
  selection.query = 1000, selection.key = -7;
  EXPECT_FALSE(draw().content.empty());
}

TEST(ZoomMap, ZoomsAtThePointerPansAndResets) {
  core::ViewOptions options;
  View::Gesture wheel{View::Gesture::Kind::Wheel, {75, 25}, {0, 3}, {Pick::Kind::Cell}};
  wheel.pick.bounds = {0, 0, 100, 100};
  ASSERT_TRUE(zoomMap(wheel, 64, options));
  EXPECT_LT(options.rows, 64);
  EXPECT_NEAR(options.firstCol + 0.75 * options.cols, 48, 1e-9);  // the token under the pointer stays there
  EXPECT_NEAR(options.firstRow + 0.25 * options.rows, 16, 1e-9);
  const double before = options.firstCol;
  View::Gesture drag{View::Gesture::Kind::Drag, {50, 50}, {-10, 0}, wheel.pick, true};
  ASSERT_TRUE(zoomMap(drag, 64, options));
  EXPECT_NEAR(options.firstCol, std::min(before + options.cols * 0.1, 64 - options.cols), 1e-9);
  View::Gesture reset{View::Gesture::Kind::DoubleClick, {50, 50}, {}, wheel.pick};
  ASSERT_TRUE(zoomMap(reset, 64, options));
  EXPECT_EQ(options.rows, 0);
  wheel.delta.y = -3;
  ASSERT_TRUE(zoomMap(wheel, 64, options));
  EXPECT_EQ(options.rows, 0);  // all is visible already
}

TEST(MapSampling, GrowsWithTheScreenNotWithTheMap) {
  for (const int64_t count : {2'000, 8'192, 100'000, 10'000'000}) {
    core::ViewOptions options;
    const MapSampling all = sampleMap(visiblePart(options, count), count, 400);
    EXPECT_LE(all.rows, 2 * 800) << count;
    options.rows = 200, options.firstRow = options.firstCol = static_cast<double>(count) / 2 + 3;
    const VisiblePart part = visiblePart(options, count);
    const MapSampling zoomed = sampleMap(part, count, 400);
    EXPECT_EQ(zoomed.level, 0);
    EXPECT_LE(zoomed.rows, 1024);
    EXPECT_LE(static_cast<double>(zoomed.firstRow), part.firstRow);
    EXPECT_GE(static_cast<double>(zoomed.firstRow + zoomed.rows), part.firstRow + part.rows);
    options.firstRow += 5;
    EXPECT_EQ(sampleMap(visiblePart(options, count), count, 400), zoomed) << "a small pan needs nothing new";
  }
}

}  // namespace
}  // namespace headscope::views
