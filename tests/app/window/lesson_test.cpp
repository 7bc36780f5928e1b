// A lesson in the window: each step brings its session, keys lead on and back, and ending it leaves what is there.
#include <QAction>

#include "app/window/lesson_bar.h"
#include "tests/app/window/window_fixture.h"

namespace headscope::app {
namespace {

using LessonTest = WindowTest;

TEST_F(LessonTest, stepsLeadThroughTheModel) {
  EXPECT_FALSE(window_->command("lessonNext")->isEnabled());
  window_->command("lesson")->trigger();
  LessonBar& lesson = window_->lesson();
  ASSERT_TRUE(waitFor([&] { return lesson.isRunning() && state().trace(); }));
  EXPECT_TRUE(lesson.isVisible());
  EXPECT_EQ(state().pane(0).view, "head_grid");
  QTest::keyClick(window_->canvas(), Qt::Key_Space);
  ASSERT_TRUE(waitFor([&] { return lesson.step() == 1; }));
  EXPECT_EQ(state().pane(0).view, "attention_map");
  QTest::keyClick(window_->canvas(), Qt::Key_PageDown);
  ASSERT_TRUE(waitFor([&] { return lesson.step() == 2; }));
  EXPECT_EQ(state().selection().ref(), (core::HeadRef{3, 3}));
  window_->command("lessonBack")->trigger();
  EXPECT_EQ(state().selection().ref(), (core::HeadRef{1, 6}));
  for (int i = 0; i < 9; ++i) lesson.move(1);
  EXPECT_EQ(lesson.step(), 5u);
  ASSERT_TRUE(waitFor([&] { return state().trace() != nullptr; }));
  lesson.end();
  EXPECT_FALSE(lesson.isVisible());
  EXPECT_FALSE(window_->command("lessonNext")->isEnabled());
  EXPECT_EQ(state().pane(0).view, "spectra");
}

}  // namespace
}  // namespace headscope::app
