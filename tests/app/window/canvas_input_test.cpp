#include "app/window/canvas_input.h"

#include <gtest/gtest.h>

namespace headscope::app {
using Kind = CanvasEvent::Kind;

TEST(CanvasInput, aClickBetweenTwoFramesIsSeenAsTwoFrames) {
  CanvasInput input;
  input.push({Kind::Move, 5, 6});
  input.push({Kind::Button, 0, 0, 0, true});
  input.push({Kind::Move, 5, 6});
  input.push({Kind::Button, 0, 0, 0, false});
  const auto first = input.takeFrame();
  ASSERT_EQ(first.size(), 2u);
  EXPECT_TRUE(first[1].isDown);
  const auto second = input.takeFrame();
  ASSERT_EQ(second.size(), 2u);
  EXPECT_FALSE(second[1].isDown);
  EXPECT_TRUE(input.isEmpty());
}

TEST(CanvasInput, otherButtonsShareAFrame) {
  CanvasInput input;
  input.push({Kind::Button, 0, 0, 0, true});
  input.push({Kind::Button, 0, 0, 2, true});
  input.push({Kind::Key, 0, 0, kKeyEscape, true});
  EXPECT_EQ(input.takeFrame().size(), 3u);
}

TEST(CanvasInput, movesAndWheelGatherInOneFrame) {
  CanvasInput input;
  for (int i = 0; i < 10; ++i) input.push({Kind::Move, static_cast<double>(i), 0});
  input.push({Kind::Wheel, 0, 1});
  EXPECT_EQ(input.takeFrame().size(), 11u);
}

}  // namespace headscope::app
