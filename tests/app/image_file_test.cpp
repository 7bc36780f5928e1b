// Picture files that are right, and those that are not: each an error that says what is wrong with which file.
#include "app/image_file.h"

#include <gtest/gtest.h>

#include <QBuffer>
#include <QImage>

#include "core/base/error.h"
#include "tests/support/golden.h"

namespace headscope::app {
namespace {

QImage picture(int width, int height) {
  QImage image(width, height, QImage::Format_RGB888);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) image.setPixel(x, y, qRgb(x * 7 % 256, y * 5 % 256, (x * y) % 256));
  }
  return image;
}

std::string encoded(const QImage& image, const char* format) {
  QByteArray bytes;
  QBuffer buffer(&bytes);
  buffer.open(QIODevice::WriteOnly);
  EXPECT_TRUE(image.save(&buffer, format, 90));
  return bytes.toStdString();
}

/// What decodeImage says of the bytes; "" when it takes them.
std::string faultOf(const std::string& bytes) {
  try {
    decodeImage(bytes, "FILE");
  } catch (const core::Error& e) {
    return e.what();
  }
  return "";
}

/// A PNG's beginning that claims these sizes.
std::string pngClaiming(uint32_t width, uint32_t height) {
  std::string bytes = encoded(picture(2, 2), "png");
  for (size_t i = 0; i < 4; ++i) {
    bytes[16 + i] = static_cast<char>(width >> (24 - 8 * i));
    bytes[20 + i] = static_cast<char>(height >> (24 - 8 * i));
  }
  return bytes;
}

}  // namespace

TEST(ImageFile, pngIsDecodedExactly) {
  const core::PixelImage image = decodeImage(encoded(picture(13, 7), "png"), "FILE");
  ASSERT_EQ(image.width, 13);
  ASSERT_EQ(image.height, 7);
  EXPECT_EQ(image.channels, 3);
  EXPECT_EQ(image.data[(3 * 13 + 4) * 3], 28);
  EXPECT_EQ(image.data[(3 * 13 + 4) * 3 + 1], 15);
}

TEST(ImageFile, jpegIsDecoded) {
  const core::PixelImage image = decodeImage(encoded(picture(64, 48), "jpg"), "FILE");
  EXPECT_EQ(image.width, 64);
  EXPECT_EQ(image.height, 48);
}

TEST(ImageFile, sizesOfNothingAndOfTooMuchAreSaid) {
  EXPECT_NE(faultOf(pngClaiming(0, 5)).find("0 x 5"), std::string::npos) << faultOf(pngClaiming(0, 5));
  EXPECT_NE(faultOf(pngClaiming(60000, 1)).find("60000 x 1"), std::string::npos);
  EXPECT_NE(faultOf(pngClaiming(60000, 60000)).find("60000 x 60000"), std::string::npos);
  EXPECT_NE(faultOf(pngClaiming(0xFFFFFFFF, 4)).find("more than is taken"), std::string::npos);
  EXPECT_NE(faultOf(pngClaiming(20000, 20000)).find("64 megapixels"), std::string::npos);
  std::string jpeg = encoded(picture(64, 48), "jpg");
  const size_t frame = jpeg.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  for (const size_t at : {frame + 5, frame + 7}) jpeg[at] = '\xEA', jpeg[at + 1] = '\x60';
  EXPECT_NE(faultOf(jpeg).find("60000 x 60000"), std::string::npos) << faultOf(jpeg);
}

TEST(ImageFile, aJpegCutAnywhereIsAnError) {
  const std::string whole = encoded(picture(64, 48), "jpg");
  for (size_t size = 0; size < whole.size(); size += size < 700 ? 13 : 101) {
    const std::string fault = faultOf(whole.substr(0, size));
    EXPECT_NE(fault.find("FILE"), std::string::npos) << "cut to " << size << " of " << whole.size();
  }
  EXPECT_NE(faultOf(whole.substr(0, whole.size() / 2)).find("truncated"), std::string::npos);
  EXPECT_NE(faultOf(whole.substr(0, whole.size() - 2)).find("truncated"), std::string::npos);
  EXPECT_EQ(faultOf(whole + "what cameras write behind"), "");
}

TEST(ImageFile, aPngCutInAnyChunkIsAnError) {
  const std::string whole = encoded(picture(64, 48), "png");
  for (size_t at = 8; at + 8 <= whole.size();) {
    size_t length = 0;
    for (size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<uint8_t>(whole[at + i]);
    const std::string name = whole.substr(at + 4, 4);
    for (const size_t cut : {at, at + 3, at + 8, at + 8 + length / 2, at + 8 + length}) {
      if (cut + 4 >= whole.size()) continue;  // without the last checksum alone every pixel is there
      EXPECT_NE(faultOf(whole.substr(0, cut)).find("FILE"), std::string::npos) << name << " cut at " << cut << " of " << whole.size();
    }
    at += 12 + length;
  }
  std::string damaged = whole;
  damaged[whole.find("IDAT") + 40] ^= 0x55;
  EXPECT_NE(faultOf(damaged), "");
}

TEST(ImageFile, whatIsNoImageIsSaid) {
  for (const std::string& bytes : {std::string(), std::string("hello, I am a text"), std::string(1000, '\0'), std::string("\xFF\xD8\xFF"),
                                   std::string("\x89PNG\r\n\x1a\n", 8), std::string("GIF89a")}) {
    EXPECT_NE(faultOf(bytes).find("FILE"), std::string::npos) << bytes.size();
  }
}

TEST(ImageFile, aFileBecomesAPromptAndIsRecognised) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = core::Model::open(tests::goldenFolder() / "models" / "vit");
  const auto prompt = promptFromImageFile(*model, tests::goldenFolder() / "images" / "wide.png");
  EXPECT_EQ(prompt->count(), 17);
  EXPECT_EQ(prompt->pixels.cols(), 32 * 32);
  const auto hashOf = [](const char* name) { return imageFileHash(tests::goldenFolder() / "images" / name); };
  EXPECT_EQ(hashOf("wide.png").size(), 16u);
  EXPECT_NE(hashOf("wide.png"), hashOf("gray.png"));
  EXPECT_THROW(promptFromImageFile(*model, "/no/such/picture.png"), core::Error);
}

}  // namespace headscope::app
