#include "views/color_ramp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "views/map_image.h"

namespace headscope::views {
namespace {

double lightness(Color c) { return toOklch(c).lightness; }

TEST(ColorRamp, AttentionStartsAtTheCanvasAndIsMonotoneInLightness) {
  for (const Theme& theme : {lightTheme(), darkTheme()}) {
    const ColorRamp ramp = attentionRamp(theme);
    EXPECT_EQ(ramp.at(0), theme.canvas);
    const double sign = theme.isDark ? 1 : -1;
    for (int i = 1; i < ColorRamp::kSteps; ++i) {
      EXPECT_GE(sign * (lightness(ramp.colors()[static_cast<size_t>(i)]) - lightness(ramp.colors()[static_cast<size_t>(i - 1)])), -0.002)
          << i;
    }
    EXPECT_NEAR(lightness(ramp.at(1)), theme.isDark ? 0.95 : 0.28, 0.01);
    std::set<std::tuple<int, int, int>> different;
    for (const Color c : ramp.colors()) different.insert({c.r, c.g, c.b});
    EXPECT_GT(different.size(), 200u);
  }
}

TEST(ColorRamp, DivergingIsTheCanvasAtZeroAndEquallyLightOnBothSides) {
  for (const Theme& theme : {lightTheme(), darkTheme()}) {
    const ColorRamp ramp = divergingRamp(theme);
    EXPECT_EQ(ramp.at(0.5), theme.canvas);
    for (const double step : {0.1, 0.25, 0.4, 0.5})
      EXPECT_NEAR(lightness(ramp.at(0.5 - step)), lightness(ramp.at(0.5 + step)), 0.01) << step;
    for (int i = 1; i < 127; ++i) {
      const double change = lightness(ramp.colors()[static_cast<size_t>(i)]) - lightness(ramp.colors()[static_cast<size_t>(i - 1)]);
      EXPECT_GE(theme.isDark ? -change : change, -0.003) << i;
    }
    EXPECT_GT(ramp.at(0).b, ramp.at(0).r);
    EXPECT_GT(ramp.at(1).r, ramp.at(1).b);
  }
}

TEST(ColorRamp, ScalarIsMonotone) {
  for (const Theme& theme : {lightTheme(), darkTheme()}) {
    const ColorRamp ramp = scalarRamp(theme);
    for (int i = 1; i < ColorRamp::kSteps; ++i) {
      EXPECT_GE(lightness(ramp.colors()[static_cast<size_t>(i)]), lightness(ramp.colors()[static_cast<size_t>(i - 1)]) - 0.002) << i;
    }
  }
}

TEST(ColorRamp, NanIsTransparent) { EXPECT_EQ(attentionRamp(lightTheme()).at(std::nan("")).a, 0); }

TEST(ColorRamp, PicturesHaveTheColourOfEachValue) {
  const ColorRamp ramp = attentionRamp(lightTheme());
  core::Matrix values(7, 333);
  for (int64_t i = 0; i < values.size(); ++i) values.data()[i] = static_cast<float>(std::pow(10.0, -7.0 * static_cast<double>(i) / 2330));
  values(0, 0) = NAN, values(0, 1) = 0, values(0, 2) = -1, values(0, 3) = INFINITY, values(0, 4) = 1e-42f;
  const auto stepOf = [&](const Color& c) { return std::find(ramp.colors().begin(), ramp.colors().end(), c) - ramp.colors().begin(); };
  for (const core::ColorScale kind : {core::ColorScale::Linear, core::ColorScale::SquareRoot, core::ColorScale::Log}) {
    for (const auto& [low, high] : {std::pair{0.0, 1.0}, {0.0, 0.37}, {1e-3, 0.5}, {-0.2, 0.8}, {0.4, 0.4}}) {
      const ValueScale scale{kind, low, high};
      bool hasNan = false;
      const auto image = mapImage(values, scale, ramp, &hasNan);
      EXPECT_TRUE(hasNan);
      for (int64_t i = 0; i < values.size(); ++i) {
        const uint8_t* p = image->rgba.data() + 4 * i;
        const Color seen{p[0], p[1], p[2], p[3]}, wanted = ramp.at(scale.unit(values.data()[i]));
        if (seen == wanted) continue;  // a value on the edge between two steps may fall to either
        EXPECT_LE(std::abs(stepOf(seen) - stepOf(wanted)), 1) << static_cast<int>(kind) << ' ' << low << ' ' << high << ' ' << i;
      }
    }
  }
}

TEST(ColorRamp, OklchThereAndBack) {
  for (const Color c : {Color{255, 0, 0}, Color{12, 200, 77}, Color{0, 0, 0}, Color{255, 255, 255}, Color{11, 107, 203}}) {
    const Color back = fromOklch(toOklch(c));
    EXPECT_NEAR(back.r, c.r, 1);
    EXPECT_NEAR(back.g, c.g, 1);
    EXPECT_NEAR(back.b, c.b, 1);
  }
}

TEST(Theme, TextIsReadable) {
  for (const Theme& t : {lightTheme(), darkTheme(), paperTheme(false), paperTheme(true)}) {
    for (const Color ground : {t.canvas, t.panel, t.raised}) {
      for (const Color ink : {t.ink, t.inkSecond, t.accent, t.warning, t.error}) {
        // Links and warnings stand on canvas and panel only; ink, second ink and errors also on raised things.
        if (ground == t.raised && (ink == t.accent || ink == t.warning)) continue;
        EXPECT_GE(contrast(ink, ground), 4.5) << (t.isDark ? "dark" : "light") << " " << int(ink.r) << "," << int(ink.g) << ","
                                              << int(ink.b) << " on " << int(ground.r);
      }
    }
    EXPECT_GE(contrast(t.inkSecond, t.raised), 4.5);
    EXPECT_GE(contrast(t.specialInk, t.specialFill), 4.5);
  }
}

TEST(ValueScale, MapsLinearSquareRootAndLog) {
  using core::ColorScale;
  EXPECT_DOUBLE_EQ((ValueScale{ColorScale::Linear, 0, 2}.unit(0.5)), 0.25);
  EXPECT_DOUBLE_EQ((ValueScale{ColorScale::SquareRoot, 0, 2}.unit(0.5)), 0.5);
  EXPECT_NEAR((ValueScale{ColorScale::Log, 0.01, 1}.unit(0.1)), 0.5, 1e-12);
  EXPECT_NEAR((ValueScale{ColorScale::Log, 0, 1}.unit(0.01)), 0.5, 1e-12);  // four decades from 0
  EXPECT_DOUBLE_EQ((ValueScale{ColorScale::Linear, 0, 2}.unit(5)), 1);
  EXPECT_DOUBLE_EQ((ValueScale{ColorScale::Linear, 0, 2}.unit(-5)), 0);
  const ValueScale both{ColorScale::SquareRoot, 0, 4, false, true};  // around zero
  EXPECT_DOUBLE_EQ(both.unit(0), 0.5);
  EXPECT_DOUBLE_EQ(both.unit(1), 0.75);
  EXPECT_DOUBLE_EQ(both.unit(-4), 0);
  EXPECT_DOUBLE_EQ((ValueScale{ColorScale::Log, 0, 0}.unit(1)), 0);
  EXPECT_TRUE(std::isnan((ValueScale{ColorScale::Log, 0, 1}.unit(std::nan("")))));
}

TEST(ValueScale, LimitsComeFromTheDataUnlessLocked) {
  core::Matrix m = core::Matrix::zeros(2, 2);
  m(0, 0) = 1, m(1, 0) = 0.7f, m(1, 1) = 0.3f;
  EXPECT_FLOAT_EQ(static_cast<float>(scaleFor({}, m, 1).high), 0.3f);
  EXPECT_FLOAT_EQ(static_cast<float>(scaleFor({}, m, 0).high), 1.0f);
  core::ViewOptions locked;
  locked.limits = {0.1, 0.5};
  EXPECT_TRUE(scaleFor(locked, m, 1).isLocked);
  EXPECT_DOUBLE_EQ(scaleFor(locked, m, 1).low, 0.1);
}

}  // namespace
}  // namespace headscope::views
