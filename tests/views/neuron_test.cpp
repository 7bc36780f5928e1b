#include "views/neuron.h"

#include "tests/views/support.h"
#include "views/figure/text_dump.h"

namespace headscope::views {
namespace {

class NeuronPicture : public ::testing::Test {
 protected:
  NeuronPicture() {
    data.head = {1, 2};
    data.query = 2;
    data.keys = {{0, 1.5, 0.6, 0.7}, {1, -0.5, 0.1, -0.05}, {2, 1.0, 0.3, 0.35}};
    data.queryVector = core::Matrix(1, 4);
    data.keyVectors = core::Matrix(3, 4);
    for (int64_t i = 0; i < 4; ++i) data.queryVector(0, i) = static_cast<float>(i) - 1.5f;
    for (int64_t i = 0; i < 12; ++i) data.keyVectors.data()[i] = static_cast<float>(i % 5) - 2.0f;
    data.scale = 0.5;
    data.labels = {"the", "·cat", "·sat"};
  }
  NeuronData data;
  tests::FixedMeasure measure;
  Theme theme = lightTheme();
  ViewFrame frame{theme, measure, {700, 300}};
};

TEST_F(NeuronPicture, MatchesItsGoldenDump) {
  frame.under = {Pick::Kind::Value, 2, 1, 3};
  tests::expectGolden("neuron_screen", dumpFigure(drawNeuron(data, {}, {}, frame), true));
}

TEST_F(NeuronPicture, EachDimensionAnswersTheMouse) {
  const Figure f = drawNeuron(data, {}, {}, frame);
  for (const Item& item : f.content) {
    if (item.pick.kind != Pick::Kind::Value || item.pickCols == 0) continue;
    const Rect r = std::get<RectItem>(item.shape).rect;
    EXPECT_EQ(f.pick({r.x + r.width * 0.6, r.center().y}).c, 2);
  }
}

TEST_F(NeuronPicture, SaysWhatItLeavesOut) {
  frame.size.height = 130;  // room for one or two keys
  const std::string dump = dumpFigure(drawNeuron(data, {}, {}, frame));
  EXPECT_NE(dump.find("more key"), std::string::npos);
}

TEST_F(NeuronPicture, FitsAColumnOfAPage) {
  const Theme paper = paperTheme();
  const ViewFrame page{paper, measure, {243.78, 0}, true};
  const Figure f = drawNeuron(data, {}, {}, page);
  for (const Item& item : f.content) {
    if (const auto* text = std::get_if<TextItem>(&item.shape)) {
      const double w = measure.width(text->text, text->font);
      const double x = text->anchorX == AnchorX::Left ? text->at.x : text->anchorX == AnchorX::Right ? text->at.x - w : text->at.x - w / 2;
      EXPECT_GE(x, -0.01) << text->text;
      EXPECT_LE(x + w, 244.5) << text->text;
    }
  }
}

TEST(ShownKeys, TheLargestInOrderAndTheOneAskedFor) {
  const std::vector<NeuronKey> keys = {{0, 0, 0.1, 0}, {1, 0, 0.5, 0}, {2, 0, 0.05, 0}, {3, 0, 0.35, 0}};
  EXPECT_EQ(shownKeys(keys, 2, -1), (std::vector<size_t>{1, 3}));
  EXPECT_EQ(shownKeys(keys, 2, 2), (std::vector<size_t>{1, 2}));
  EXPECT_EQ(shownKeys(keys, 9, -1).size(), 4u);
}

}  // namespace
}  // namespace headscope::views
