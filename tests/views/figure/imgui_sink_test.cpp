// The screen's sink without a screen: Dear ImGui needs no graphics card to build draw lists.
#include "views/figure/imgui_sink.h"

#include <gtest/gtest.h>
#include <imgui.h>

#include <cmath>
#include <filesystem>

#include "views/figure/imgui_sink_fill.h"

namespace headscope::views {
namespace {

struct NoTextures : TextureSource {
  uintptr_t textureFor(const std::shared_ptr<const Image>& image, bool) override {
    asked = image.get();
    return 7;
  }
  const Image* asked = nullptr;
};

std::string dejaVu() {
  const std::string path = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
  return std::filesystem::exists(path) ? path : "";
}

class ImGuiSinkTest : public testing::Test {
 protected:
  void SetUp() override {
    if (dejaVu().empty()) GTEST_SKIP() << "fonts-dejavu-core is not installed";
    ImGui::CreateContext();
    ImGui::GetIO().IniFilename = nullptr;
    fonts_ = std::make_unique<ImGuiFonts>(FontFiles{dejaVu(), "", dejaVu(), "", {dejaVu()}});
    fonts_->rebuild(*ImGui::GetIO().Fonts);
    ImGui::GetIO().DisplaySize = {400, 300};
    ImGui::NewFrame();  // sets up what draw lists share
    ImGui::EndFrame();
    list_ = std::make_unique<ImDrawList>(ImGui::GetDrawListSharedData());
    reset();
  }
  void TearDown() override {
    list_.reset();
    if (fonts_) ImGui::DestroyContext();
  }
  void reset() {
    list_->_ResetForNewFrame();
    list_->Flags |= ImDrawListFlags_AllowVtxOffset;
    list_->PushTextureID(ImGui::GetIO().Fonts->TexID);
    list_->PushClipRectFullScreen();
  }
  Figure figure() {
    Figure f;
    f.size = {400, 300};
    f.background = kTransparent;
    return f;
  }
  std::unique_ptr<ImGuiFonts> fonts_;
  std::unique_ptr<ImDrawList> list_;
  NoTextures textures_;
};

double area(const std::vector<Point>& p, const std::vector<size_t>& t) {
  double sum = 0;
  for (size_t i = 0; i + 2 < t.size(); i += 3) {
    const Point &a = p[t[i]], &b = p[t[i + 1]], &c = p[t[i + 2]];
    sum += std::abs((b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x)) / 2;
  }
  return sum;
}

}  // namespace

TEST_F(ImGuiSinkTest, newGlyphsAskForARebuildOnce) {
  EXPECT_FALSE(fonts_->needsRebuild());
  fonts_->draw(*list_, {10, 20}, "αβγ", Font{}, {0, 0, 0});
  EXPECT_TRUE(fonts_->needsRebuild());
  fonts_->rebuild(*ImGui::GetIO().Fonts);
  reset();
  const int before = list_->VtxBuffer.Size;
  fonts_->draw(*list_, {10, 20}, "αβγ", Font{}, {0, 0, 0});
  EXPECT_EQ(list_->VtxBuffer.Size - before, 12);
  EXPECT_FALSE(fonts_->needsRebuild());
}

TEST_F(ImGuiSinkTest, missingGlyphsAreEscapedNotBoxed) {
  for (const char* text : {"\xF0\x9F\x99\x82", "\xEE\x80\x80", "\xFF"}) {  // beyond 16 bits, private use, not UTF-8
    fonts_->draw(*list_, {10, 20}, text, Font{}, {0, 0, 0});
    fonts_->rebuild(*ImGui::GetIO().Fonts);
    reset();
    EXPECT_GT(fonts_->width(text, Font{}), 5) << text;
  }
  EXPECT_NEAR(fonts_->width("\xF0\x9F\x99\x82", Font{}), fonts_->width("\\u{1F642}", Font{}), 1e-6);
}

TEST_F(ImGuiSinkTest, widthsScaleWithTheEmAndNotWithThePixelRatio) {
  const double one = fonts_->width("microscope", Font{FontFace::Sans, 13, FontWeight::Regular});
  fonts_->setPixelRatio(2);
  fonts_->width("microscope", Font{FontFace::Sans, 13, FontWeight::Regular});
  EXPECT_TRUE(fonts_->needsRebuild());
  fonts_->rebuild(*ImGui::GetIO().Fonts);
  EXPECT_NEAR(fonts_->width("microscope", Font{FontFace::Sans, 13, FontWeight::Regular}), one, 0.5);
  EXPECT_NEAR(one, 13 * 5.9, 13 * 0.6) << "DejaVu Sans at 13 pixels to the em";
}

TEST_F(ImGuiSinkTest, drawsEveryKindOfItem) {
  Figure f = figure();
  f.background = {255, 255, 255};
  f.add(RectItem{{10, 10, 50, 20}, {1, 2, 3}, {4, 5, 6}, 0, 4});
  f.add(PolylineItem{{{0, 0}, {10, 10}, {20, 0}}, {0, 0, 0}});
  f.add(PolylineItem{{{0, 0}, {10, 10}, {20, 0}, {10, 30}}, {0, 0, 0}, {9, 9, 9}, 1, true});
  f.add(CurveItem{{0, 0}, {1, 1}, {2, 2}, {3, 3}, {0, 0, 0}});
  f.add(TextItem{{100, 100}, "turned", Font{}, {0, 0, 0}, AnchorX::Right, AnchorY::Middle, 60});
  f.add(HatchItem{{0, 0, 40, 40}, {0, 0, 0}});
  auto image = std::make_shared<Image>();
  image->width = image->height = 2;
  image->rgba.assign(16, 255);
  f.add(ClipItem{Rect{0, 0, 100, 100}});
  f.add(ImageItem{{0, 0, 20, 20}, image});  // its clip is never closed: the sink closes it
  f.addOverlay(RectItem{{0, 0, 5, 5}, {0, 0, 0}});
  const int clips = list_->_ClipRectStack.Size;
  ImGuiSink(*fonts_, textures_).draw(f, *list_, {5, 5});
  EXPECT_EQ(textures_.asked, image.get());
  EXPECT_EQ(list_->_ClipRectStack.Size, clips);
  EXPECT_GT(list_->VtxBuffer.Size, 60);
}

TEST_F(ImGuiSinkTest, longLinesStayWithinSixteenBitIndices) {
  Figure f = figure();
  PolylineItem line{{}, {0, 0, 0}};
  for (int i = 0; i < 100'000; ++i) line.points.push_back({i * 0.004, 100 + 50 * std::sin(i * 0.01)});
  f.add(line);
  ImGuiSink(*fonts_, textures_).draw(f, *list_, {0, 0});
  for (const ImDrawCmd& command : list_->CmdBuffer) {
    for (unsigned i = 0; i < command.ElemCount; ++i) {
      const unsigned vertex = command.VtxOffset + list_->IdxBuffer[static_cast<int>(command.IdxOffset + i)];
      ASSERT_LT(vertex, static_cast<unsigned>(list_->VtxBuffer.Size));
    }
  }
}

TEST_F(ImGuiSinkTest, longTextIsElidedToItsWidth) {
  Figure f = figure();
  TextItem text{{10, 50}, "grandmother grandmother", Font{}, {0, 0, 0}};
  text.maxWidth = 60;
  f.add(text);
  ImGuiSink(*fonts_, textures_).draw(f, *list_, {0, 0});
  for (const ImDrawVert& v : list_->VtxBuffer) EXPECT_LE(v.pos.x, 10 + 60 + 2);
}

TEST(EarClip, coversConvexAndConcaveOutlines) {
  const std::vector<Point> square{{0, 0}, {2, 0}, {2, 2}, {0, 2}};
  EXPECT_NEAR(area(square, earClip(square)), 4, 1e-9);
  const std::vector<Point> notch{{0, 0}, {4, 0}, {4, 4}, {2, 1}, {0, 4}};
  EXPECT_NEAR(area(notch, earClip(notch)), 10, 1e-9);
  const std::vector<Point> reversed(notch.rbegin(), notch.rend());
  EXPECT_NEAR(area(reversed, earClip(reversed)), 10, 1e-9);
  EXPECT_TRUE(earClip({{0, 0}, {1, 1}}).empty());
  EXPECT_LE(earClip({{0, 0}, {1, 1}, {2, 2}, {3, 3}}).size(), 6u);
}

}  // namespace headscope::views
