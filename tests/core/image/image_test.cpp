#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/image/image_processor.h"

using namespace headscope::core;

namespace {

PixelImage ramp(int64_t width, int64_t height, int64_t channels) {
  PixelImage image{width, height, channels, {}};
  for (int64_t i = 0; i < width * height * channels; ++i) image.data.push_back(static_cast<uint8_t>(i * 7 % 256));
  return image;
}

const ImageSpec kSpec{4, 4, 2, 3};

}  // namespace

TEST(PixelImage, sameSizeIsUntouched) { EXPECT_EQ(resized(ramp(5, 3, 3), 5, 3, Resampling::Bicubic).data, ramp(5, 3, 3).data); }

TEST(PixelImage, constantStaysConstant) {
  PixelImage image{7, 9, 3, std::vector<uint8_t>(7 * 9 * 3, 131)};
  for (const Resampling r :
       {Resampling::Nearest, Resampling::Lanczos, Resampling::Bilinear, Resampling::Bicubic, Resampling::Box, Resampling::Hamming}) {
    for (const uint8_t v : resized(image, 4, 13, r).data) EXPECT_EQ(v, 131);
  }
}

TEST(PixelImage, boxHalvingAverages) {
  const PixelImage image{4, 1, 1, {10, 20, 30, 50}};
  EXPECT_EQ(resized(image, 2, 1, Resampling::Box).data, (std::vector<uint8_t>{15, 40}));
}

TEST(PixelImage, bilinearShrinkIsATriangle) {
  // Output 0 of 4 -> 2 has centre 1 and support 2: weights 0.75 0.75 0.25, normalised.
  const PixelImage image{4, 1, 1, {0, 70, 140, 210}};
  const double expected = (0 * 0.75 + 70 * 0.75 + 140 * 0.25) / 1.75;
  EXPECT_NEAR(resized(image, 2, 1, Resampling::Bilinear).data[0], expected, 0.51);
}

TEST(PixelImage, grayIsRepeatedAndAlphaDropped) {
  EXPECT_EQ(toRgb({1, 1, 1, {9}}).data, (std::vector<uint8_t>{9, 9, 9}));
  EXPECT_EQ(toRgb({1, 1, 4, {1, 2, 3, 0}}).data, (std::vector<uint8_t>{1, 2, 3}));
}

TEST(PixelImage, badSizesAreRefused) {
  EXPECT_THROW(toRgb({0, 4, 3, {}}), Error);
  EXPECT_THROW(toRgb({60000, 1, 1, std::vector<uint8_t>(60000)}), Error);
  EXPECT_THROW(toRgb({2, 2, 3, {1, 2}}), Error);
  EXPECT_THROW(resized(ramp(2, 2, 3), 0, 5, Resampling::Bilinear), Error);
}

TEST(PixelImage, centreCropPadsWithZeros) {
  const PixelImage cropped = centerCropped(ramp(2, 2, 1), 4, 4);
  EXPECT_EQ(cropped.data[0], 0);
  EXPECT_EQ(cropped.data[5], 0);
  EXPECT_EQ(cropped.data[6], 7);
  EXPECT_EQ(cropped.data[9], 14);
}

TEST(ImageProcessor, fieldsAreChecked) {
  for (const char* bad : {"[]", "{", R"({"size": 0})", R"({"size": {"height": 4}})", R"({"resample": 9})", R"({"image_std": [1, 0, 1]})",
                          R"({"image_mean": [1, 2]})", R"({"do_pad": true})", R"({"do_resize": 3})", R"({"size": 1e300})"}) {
    EXPECT_THROW(ImageProcessor::parse(bad, "preprocessor_config.json", kSpec), Error) << bad;
  }
}

TEST(ImageProcessor, rescalesAndNormalises) {
  const auto p = ImageProcessor::parse(R"({"size": 4, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.25, 0.5]})", "f", kSpec);
  PixelImage image{4, 4, 3, std::vector<uint8_t>(48, 255)};
  const Matrix pixels = p.pixels(image);
  EXPECT_FLOAT_EQ(pixels(0, 3), 1.0f);
  EXPECT_FLOAT_EQ(pixels(1, 3), 2.0f);
}

TEST(ImageProcessor, wrongFinalSizeIsAnError) {
  EXPECT_THROW(ImageProcessor::parse(R"({"size": 5})", "f", kSpec).pixels(ramp(9, 9, 3)), Error);
}

TEST(ImageProcessor, sizesThatCanNotFitAreRefusedBeforeAnyWork) {
  const PixelImage image = ramp(29, 20, 3);
  EXPECT_THROW(ImageProcessor::parse(R"({"size": {"shortest_edge": 30000}})", "f", kSpec).pixels(image), Error);
  EXPECT_THROW(
      ImageProcessor::parse(R"({"size": {"shortest_edge": 30000}, "do_center_crop": true, "crop_size": 4})", "f", kSpec).pixels(image),
      Error);
}

TEST(ImageProcessor, thePictureIsWhatThePixelsWere) {
  for (const char* config : {R"({"size": 4, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]})",
                             R"({"size": 4, "do_normalize": false})", R"({"size": 4, "do_rescale": false, "do_normalize": false})"}) {
    const auto processor = ImageProcessor::parse(config, "f", kSpec);
    const PixelImage image = ramp(4, 4, 3);
    EXPECT_EQ(processor.picture(processor.pixels(image)).data, image.data) << config;
  }
  const auto zero = ImageProcessor::parse(R"({"size": 4, "rescale_factor": 0})", "f", kSpec);
  EXPECT_EQ(zero.picture(Matrix::zeros(3, 16)).data.size(), 48u);  // nothing to be undone, and nothing undefined
}

TEST(ImagePrompt, classTokenThenPatches) {
  const auto prompt = promptFromPixels(kSpec, Matrix::zeros(3, 16));
  ASSERT_EQ(prompt->count(), 5);
  EXPECT_TRUE(prompt->tokens[0].isSpecial);
  EXPECT_EQ(prompt->tokens[4].bytes, "1,1");
  EXPECT_THROW(promptFromPixels(kSpec, Matrix::zeros(3, 15)), Error);
}
