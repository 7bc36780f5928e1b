#include "views/image_picture.h"

#include <algorithm>

#include "tests/views/support.h"
#include "views/figure/text_dump.h"

namespace headscope::views {
namespace {

/// 2 layers x 3 heads, a picture of 8 x 4 pixels in 4 x 2 patches behind a class token.
class ImagePicture : public ::testing::Test {
 protected:
  ImagePicture() : data(2, 3) {
    data.spec = {4, 8, 2, 3};
    data.picture = {8, 4, 3, {}};
    for (int i = 0; i < 8 * 4 * 3; ++i) data.picture.data.push_back(static_cast<uint8_t>(i * 5 % 256));
    data.small = data.picture;
    data.plain = plainImage(data.picture);
    data.weights = core::Matrix(6, 9);
    for (int64_t row = 0; row < 6; ++row) {
      for (int64_t key = 0; key < 9; ++key) data.weights(row, key) = static_cast<float>((row + key) % 9 + 1) / 45.0f;
    }
    data.rollout = core::Matrix(2, 9);
    for (int64_t i = 0; i < 18; ++i) data.rollout.data()[i] = static_cast<float>(i % 9 + 1) / 45.0f;
    data.modelName = "tiny";
    selection.layer = 1, selection.head = 2;
    frame.hover.layer = frame.hover.head = -1;
  }
  std::vector<Rect> pictures(const Figure& figure) const {
    std::vector<Rect> found;
    for (const Item& item : figure.content) {
      if (const auto* image = std::get_if<ImageItem>(&item.shape); image != nullptr && image->image->width == 8)
        found.push_back(image->rect);
    }
    return found;
  }

  ImageData data;
  core::Selection selection;
  core::ViewOptions options;
  tests::FixedMeasure measure;
  Theme theme = lightTheme();
  ViewFrame frame{theme, measure, {700, 300}};
};

TEST_F(ImagePicture, MatchesItsGoldenDumps) {
  data.query = 6;
  frame.hover.key = 3;
  std::string dump = dumpFigure(drawImage(data, options, selection, nullptr, frame), true);
  options.words["form"] = "rollout";
  dump += "-- rollout\n" + dumpFigure(drawImage(data, options, selection, nullptr, frame), true);
  options.words["form"] = "heads";
  dump += "-- heads\n" + dumpFigure(drawImage(data, options, selection, nullptr, frame), true);
  tests::expectGolden("image", dump);
}

TEST_F(ImagePicture, EveryPatchAnswersTheMouseInBothPictures) {
  const Figure figure = drawImage(data, options, selection, nullptr, frame);
  const std::vector<Rect> both = pictures(figure);
  ASSERT_EQ(both.size(), 2u);
  for (const Rect& picture : both) {
    EXPECT_NEAR(picture.width / picture.height, 2.0, 1e-9);
    for (int64_t row = 0; row < 2; ++row) {
      for (int64_t col = 0; col < 4; ++col) {
        const Pick pick = figure.pick({picture.x + (static_cast<double>(col) + 0.5) * picture.width / 4,
                                       picture.y + (static_cast<double>(row) + 0.5) * picture.height / 2});
        EXPECT_EQ(pick.kind, Pick::Kind::KeyToken);
        EXPECT_EQ(pick.a, 1 + row * 4 + col);
      }
    }
  }
  const Pick chip = figure.pick({both[1].x + 3, both[1].bottom() + theme.smallSize * 0.8});
  EXPECT_EQ(chip.a, 0) << "the class token";
}

TEST_F(ImagePicture, HoverTellsPlaceWeightAndRank) {
  frame.hover.key = 7;  // weights of head 1.2: (5 + 7) % 9 + 1 = 4 forty-fifths
  const std::string dump = dumpFigure(drawImage(data, options, selection, nullptr, frame), true);
  for (const char* part : {"patch 1, 2", "0.08889", "rank 6 of 9"}) EXPECT_NE(dump.find(part), std::string::npos) << part << dump;
}

TEST_F(ImagePicture, ColoursLieOverGrey) {
  const ValueScale linear{core::ColorScale::Linear, 0, 1};
  const ColorRamp ramp = attentionRamp(theme);
  std::vector<float> weights(8, 0.0f);
  weights[5] = 1, weights[6] = std::nanf("");
  const auto bare = overlayImage(data.picture, data.spec, weights.data(), linear, ramp, 0);
  const auto full = overlayImage(data.picture, data.spec, weights.data(), linear, ramp, 1);
  const auto half = overlayImage(data.picture, data.spec, weights.data(), linear, ramp, 0.5);
  const auto at = [](const Image& image, int x, int y) { return image.rgba.data() + (y * image.width + x) * 4; };
  const uint8_t* pixel = at(*bare, 3, 1);
  EXPECT_TRUE(pixel[0] == pixel[1] && pixel[1] == pixel[2]) << "grey";
  EXPECT_EQ(at(*full, 2, 2)[2], ramp.at(1).b) << "patch 1, 1 begins at pixel 2, 2";
  EXPECT_EQ(at(*full, 3, 3)[0], ramp.at(1).r);
  EXPECT_EQ(at(*full, 1, 2)[0], ramp.at(0).r);
  EXPECT_EQ(at(*full, 4, 2)[0], at(*bare, 4, 2)[0]) << "a weight that is not a number leaves the picture";
  EXPECT_NEAR(at(*half, 2, 2)[0], (at(*bare, 2, 2)[0] + ramp.at(1).r) / 2.0, 1.0);
}

TEST_F(ImagePicture, PixelsThatNoPatchCoversStayGrey) {
  core::ImageSpec spec{5, 5, 2, 3};
  core::PixelImage picture{5, 5, 3, std::vector<uint8_t>(75, 100)};
  const std::vector<float> weights(4, 1.0f);
  const auto image = overlayImage(picture, spec, weights.data(), {core::ColorScale::Linear, 0, 1}, attentionRamp(theme), 1);
  EXPECT_EQ(image->rgba[(4 * 5 + 4) * 4], 100);
  EXPECT_NE(image->rgba[(3 * 5 + 3) * 4], 100);
}

TEST_F(ImagePicture, FitsAColumnAndAPage) {
  const Theme paper = paperTheme();
  for (const double width : {243.78, 504.6}) {
    for (const char* form : {"head", "heads", "rollout"}) {
      options.words["form"] = form;
      const Figure figure = drawImage(data, options, selection, nullptr, {paper, measure, {width, 0}, true});
      EXPECT_GT(figure.size.height, 10);
      for (const Item& item : figure.content) {
        EXPECT_NE(item.pick.kind, Pick::Kind::KeyToken);
        const auto* text = std::get_if<TextItem>(&item.shape);
        if (text == nullptr || text->text == "sqrt") continue;
        const double w = measure.width(text->text, text->font);
        const double x = text->anchorX == AnchorX::Left    ? text->at.x
                         : text->anchorX == AnchorX::Right ? text->at.x - w
                                                           : text->at.x - w / 2;
        EXPECT_GE(x, -0.01) << text->text;
        EXPECT_LE(x + w, width + 0.5) << text->text;
        EXPECT_LE(text->at.y, figure.size.height + 0.5) << text->text;
      }
    }
  }
}

TEST_F(ImagePicture, AClickChoosesTheQuery) {
  const View& view = *findView("image");
  core::Selection chosen = selection;
  Pick patch;
  patch.kind = Pick::Kind::KeyToken, patch.a = 5;
  EXPECT_TRUE(view.handle({View::Gesture::Kind::Click, {}, {}, patch}, {}, {700, 300}, options, chosen));
  EXPECT_EQ(chosen.query, 5);
  EXPECT_EQ(chosen.key, -1);
}

TEST_F(ImagePicture, WithoutAPictureItSaysWhatWouldBeHere) {
  const std::string dump = dumpFigure(findView("image")->draw({}, nullptr, frame));
  EXPECT_NE(dump.find("vision model (ViT)"), std::string::npos);
  EXPECT_EQ(findView("image")->dataKey({}, {}), "");
}

}  // namespace
}  // namespace headscope::views
