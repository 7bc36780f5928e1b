// Mechanisms in the window: a mask drawn with the mouse, the whole model under it, and back to what was trained.
#include "app/window/status_strip.h"
#include "core/attention/attention_map.h"
#include "tests/app/window/window_fixture.h"
#include "views/mechanism_words.h"
#include "views/view.h"

namespace headscope::app {
namespace {

using views::Pick;

class MechanismWindow : public WindowTest {
 protected:
  void show(const char* view) {
    ASSERT_TRUE(settle());
    state().setPaneCount(1);
    state().setView(0, view);
    ASSERT_TRUE(waitFor([&] { return settle() && window_->board().isSettled(); }));
    frame();
    frame();
  }
  std::string mechanism() { return views::shownMechanism(state().viewInput(0)); }
};

}  // namespace

TEST_F(MechanismWindow, blocksAreDrawnWithTheMouse) {
  show("mask");
  const QPoint word =
      findPick(0, [](const Pick& p) { return p.kind == Pick::Kind::Control && p.tip.find("drawn with the mouse") != std::string::npos; });
  clickCanvas(word);
  ASSERT_TRUE(waitFor([&] { return mechanism().rfind("block", 0) == 0; }));
  ASSERT_TRUE(settle());
  frame();
  const std::string before = mechanism();
  const auto cell = [&](int64_t query, int64_t key) {
    return findPick(0, [=](const Pick& p) { return p.kind == Pick::Kind::Cell && p.a == query && p.b == key; });
  };
  const QPoint from = cell(30, 2), to = cell(30, 20);
  QWidget* canvas = window_->canvas();
  QTest::mousePress(canvas, Qt::LeftButton, {}, from);
  frame();
  for (int step = 1; step <= 12; ++step) {
    QTest::mouseMove(canvas, from + (to - from) * step / 12);
    frame();
  }
  QTest::mouseRelease(canvas, Qt::LeftButton, {}, to);
  frame();
  EXPECT_GT(mechanism().size(), before.size() + 6) << mechanism();  // several blocks of that row
  ASSERT_TRUE(settle());
}

TEST_F(MechanismWindow, masksAndTheirNumbersAreInThePane) {
  show("mask");
  clickCanvas(findPick(0, [](const Pick& p) { return p.kind == Pick::Kind::Control && p.tip.find("StreamingLLM") != std::string::npos; }));
  ASSERT_TRUE(waitFor([&] { return mechanism().rfind("sinks", 0) == 0; }));
  ASSERT_TRUE(settle());
  frame();
  const auto isTrack = [](const Pick& p) { return p.kind == Pick::Kind::Control && p.tip.find("last keys") == 0; };
  const QPoint knob = findPick(0, isTrack);
  const std::string before = mechanism();
  QWidget* canvas = window_->canvas();
  QTest::mousePress(canvas, Qt::LeftButton, {}, knob);
  frame();
  for (int step = 1; step <= 20; ++step) {  // each asks for another mask before the last one is there
    QTest::mouseMove(canvas, knob - QPoint(step, 0));
    frame();
  }
  QTest::mouseRelease(canvas, Qt::LeftButton, {}, knob - QPoint(20, 0));
  frame();
  EXPECT_NE(mechanism(), before);
  ASSERT_TRUE(waitFor([&] { return settle() && window_->board().isSettled(); }));  // and the last one is shown in the end
  EXPECT_TRUE(window_->board().hasPicture(0));
}

TEST_F(MechanismWindow, theWholeModelRunsUnderThePanesMechanism) {
  show("mask");
  const auto trained = state().trace();
  const std::string shown = mechanism();
  window_->command("replaceAll")->trigger();
  EXPECT_EQ(state().mechanism(), shown);
  EXPECT_EQ(state().replacedHeads(), "all");
  ASSERT_TRUE(waitFor([&] { return state().trace() && state().trace() != trained; }));
  ASSERT_TRUE(settle());
  EXPECT_TRUE(window_->status().selectionText().contains(QString::fromStdString(shown)));
  EXPECT_EQ(state().session().mechanism, shown);
  ASSERT_TRUE(waitFor([&] { return !state().rowWeights().empty(); }));
  const core::Selection& selection = state().selection();
  EXPECT_EQ(state().rowWeights(), core::AttentionMap(state().trace(), selection.ref()).row(selection.query));
  const auto replaced = state().trace();
  state().applySession(state().session());  // a session brings it back
  ASSERT_TRUE(waitFor([&] { return state().trace() && state().trace() != replaced; }));
  EXPECT_EQ(state().mechanism(), shown);
  ASSERT_TRUE(settle());
  window_->command("asTrained")->trigger();
  EXPECT_TRUE(state().session().mechanism.empty());
  ASSERT_TRUE(settle());
}

TEST_F(MechanismWindow, aWordTellsWhatTheLossBecomes) {
  show("comparison");
  const QPoint word =
      findPick(0, [](const Pick& p) { return p.kind == Pick::Kind::Control && p.tip.find("next-token loss") != std::string::npos; });
  clickCanvas(word);
  ASSERT_TRUE(waitFor([&] { return state().pane(0).options.words.count("replace") > 0; }));
  frame();
  ASSERT_TRUE(settle());
  frame();
  bool isTold = false;
  for (const views::Item& item : window_->canvas()->workspace()->figure(0).content) {
    const auto* text = std::get_if<views::TextItem>(&item.shape);
    isTold = isTold || (text != nullptr && text->text.find("next-token loss") != std::string::npos);
  }
  EXPECT_TRUE(isTold);
}

}  // namespace headscope::app
