// The menus and commands of the main window: each command once, with its shortcut and what it does; the palette lists them all.
#include <QActionGroup>
#include <QApplication>
#include <QDir>
#include <QDockWidget>
#include <QFileDialog>
#include <QFileInfo>
#include <QMenu>
#include <QMenuBar>
#include <QMessageBox>

#include "app/assets.h"
#include "app/window/lesson_bar.h"
#include "app/window/main_window.h"
#include "app/window/notice_bar.h"
#include "app/window/prompt_panel.h"
#include "app/window/random_words.h"
#include "core/attention/head_name.h"
#include "views/mechanism_words.h"

namespace headscope::app {
namespace {
constexpr int kMostRecent = 10;
constexpr int kRandomWords = 20;
}  // namespace

QAction* MainWindow::add(QMenu* menu, const char* name, const QString& text, const QKeySequence& key, const QString& tip,
                         std::function<void()> run) {
  auto* action = new QAction(text, this);
  action->setObjectName(QLatin1String(name));
  action->setShortcut(key);
  action->setToolTip(tip);
  action->setStatusTip({});
  connect(action, &QAction::triggered, this, [run = std::move(run)] { run(); });
  if (menu) menu->addAction(action);
  addAction(action);
  commands_.append(action);
  return action;
}

void MainWindow::buildMenus() {
  buildFileMenu();
  AppState& s = *state_;
  QMenu* edit = menuBar()->addMenu(tr("&Edit"));
  QAction* undo = add(edit, "undo", tr("Undo selection"), QKeySequence::Undo, tr("Back to what was selected before"), [&s] { s.undo(); });
  QAction* redo =
      add(edit, "redo", tr("Redo selection"), QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_Z), tr("Forth again"), [&s] { s.redo(); });
  connect(state_.get(), &AppState::selectionChanged, this, [&s, undo, redo] {
    undo->setEnabled(s.canUndo());
    redo->setEnabled(s.canRedo());
  });
  undo->setEnabled(false), redo->setEnabled(false);
  edit->addSeparator();
  add(edit, "editPrompt", tr("Edit the prompt"), QKeySequence(Qt::CTRL | Qt::Key_L), tr("Go to the text"), [this] {
    promptPanel_->editor()->setFocus();
    promptPanel_->editor()->selectAll();
  });
  add(edit, "findHead", tr("Find heads"), QKeySequence(Qt::Key_Slash), tr("By place or score: 3.5, induction>0.4"), [this] { findHead(); });
  add(edit, "randomWords", tr("Try random words, twice"), {},
      tr("Induction heads show themselves: they look at what followed a word the first time. Again: other words"),
      [this] { tryRandomWords(); });
  QMenu* move = edit->addMenu(tr("Move the selection"));
  add(move, "headLeft", tr("Previous head"), QKeySequence(Qt::Key_Left), tr("The head to the left"), [&s] { s.moveHead(0, -1); });
  add(move, "headRight", tr("Next head"), QKeySequence(Qt::Key_Right), tr("The head to the right"), [&s] { s.moveHead(0, 1); });
  add(move, "layerUp", tr("Previous layer"), QKeySequence(Qt::Key_Up), tr("The same head one layer earlier"), [&s] { s.moveHead(-1, 0); });
  add(move, "layerDown", tr("Next layer"), QKeySequence(Qt::Key_Down), tr("The same head one layer later"), [&s] { s.moveHead(1, 0); });
  add(move, "queryBack", tr("Previous query"), QKeySequence(Qt::Key_BracketLeft), tr("The token before"), [&s] { s.moveQuery(-1); });
  add(move, "queryForth", tr("Next query"), QKeySequence(Qt::Key_BracketRight), tr("The token after"), [&s] { s.moveQuery(1); });
  buildViewMenu();
  QMenu* mechanism = menuBar()->addMenu(tr("&Mechanism"));
  add(mechanism, "replaceAll", tr("Run all heads under the pane's mechanism"), {},
      tr("The whole model under the mechanism that the focused mask or comparison shows"), [this] { replaceHeads("all"); });
  add(mechanism, "replaceHead", tr("Run the selected head under the pane's mechanism"), {},
      tr("Only this head; the others stay as trained"), [this, &s] { replaceHeads(core::headName(s.selection().ref())); });
  add(mechanism, "switchHead", tr("Switch the selected head off, or on again"), QKeySequence(Qt::Key_O),
      tr("Its output becomes zero: what others make of that is in their maps and in the loss"), [this] { switchHead(); });
  add(mechanism, "asTrained", tr("Run the model as trained"), {}, tr("Every head under its own attention again"),
      [&s] { s.setReplacement("", ""); });
  buildHelpMenu();
  QAction* stop = add(nullptr, "stop", tr("Stop what is being computed, or put a message away"), QKeySequence(Qt::Key_Escape),
                      tr("Cancels every running job; in a text, leaves the text"), [this, &s] {
                        // In a text it only leaves the text: what was just asked for there is wanted.
                        const QWidget* focus = focusWidget();
                        const bool isTyping = focus && (focus->inherits("QLineEdit") || focus->inherits("QPlainTextEdit"));
                        if (!isTyping && !s.jobs().isIdle()) s.stopJobs();
                        notices_->dismissErrors();
                        leaveFocus();
                      });
  stop->setShortcutContext(Qt::WindowShortcut);
  add(edit, "resume", tr("Go on with what was stopped"), QKeySequence(Qt::CTRL | Qt::Key_R), tr("Computes it after all"),
      [&s] { s.resume(); });
}

void MainWindow::buildHelpMenu() {
  QMenu* help = menuBar()->addMenu(tr("&Help"));
  add(help, "lesson", tr("A first lesson"), {}, tr("Six steps through what heads do, on the bundled model"),
      [this] { openSession(QString::fromStdString((assetsFolder() / "lessons" / "first_look.json").string())); });
  QAction* next = add(help, "lessonNext", tr("Next step of the lesson"), {}, tr("While a lesson runs"), [this] { lesson_->move(1); });
  QAction* back = add(help, "lessonBack", tr("Step back in the lesson"), QKeySequence(Qt::Key_PageUp), tr("While a lesson runs"),
                      [this] { lesson_->move(-1); });
  next->setShortcuts({QKeySequence(Qt::Key_Space), QKeySequence(Qt::Key_PageDown)});
  const auto enable = [this, next, back] {
    next->setEnabled(lesson_->isRunning());
    back->setEnabled(lesson_->isRunning());
  };
  connect(lesson_, &LessonBar::changed, this, enable);
  enable();
  help->addSeparator();
  add(help, "palette", tr("Commands and shortcuts"), QKeySequence(Qt::CTRL | Qt::Key_K), tr("Every command by name"),
      [this] { showPalette(); });
  add(help, "about", tr("About Headscope"), {}, tr("Version and licence"), [this] {
    QMessageBox::about(this, tr("About Headscope"),
                       tr("Headscope %1\nA microscope for attention heads.\nWorks offline: nothing leaves this machine.")
                           .arg(QStringLiteral(HEADSCOPE_VERSION)));
  });
}

void MainWindow::buildFileMenu() {
  QMenu* file = menuBar()->addMenu(tr("&File"));
  file->setToolTipsVisible(true);
  add(file, "openModel", tr("Open model folder..."), QKeySequence::Open, tr("A folder with config.json and safetensors files"), [this] {
    const QString folder = QFileDialog::getExistingDirectory(this, tr("Open model folder"), settings_.value("folder").toString());
    if (!folder.isEmpty()) openPath(folder);
  });
  add(file, "openBundled", tr("Open the bundled model"), {}, tr("The small model that comes with the program"),
      [this] { state_->openModel(QStringLiteral("tales")); });
  add(file, "openAdapter", tr("Open adapter folder..."), QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_O),
      tr("A PEFT LoRA folder for the model that is open"), [this] {
        const QString folder = QFileDialog::getExistingDirectory(this, tr("Open adapter folder"), settings_.value("folder").toString());
        if (!folder.isEmpty()) openPath(folder);
      });
  add(file, "removeAdapter", tr("Remove the adapter"), {}, tr("Back to the model without it"), [this] {
    if (!state_->opened().adapterSource.empty()) state_->openAdapter({});
  });
  add(file, "openImage", tr("Open image..."), QKeySequence(Qt::CTRL | Qt::Key_I), tr("A PNG or JPEG for a vision model to read"),
      [this] { chooseImage(); });
  add(file, "openSession", tr("Open session or figure..."), {}, tr("A picture that this program exported, or a .headscope file"), [this] {
    const QString path = QFileDialog::getOpenFileName(this, tr("Open session or figure"), settings_.value("folder").toString(),
                                                      tr("Figures and sessions (*.svg *.pdf *.png *.headscope *.json)"));
    if (!path.isEmpty()) openPath(path);
  });
  recent_ = file->addMenu(tr("Recent"));
  connect(recent_, &QMenu::aboutToShow, this, &MainWindow::fillRecent);
  file->addSeparator();
  add(file, "export", tr("Export picture..."), QKeySequence(Qt::Key_E), tr("Save the focused pane as SVG, PDF, PNG or CSV"),
      [this] { exportPane(state_->focusedPane()); });
  file->addSeparator();
  add(file, "quit", tr("Quit"), QKeySequence::Quit, tr("Close the window"), [this] { close(); });
}

void MainWindow::buildViewMenu() {
  AppState& s = *state_;
  QMenu* view = menuBar()->addMenu(tr("&View"));
  int number = 1;
  for (const views::View* each : views::allViews()) {
    const QKeySequence key = number <= 9 ? QKeySequence(Qt::Key_0 + number) : QKeySequence();
    const std::string name(each->name());
    add(view, ("view_" + name).c_str(), QString::fromUtf8(each->title().data(), static_cast<qsizetype>(each->title().size())), key,
        tr("Show this view in the focused pane"), [&s, name] { s.setView(s.focusedPane(), name); });
    ++number;
  }
  view->addSeparator();
  for (const auto& [count, text] : {std::pair{1, tr("One pane")}, std::pair{2, tr("Two panes")}, std::pair{4, tr("Four panes")}}) {
    add(view, ("panes" + std::to_string(count)).c_str(), text, QKeySequence(Qt::CTRL | static_cast<Qt::Key>(Qt::Key_0 + count)),
        tr("Views side by side"), [&s, count = count] { s.setPaneCount(count); });
  }
  add(view, "maximise", tr("Maximise pane"), QKeySequence(Qt::Key_F), tr("Let the focused pane fill the centre, or put it back"),
      [&s] { s.toggleMaximised(s.focusedPane()); });
  add(view, "nextPane", tr("Next pane"), QKeySequence(Qt::Key_F6), tr("Move the focus to the next pane"),
      [&s] { s.focusPane((s.focusedPane() + 1) % s.paneCount()); });
  add(view, "present", tr("Presenter mode"), QKeySequence(Qt::Key_F5), tr("Large type and no docks, for a room; again to go back"), [this] {
    setPresenting(!isPresenting_);
  })->setCheckable(true);
  view->addSeparator();
  for (QDockWidget* dock : {leftDock_, rightDock_}) {
    QAction* toggle = dock->toggleViewAction();
    toggle->setToolTip(tr("Show or hide this side"));
    view->addAction(toggle);
    commands_.append(toggle);
  }
  QMenu* theme = view->addMenu(tr("Theme"));
  auto* group = new QActionGroup(this);
  const std::tuple<ThemeChoice, const char*, QString> choices[] = {{ThemeChoice::System, "themeSystem", tr("As the system")},
                                                                   {ThemeChoice::Light, "themeLight", tr("Light")},
                                                                   {ThemeChoice::Dark, "themeDark", tr("Dark")}};
  for (const auto& [choice, name, text] : choices) {
    QAction* action = add(theme, name, text, {}, tr("Colours of the window"), [this, choice = choice] { chooseTheme(choice); });
    action->setCheckable(true);
    action->setChecked(choice == themeChoice_);
    group->addAction(action);
  }
  QMenu* motion = view->addMenu(tr("Motion"));
  auto* motions = new QActionGroup(this);
  const std::tuple<MotionChoice, const char*, QString> kinds[] = {{MotionChoice::System, "motionSystem", tr("As the system")},
                                                                  {MotionChoice::Gentle, "motionGentle", tr("Views glide")},
                                                                  {MotionChoice::None, "motionNone", tr("Views jump")}};
  for (const auto& [choice, name, text] : kinds) {
    QAction* action =
        add(motion, name, text, {}, tr("How a zoomed view follows what is selected"), [this, choice = choice] { chooseMotion(choice); });
    action->setCheckable(true);
    action->setChecked(choice == motionChoice_);
    motions->addAction(action);
  }
}

void MainWindow::replaceHeads(const std::string& heads) {
  const int pane = state_->focusedPane();
  const std::string& view = state_->pane(pane).view;
  if (view != "mask" && view != "comparison") {
    state_->say(tr("Choose a mechanism first: focus a pane with the mask studio or the mechanism comparison"));
    return;
  }
  state_->setReplacement(views::shownMechanism(state_->viewInput(pane)), heads);
}

void MainWindow::switchHead() {
  const std::string name = core::headName(state_->selection().ref());
  QStringList heads;
  if (state_->mechanism() == "off") heads = QString::fromStdString(state_->replacedHeads()).split(',', Qt::SkipEmptyParts);
  if (!heads.removeOne(QString::fromStdString(name))) heads << QString::fromStdString(name);
  state_->setReplacement(heads.isEmpty() ? "" : "off", heads.join(',').toStdString());
}

void MainWindow::tryRandomWords() {
  const auto& tokenizer = state_->opened().tokenizer;
  const std::string text = tokenizer ? randomWordsTwice(*tokenizer, kRandomWords, ++randomSeed_) : std::string();
  if (text.empty()) {
    state_->say(tr("This model's vocabulary has no words to draw from"));
  } else {
    state_->setPrompt(QString::fromStdString(text), false);
  }
}

void MainWindow::chooseImage() {
  const QString path = QFileDialog::getOpenFileName(this, tr("Open image"), settings_.value("folder").toString(),
                                                    tr("Pictures (*.png *.jpg *.jpeg *.bmp *.gif *.webp)"));
  if (!path.isEmpty()) openPath(path);
}

void MainWindow::fillRecent() {
  recent_->clear();
  const QStringList paths = settings_.value("recent").toStringList();
  for (const QString& path : paths) {
    QAction* action = recent_->addAction(QDir::toNativeSeparators(path), this, [this, path] { openPath(path); });
    action->setToolTip(tr("Open again"));
  }
  if (paths.isEmpty()) recent_->addAction(tr("Nothing yet"))->setEnabled(false);
}

void MainWindow::remember(const QString& path) {
  QStringList paths = settings_.value("recent").toStringList();
  paths.removeAll(path);
  paths.prepend(path);
  while (paths.size() > kMostRecent) paths.removeLast();
  settings_.setValue("recent", paths);
  settings_.setValue("folder", QFileInfo(path).absolutePath());
}

}  // namespace headscope::app
