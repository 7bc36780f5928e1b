// How the window behaves beyond the main job: stopping and going on, presenting, following a selection, pinching, small screens,
// and numbers out of every view.
#include <QAbstractButton>
#include <QDoubleSpinBox>
#include <QLabel>
#include <QLineEdit>
#include <QNativeGestureEvent>
#include <QPointingDevice>
#include <QTimer>
#include <QToolButton>
#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "app/window/choice_row.h"
#include "app/window/export_dialog.h"
#include "app/window/head_table.h"
#include "app/window/inspector.h"
#include "app/window/prompt_panel.h"
#include "app/window/status_strip.h"
#include "app/window/token_strip.h"
#include "app/window/window_times.h"
#include "core/weights/synthetic_checkpoint.h"
#include "tests/app/window/window_fixture.h"
#include "tests/support/folders.h"
#include "views/view.h"

namespace headscope::app {
namespace {

class Habits : public WindowTest {
 protected:
  std::string figureText(int pane) {
    std::string text;
    for (const views::Item& item : window_->canvas()->workspace()->figure(pane).content) {
      if (const auto* words = std::get_if<views::TextItem>(&item.shape)) text += words->text + " ";
    }
    return text;
  }
  /// A long prompt, so that a map can be zoomed; its pictures are there.
  void readLongPrompt() {
    QString text;
    for (int i = 0; i < 12; ++i) text += "the girl said to the wolf, ";
    state().setPrompt(text, false);
    ASSERT_TRUE(waitFor([&] { return state().trace() && state().trace()->count() > 60; }));
    ASSERT_TRUE(settle());
  }
};

}  // namespace

TEST_F(Habits, whatWasStoppedSaysSoAndGoesOn) {
  ASSERT_TRUE(settle());
  QString text;
  for (int i = 0; i < 400; ++i) text += "the girl said to the wolf ";
  state().setPrompt(QString(), false);
  ASSERT_TRUE(waitFor([&] { return !state().trace(); }));
  state().setPrompt(text, false);
  ASSERT_TRUE(waitFor([&] { return state().jobs().isActive("forward"); }));
  state().stopJobs();
  frame();
  EXPECT_NE(figureText(1).find("stopped"), std::string::npos) << figureText(1);
  EXPECT_TRUE(window_->status().jobText().contains("stopped")) << window_->status().jobText().toStdString();
  ASSERT_TRUE(window_->status().resumeButton()->isVisible());
  window_->status().resumeButton()->click();
  EXPECT_TRUE(state().jobs().isActive("forward"));
  EXPECT_TRUE(state().stoppedText().isEmpty());
  state().setPrompt("Once upon a time there was a wolf", false);
  ASSERT_TRUE(settle());
}

TEST_F(Habits, theStatusBarSaysWhyTheCpuComputes) {
  ASSERT_TRUE(settle());
  const auto* label = window_->findChild<QLabel*>("backend");
  ASSERT_NE(label, nullptr);
  const auto backend = state().trace()->sharedBackend();
  const QString own = QString::fromStdString(backend->reason());
  EXPECT_TRUE(own.isEmpty() || label->text().contains("(" + own + ")")) << label->text().toStdString();
  backend->setReason("the device was lost: a made-up fault");  // as a pass finds out
  state().setPrompt("Once upon a time", false);
  EXPECT_TRUE(waitFor([&] { return label->text().endsWith("(the device was lost: a made-up fault)"); })) << label->text().toStdString();
}

TEST_F(Habits, theSidesGiveWayInANarrowWindowAndComeBack) {
  ASSERT_TRUE(settle());
  const int left = window_->headPanel().width(), right = window_->inspector().width();
  const auto areVisible = [&] { return std::pair(window_->headPanel().isVisible(), window_->inspector().isVisible()); };
  window_->resize(900, 700);
  ASSERT_TRUE(waitFor([&] { return areVisible() == std::pair(true, false); }));
  window_->resize(500, 400);
  ASSERT_TRUE(waitFor([&] { return areVisible() == std::pair(false, false); }));
  EXPECT_TRUE(waitFor([&] { return window_->promptPanel().height() < 80; }))
      << window_->promptPanel().height() << ": one line of text and one of tokens";
  frame();
  EXPECT_GT(window_->canvas()->workspace()->figureRect(1).width, 400) << "the pane in focus alone";
  window_->resize(1440, 900);
  ASSERT_TRUE(waitFor([&] { return areVisible() == std::pair(true, true); }));
  ASSERT_TRUE(waitFor([&] { return window_->headPanel().width() == left && window_->inspector().width() == right; }))
      << window_->headPanel().width() << ' ' << window_->inspector().width();
  // Put away by a person, a side stays away.
  window_->inspector().parentWidget()->hide();
  window_->resize(900, 700);
  window_->resize(1440, 900);
  ASSERT_TRUE(waitFor([&] { return window_->canvas()->width() > 1000; }));
  EXPECT_FALSE(window_->inspector().isVisible());
}

TEST_F(Habits, anInductionHeadIsFoundAndItsStripeSwitchedOff) {
  EXPECT_TRUE(window_->canvas()->hasFocus()) << "keys are commands from the start";
  ASSERT_TRUE(settle());
  window_->command("randomWords")->trigger();
  const std::string first = state().promptText().toStdString();
  ASSERT_TRUE(waitFor([&] { return state().trace() && state().trace()->prompt().text == first; }));
  ASSERT_TRUE(settle());
  const auto& tokens = state().trace()->prompt().tokens;
  ASSERT_EQ(tokens.size(), 41u) << "a first token, and twenty words twice";
  for (size_t i = 1; i <= 20; ++i) EXPECT_EQ(tokens[i].id, tokens[i + 20].id);
  // The clearest induction head and the previous-token head that feeds it.
  const auto best = [&](const char* score) {
    core::HeadRef found;
    for (int64_t layer = 0; layer < state().layers(); ++layer) {
      for (int64_t head = 0; head < state().heads(); ++head) {
        if (state().scores()->at(score, {layer, head}) > state().scores()->at(score, found)) found = {layer, head};
      }
    }
    return found;
  };
  const core::HeadRef induction = best("induction"), previous = best("previous");
  const double before = state().scores()->at("induction", induction);
  EXPECT_GT(before, 0.5);
  core::Selection selection = state().selection();
  selection.layer = previous.layer, selection.head = previous.head;
  state().select(selection);
  press(Qt::Key_O);
  EXPECT_EQ(state().mechanism(), "off");
  ASSERT_TRUE(
      waitFor([&] { return state().jobs().isIdle() && state().scores() && state().scores()->at("induction", induction) < before; }));
  press(Qt::Key_O);
  EXPECT_EQ(state().mechanism(), "");
  ASSERT_TRUE(
      waitFor([&] { return state().jobs().isIdle() && state().scores() && state().scores()->at("induction", induction) == before; }));
  window_->command("randomWords")->trigger();
  EXPECT_NE(state().promptText().toStdString(), first);
  ASSERT_TRUE(settle());
}

TEST_F(Habits, escapeLeavesATextBeforeItStopsAnything) {
  ASSERT_TRUE(settle());
  // Until it is stopped; it may outlive the test by a moment and refers to nothing of it
  const auto work = [](core::Job& job) -> JobRunner::Delivery {
    for (;;) job.checkpoint(), std::this_thread::yield();
  };
  for (QWidget* text : std::initializer_list<QWidget*>{window_->headPanel().filter(), window_->promptPanel().editor()}) {
    text->setFocus();
    state().jobs().submit("test", "Test", work, nullptr);
    QTest::keyClick(text, Qt::Key_Escape);
    EXPECT_TRUE(state().jobs().isActive("test"));
    EXPECT_FALSE(text->hasFocus());
    press(Qt::Key_Escape);
    EXPECT_FALSE(state().jobs().isActive("test"));
  }
  state().resume();
  ASSERT_TRUE(settle());
}

TEST_F(Habits, aStoppedPaneIsComputedAgain) {
  ASSERT_TRUE(settle());
  window_->command("view_complexity")->trigger();
  const int pane = state().focusedPane();
  const std::string lane = "pane " + std::to_string(pane);
  ASSERT_TRUE(waitFor([&] { return state().jobs().isActive(lane) || window_->board().hasPicture(pane); }));
  state().stopJobs();
  if (state().isStopped(lane)) {
    frame();
    EXPECT_NE(figureText(pane).find("was stopped"), std::string::npos) << figureText(pane);
    press(Qt::Key_R, Qt::ControlModifier);
    EXPECT_TRUE(waitFor([&] { return state().jobs().isActive(lane) || window_->board().hasPicture(pane); }));
  }
  window_->command("view_attention_map")->trigger();
  ASSERT_TRUE(settle());
}

TEST_F(Habits, whatTheStatusSaysOfJobsStaysToBeRead) {
  ASSERT_TRUE(settle());
  ASSERT_TRUE(waitFor([&] { return window_->status().jobText().isEmpty(); }));
  std::atomic<bool> isDone{false};
  const auto work = [&](core::Job& job) -> JobRunner::Delivery {
    while (!isDone) job.checkpoint(), std::this_thread::yield();
    return [] {};
  };
  const auto submit = [&](const char* title) { state().jobs().submit("test", title, work, nullptr); };
  // As typing does: every letter takes the place of what the one before asked for.
  submit("First");
  ASSERT_TRUE(waitFor([&] { return window_->status().jobText() == "First"; }));
  QElapsedTimer since;
  since.start();
  for (int letter = 0; letter < 5; ++letter) {
    submit("Second");
    QCoreApplication::processEvents();
    if (since.elapsed() > 400) break;  // a loaded machine: the text may change by now
    EXPECT_EQ(window_->status().jobText(), "First") << letter;
  }
  ASSERT_TRUE(waitFor([&] { return window_->status().jobText() == "Second"; }));
  isDone = true;
  ASSERT_TRUE(waitFor([&] { return state().jobs().isIdle(); }));
  ASSERT_TRUE(waitFor([&] { return window_->status().jobText().isEmpty(); }));
  EXPECT_FALSE(window_->status().stopButton()->isVisible());
}

TEST_F(Habits, whatAStoppedWeightViewHasStaysAndGoesOn) {
  ASSERT_TRUE(settle());
  // Layers enough to be stopped among, and of this run alone: the disk cache must not have them.
  core::SyntheticCheckpoint plan;
  plan.layers = 64, plan.width = 256, plan.heads = plan.kvHeads = 8, plan.headWidth = 32;
  plan.seed = static_cast<uint64_t>(QCoreApplication::applicationPid());
  plan.write(std::filesystem::path(folder_.path().toStdString()) / "layers");
  state().openModel(folder_.path() + QStringLiteral("/layers"));
  ASSERT_TRUE(waitFor([&] { return state().layers() == 64; }));
  window_->command("view_rank_map")->trigger();
  const int pane = state().focusedPane();
  const auto shown = [&] { return window_->board().pane(pane, {400, 400}); };
  ASSERT_TRUE(waitFor([&] { return shown().data != nullptr; }));
  state().stopJobs();
  if (state().isStopped("pane " + std::to_string(pane))) {
    frame();
    const views::WorkspaceHost::Pane stopped = shown();
    EXPECT_NE(stopped.data, nullptr);
    EXPECT_TRUE(stopped.message.empty()) << stopped.message;
    EXPECT_NE(stopped.note.find("was stopped"), std::string::npos) << stopped.note;
    EXPECT_EQ(stopped.action, "Go on");
    EXPECT_LT(window_->canvas()->workspace()->figureRect(pane).bottom(), window_->canvas()->height() - 8);  // the note's line is below
    window_->grab().save(QString::fromStdString((tests::buildFolder() / "window_stopped_view.png").string()));
    window_->board().resume(pane);
  }
  ASSERT_TRUE(waitFor([&] { return window_->board().hasPicture(pane); }));
  EXPECT_TRUE(shown().note.empty());
}

TEST_F(Habits, presenterModeEnlargesTypeAndDropsTheDocks) {
  ASSERT_TRUE(settle());
  const double type = state().theme().textSize;
  window_->canvas()->setFocus();
  press(Qt::Key_F5);
  EXPECT_TRUE(window_->isPresenting());
  EXPECT_DOUBLE_EQ(state().theme().textSize, 1.6 * type);
  EXPECT_EQ(window_->promptPanel().editor()->font().pixelSize(), static_cast<int>(1.6 * type + 0.5));
  EXPECT_FALSE(window_->headPanel().isVisible());
  EXPECT_FALSE(window_->inspector().isVisible());
  ASSERT_TRUE(settle());
  frame();
  window_->grab().save(QString::fromStdString((tests::buildFolder() / "window_presenting.png").string()));
  window_->chooseTheme(ThemeChoice::Dark);
  EXPECT_DOUBLE_EQ(state().theme().textSize, 1.6 * type) << "another theme keeps the size";
  press(Qt::Key_F5);
  EXPECT_DOUBLE_EQ(state().theme().textSize, type);
  EXPECT_TRUE(window_->headPanel().isVisible());
  window_->chooseTheme(ThemeChoice::System);
}

TEST_F(Habits, aZoomedMapFollowsTheQuery) {
  ASSERT_TRUE(settle());
  readLongPrompt();
  for (const MotionChoice motion : {MotionChoice::Gentle, MotionChoice::None}) {
    window_->chooseMotion(motion);
    EXPECT_EQ(state().isMotionWelcome(), motion == MotionChoice::Gentle);
    core::Selection at = state().selection();
    at.query = 2, at.key = 1;
    state().select(at);
    core::ViewOptions options = state().pane(1).options;
    options.firstRow = options.firstCol = 0, options.rows = options.cols = 10;
    window_->board().changeOptions(1, options);
    ASSERT_TRUE(settle());
    at.query = 50;
    state().select(at);
    frame();
    if (motion == MotionChoice::None) {
      EXPECT_NEAR(state().pane(1).options.firstRow, 45.5, 1e-6);
    }
    ASSERT_TRUE(waitFor([&] { return window_->board().isSettled(); }));
    EXPECT_NEAR(state().pane(1).options.firstRow, 45.5, 1e-6);
    EXPECT_NEAR(state().pane(1).options.firstCol, 0, 1e-6) << "the key was in sight";
  }
  window_->chooseMotion(MotionChoice::System);
}

TEST_F(Habits, aPinchZooms) {
  ASSERT_TRUE(settle());
  readLongPrompt();
  Canvas* canvas = window_->canvas();
  const QPoint at = findPick(1, [](const views::Pick& p) { return p.kind == views::Pick::Kind::Cell && p.a == 30 && p.b == 12; });
  for (int i = 0; i < 3; ++i) {
    QNativeGestureEvent event(Qt::ZoomNativeGesture, QPointingDevice::primaryPointingDevice(), 2, at, at, canvas->mapToGlobal(at), 0.3, {});
    QCoreApplication::sendEvent(canvas, &event);
    frame();
  }
  const double rows = state().pane(1).options.rows, all = static_cast<double>(state().trace()->count());
  EXPECT_NEAR(rows, all / (1.3 * 1.3 * 1.3), 0.01 * all);
  ASSERT_TRUE(settle());
}

TEST_F(Habits, everyViewWithNumbersWritesThem) {
  ASSERT_TRUE(settle());
  for (const views::View* view : views::allViews()) {
    const std::string name(view->name());
    if (name == "complexity") continue;  // measures for seconds; its numbers are the command's
    state().setView(1, name);
    frame();
    ASSERT_TRUE(settle()) << name;
    ExportRequest request;
    request.path = folder_.filePath(QString::fromStdString(name + ".csv"));
    window_->exportTo(1, request);
    ASSERT_TRUE(waitFor([&] { return state().jobs().isIdle(); })) << name;
    std::ifstream file(request.path.toStdString());
    std::string line;
    int lines = 0;
    while (std::getline(file, line)) ++lines;
    // Adapters and pictures are not open here: their views say so, and have no numbers.
    if (name == "lora" || name == "image") continue;
    EXPECT_GT(lines, 1) << name << ": " << window_->notices().text().toStdString();
    window_->notices().dismissErrors();
  }
  state().setView(1, "attention_map");
}

TEST_F(Habits, theExportDialogShowsThePictureAndSaves) {
  ASSERT_TRUE(settle());
  bool isShown = false;
  QTimer poll;
  QObject::connect(&poll, &QTimer::timeout, window_.get(), [&] {
    auto* dialog = window_->findChild<ExportDialog*>();
    if (!dialog || dialog->preview()->pixmap().isNull()) return;
    poll.stop();
    isShown = true;
    dialog->findChild<QDoubleSpinBox*>("width")->setValue(120);
    EXPECT_EQ(dialog->findChild<ChoiceRow*>("widths")->currentIndex(), 1);
    dialog->grab().save(QString::fromStdString((tests::buildFolder() / "export_dialog.png").string()));
    dialog->path()->setText(folder_.filePath("absent/map.svg"));
    EXPECT_FALSE(dialog->findChild<QAbstractButton*>("save")->isEnabled()) << "there is no such folder";
    dialog->path()->setText(folder_.filePath("map_3.2.svg"));
    dialog->setFormat(3);
    EXPECT_TRUE(dialog->path()->text().endsWith("map_3.2.csv"));
    EXPECT_TRUE(dialog->preview()->pixmap().isNull()) << "numbers have no picture";
    EXPECT_FALSE(dialog->findChild<QDoubleSpinBox*>("width")->isEnabled());
    dialog->setFormat(0);
    dialog->findChild<QAbstractButton*>("save")->click();
  });
  poll.start(20);
  window_->canvas()->setFocus();
  press(Qt::Key_E);
  ASSERT_TRUE(waitFor([&] { return isShown && window_->notices().text().contains("Saved"); }));
  EXPECT_GT(QFileInfo(folder_.filePath("map_3.2.svg")).size(), 1000);
  QFile saved(folder_.filePath("map_3.2.svg"));
  ASSERT_TRUE(saved.open(QIODevice::ReadOnly));
  EXPECT_TRUE(saved.readAll().contains("width=\"340")) << "120 mm";
}

TEST_F(Habits, theTimesOfARunAreWritten) {
  const std::filesystem::path file = folder_.filePath("times.json").toStdString();
  StartOptions options;
  options.prompt = "Once upon a time there was a wolf";
  QApplication::setQuitOnLastWindowClosed(false);  // other tests follow
  window_ = std::make_unique<MainWindow>(options);
  WindowTimes times(*window_, file);
  window_->show();
  ASSERT_TRUE(waitFor([&] { return std::filesystem::exists(file); }));
  std::ifstream in(file);
  const auto written = nlohmann::json::parse(in);
  EXPECT_LE(written.at("first_frame").get<double>(), written.at("maps").get<double>());
  EXPECT_LE(written.at("forward").get<double>(), written.at("head_grid").get<double>());
  EXPECT_GT(written.at("moving_frames").size(), 50u);
  EXPECT_GT(written.at("tokens").get<int>(), 5);
}

}  // namespace headscope::app
