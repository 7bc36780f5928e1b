// The main job in the window: a model with a sentence already run, heads picked anywhere, a new sentence, the picture saved.
#include <QDir>
#include <QDragEnterEvent>
#include <QFile>
#include <QImage>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QMimeData>
#include <QSet>
#include <QTableView>
#include <QTimer>
#include <QUrl>

#include "app/window/command_palette.h"
#include "app/window/export_dialog.h"
#include "app/window/head_table.h"
#include "app/window/inspector.h"
#include "app/window/prompt_panel.h"
#include "app/window/status_strip.h"
#include "app/window/token_strip.h"
#include "tests/app/window/window_fixture.h"
#include "tests/support/folders.h"
#include "views/view.h"

namespace headscope::app {
namespace {

core::HeadRef anotherHead(const core::Selection& selection) { return {selection.layer == 2 ? 1 : 2, selection.head == 3 ? 4 : 3}; }

}  // namespace

TEST_F(WindowTest, opensWithAModelThatHasReadASentence) {
  ASSERT_TRUE(settle());
  EXPECT_EQ(state().opened().model->name(), "tales");
  EXPECT_GT(state().trace()->count(), 30);
  EXPECT_EQ(window_->headPanel().table()->model()->rowCount(), state().layers() * state().heads());
  EXPECT_FALSE(window_->status().selectionText().isEmpty());
  EXPECT_FALSE(window_->inspector().sheet()->sections()[0].facts.empty());
  ASSERT_TRUE(waitFor([&] { return !state().nextTokens().empty(); }));
  frame();
  const QImage picture = window_->canvas()->grabFramebuffer();
  QSet<QRgb> colors;
  for (int y = 0; y < picture.height(); y += 3) {
    for (int x = 0; x < picture.width(); x += 3) colors.insert(picture.pixel(x, y));
  }
  EXPECT_GT(colors.size(), 50) << "the canvas shows maps and text";
  window_->grab().save(QString::fromStdString((tests::buildFolder() / "window.png").string()));
}

TEST_F(WindowTest, aHeadClickedInTheGridIsSelectedEverywhere) {
  ASSERT_TRUE(settle());
  const core::HeadRef wanted = anotherHead(state().selection());
  const core::HeadRef before = state().selection().ref();
  const QPoint cell =
      findPick(0, [&](const views::Pick& p) { return p.kind == views::Pick::Kind::Head && p.a == wanted.layer && p.b == wanted.head; });
  clickCanvas(cell);
  ASSERT_TRUE(waitFor([&] { return state().selection().ref() == wanted; }));
  const QString name = QStringLiteral("%1.%2").arg(wanted.layer).arg(wanted.head);
  EXPECT_TRUE(window_->status().selectionText().startsWith(name));
  ASSERT_TRUE(waitFor([&] { return window_->inspector().sheet()->sections()[0].title.contains(name); }));
  EXPECT_EQ(views::findView("attention_map")->subject(state().viewInput(1)), name.toStdString());
  EXPECT_GE(window_->headPanel().model()->rowOf(wanted), 0);

  window_->command("undo")->trigger();
  EXPECT_EQ(state().selection().ref(), before);
  window_->command("redo")->trigger();
  EXPECT_EQ(state().selection().ref(), wanted);
}

TEST_F(WindowTest, aRowClickedInTheTableIsSelected) {
  ASSERT_TRUE(settle());
  QTableView* table = window_->headPanel().table();
  const core::HeadRef wanted = window_->headPanel().model()->headAt(5);
  QTest::mouseClick(table->viewport(), Qt::LeftButton, {}, table->visualRect(table->model()->index(5, 0)).center());
  EXPECT_EQ(state().selection().ref(), wanted);
}

TEST_F(WindowTest, hoveringTheMapTellsQueryAndKey) {
  ASSERT_TRUE(settle());
  const QPoint cell = findPick(1, [](const views::Pick& p) { return p.kind == views::Pick::Kind::Cell && p.a == 12 && p.b == 5; });
  QTest::mouseMove(window_->canvas(), cell);
  ASSERT_TRUE(waitFor([&] { return state().hover().query == 12 && state().hover().key == 5; }))
      << state().hover().query << ' ' << state().hover().key;
  clickCanvas(cell);
  EXPECT_TRUE(waitFor([&] { return state().selection().query == 12 && state().selection().key == 5; }));
}

TEST_F(WindowTest, typingRunsTheNewPrompt) {
  ASSERT_TRUE(settle());
  const int64_t before = state().trace()->count();
  PromptEdit* editor = window_->promptPanel().editor();
  editor->setFocus();
  editor->moveCursor(QTextCursor::End);
  QTest::keyClicks(editor, " going far 1");  // f, 1 and so on are commands elsewhere
  EXPECT_TRUE(editor->toPlainText().endsWith(" going far 1"));
  ASSERT_TRUE(waitFor([&] { return state().trace() && state().trace()->count() > before; }));
  EXPECT_TRUE(state().trace()->prompt().text.find(" going far 1") != std::string::npos);
  EXPECT_EQ(state().maximisedPane(), -1);
  ASSERT_TRUE(settle());
}

TEST_F(WindowTest, anEmptyPromptShowsThatThereIsNone) {
  ASSERT_TRUE(settle());
  window_->promptPanel().editor()->clear();
  ASSERT_TRUE(waitFor([&] { return !state().trace(); }));
  frame();
  window_->promptPanel().editor()->setPlainText("Once upon a time");
  ASSERT_TRUE(settle());
}

TEST_F(WindowTest, hugeTextsAreCutAndSaidSo) {
  ASSERT_TRUE(settle());
  auto* data = new QMimeData;
  data->setText(QString(10'000'000, QChar('a')));
  PromptEdit* editor = window_->promptPanel().editor();
  QMetaObject::invokeMethod(editor, [editor] { editor->selectAll(); });
  class Opened : public PromptEdit {
   public:
    using PromptEdit::insertFromMimeData;
  };
  (editor->*&Opened::insertFromMimeData)(data);
  delete data;
  EXPECT_LE(editor->toPlainText().size(), AppState::kMostCharacters);
  EXPECT_TRUE(window_->notices().text().contains("cut")) << window_->notices().text().toStdString();
  window_->command("stop")->trigger();
  window_->promptPanel().editor()->setPlainText("Once upon a time");
  ASSERT_TRUE(settle());
}

TEST_F(WindowTest, keysMoveHeadLayerAndQuery) {
  ASSERT_TRUE(settle());
  core::Selection start = state().selection();
  start.layer = 1, start.head = 2, start.query = 10;
  state().select(start);
  window_->canvas()->setFocus();
  press(Qt::Key_Right);
  press(Qt::Key_Down);
  press(Qt::Key_BracketLeft);
  EXPECT_EQ(state().selection().ref(), (core::HeadRef{2, 3}));
  EXPECT_EQ(state().selection().query, 9);
  press(Qt::Key_Z, Qt::ControlModifier);
  EXPECT_EQ(state().selection().query, 10);
  press(Qt::Key_F);
  EXPECT_EQ(state().maximisedPane(), state().focusedPane());
  press(Qt::Key_F);
  EXPECT_EQ(state().maximisedPane(), -1);
  press(Qt::Key_1);
  EXPECT_EQ(state().pane(state().focusedPane()).view, std::string(views::allViews()[0]->name()));
}

TEST_F(WindowTest, slashFindsHeads) {
  ASSERT_TRUE(settle());
  window_->canvas()->setFocus();
  press(Qt::Key_Slash);
  QLineEdit* filter = window_->headPanel().filter();
  ASSERT_TRUE(filter->hasFocus());
  QTest::keyClicks(filter, "3.5");
  EXPECT_EQ(window_->headPanel().model()->rowCount(), 1);
  QTest::keyClick(filter, Qt::Key_Return);
  EXPECT_EQ(state().selection().ref(), (core::HeadRef{3, 5}));
  const std::string before = window_->headPanel().model()->score();
  filter->setText("dist<9");
  EXPECT_EQ(window_->headPanel().model()->score(), "distance") << "what is asked for is shown";
  EXPECT_TRUE(window_->headPanel().model()->isAscending());
  filter->setText("3.*");
  EXPECT_EQ(window_->headPanel().model()->score(), before);
  filter->setText("previous>0.99999");
  EXPECT_EQ(window_->headPanel().model()->rowCount(), 0);
  filter->setText("nonsense>");
  EXPECT_EQ(window_->headPanel().model()->rowCount(), 0) << "what is not understood changes nothing";
  filter->clear();
  EXPECT_EQ(window_->headPanel().model()->rowCount(), state().layers() * state().heads());
}

TEST_F(WindowTest, aTokenClickedBecomesTheQuery) {
  ASSERT_TRUE(settle());
  TokenStrip* strip = window_->promptPanel().strip();
  QTest::mouseClick(strip, Qt::LeftButton, {}, strip->chipRect(7).center());
  EXPECT_EQ(state().selection().query, 7);
  QTest::mouseMove(strip, strip->chipRect(3).center());
  EXPECT_TRUE(waitFor([&] { return state().hover().key == 3; }));
}

TEST_F(WindowTest, picturesAreSavedWithTheirSessionAndOpenedAgain) {
  ASSERT_TRUE(settle());
  core::Selection chosen = state().selection();
  chosen.layer = 2, chosen.head = 6;
  state().select(chosen);
  ASSERT_TRUE(settle());
  for (const char* ending : {"svg", "pdf", "png", "csv"}) {
    ExportRequest request;
    request.path = folder_.filePath(QStringLiteral("map.") + ending);
    window_->exportTo(1, request);
    ASSERT_TRUE(waitFor([&] { return state().jobs().isIdle(); }));
    EXPECT_GT(QFileInfo(request.path).size(), 100) << ending << ": " << window_->notices().text().toStdString();
  }
  state().moveHead(-1, -1);
  window_->openPath(folder_.filePath("map.svg"));
  ASSERT_TRUE(waitFor([&] { return state().selection().ref() == core::HeadRef{2, 6}; }));
  ASSERT_TRUE(settle());
}

TEST_F(WindowTest, aFolderThatCanNotBeWrittenToIsSaid) {
  ASSERT_TRUE(settle());
  ExportRequest request;
  request.path = folder_.filePath("absent/map.svg");
  window_->exportTo(1, request);
  ASSERT_TRUE(waitFor([&] { return window_->notices().text().contains("map.svg") || window_->notices().text().contains("absent"); }));
  EXPECT_TRUE(settle());
}

TEST_F(WindowTest, aBadFolderDroppedIsSaidAndTheModelStays) {
  ASSERT_TRUE(settle());
  ASSERT_TRUE(QDir(folder_.path()).mkdir("empty"));
  const QString bad = folder_.filePath("empty");
  QMimeData data;
  data.setUrls({QUrl::fromLocalFile(bad)});
  QDragEnterEvent enter(QPoint(400, 300), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
  QCoreApplication::sendEvent(window_.get(), &enter);
  EXPECT_TRUE(enter.isAccepted());
  QDropEvent drop(QPointF(400, 300), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
  QCoreApplication::sendEvent(window_.get(), &drop);
  ASSERT_TRUE(waitFor([&] { return window_->notices().text().contains("empty"); })) << window_->notices().text().toStdString();
  EXPECT_EQ(state().opened().model->name(), "tales");
  state().moveHead(0, 1);
  ASSERT_TRUE(settle());
}

TEST_F(WindowTest, aFileThatIsNoFigureIsSaid) {
  ASSERT_TRUE(settle());
  QFile file(folder_.filePath("notes.svg"));
  ASSERT_TRUE(file.open(QIODevice::WriteOnly));
  file.write("<svg></svg>");
  file.close();
  window_->openPath(file.fileName());
  ASSERT_TRUE(waitFor([&] { return window_->notices().text().contains("notes.svg"); }));
}

TEST_F(WindowTest, survivesEverySize) {
  ASSERT_TRUE(settle());
  for (const QSize size : {QSize(0, 0), QSize(1, 1), QSize(1, 600), QSize(900, 1), QSize(30, 30), QSize(500, 400)}) {
    window_->canvas()->resize(size);
    window_->canvas()->repaint();
    QCoreApplication::processEvents();
  }
  window_->resize(1, 1);
  QCoreApplication::processEvents();
  window_->resize(1200, 800);
  for (const char* panes : {"panes1", "panes4", "panes2"}) {
    window_->command(panes)->trigger();
    frame();
    ASSERT_TRUE(settle()) << panes;
  }
}

TEST_F(WindowTest, stoppingLeavesTheWindowUsable) {
  ASSERT_TRUE(settle());
  QString text;
  for (int i = 0; i < 400; ++i) text += "the girl said to the wolf ";
  state().setPrompt(text, false);
  ASSERT_TRUE(waitFor([&] { return state().jobs().isActive("forward"); }));
  window_->command("stop")->trigger();
  EXPECT_TRUE(waitFor([&] { return state().jobs().isIdle(); }));
  state().setPrompt("Once upon a time there was a wolf", false);
  ASSERT_TRUE(settle());
}

TEST_F(WindowTest, bothThemesAndThePalette) {
  ASSERT_TRUE(settle());
  window_->chooseTheme(ThemeChoice::Dark);
  frame();
  EXPECT_TRUE(state().theme().isDark);
  window_->grab().save(QString::fromStdString((tests::buildFolder() / "window_dark.png").string()));
  QTimer::singleShot(100, window_.get(), [&] {
    auto* palette = window_->findChild<CommandPalette*>();
    ASSERT_TRUE(palette);
    palette->input()->setText("theme nothing like it");
    EXPECT_EQ(palette->list()->count(), 0);
    palette->input()->setText("four panes");
    EXPECT_EQ(palette->list()->count(), 1);
    QTest::keyClick(palette->input(), Qt::Key_Return);
  });
  window_->showPalette();
  EXPECT_TRUE(waitFor([&] { return state().paneCount() == 4; }));
}

TEST_F(WindowTest, everyCommandAndControlExplainsItself) {
  ASSERT_TRUE(settle());
  for (const QWidget* widget : window_->findChildren<QWidget*>()) {
    const bool isControl = widget->inherits("QAbstractButton") || widget->inherits("QLineEdit") || widget->inherits("QAbstractSlider") ||
                           widget->inherits("QPlainTextEdit");
    const bool isPart = widget->objectName().startsWith("qt_") || widget->inherits("QScrollBar") || !widget->isVisible();
    if (!isControl || isPart) continue;
    EXPECT_FALSE(widget->toolTip().isEmpty() && (!widget->parentWidget() || widget->parentWidget()->toolTip().isEmpty()))
        << widget->metaObject()->className() << ' ' << widget->objectName().toStdString();
  }
  for (const QAction* action : window_->actions()) EXPECT_FALSE(action->toolTip().isEmpty()) << action->text().toStdString();
}

TEST_F(WindowTest, withoutOpenGlTheRestStays) {
  ASSERT_TRUE(settle());
  Q_EMIT window_->canvas()->unsupported("this display offers OpenGL 2.1, the pictures need 3.3");
  ASSERT_TRUE(waitFor([&] { return window_->findChild<QLabel*>("noOpenGl") != nullptr; }));
  EXPECT_TRUE(window_->findChild<QLabel*>("noOpenGl")->text().contains("command line"));
  state().moveHead(0, 1);
  EXPECT_TRUE(waitFor([&] { return state().jobs().isIdle(); }));
}

}  // namespace headscope::app
