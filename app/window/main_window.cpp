#include "app/window/main_window.h"

#include <QApplication>
#include <QCloseEvent>
#include <QDockWidget>
#include <QDragEnterEvent>
#include <QLabel>
#include <QLineEdit>
#include <QMimeData>
#include <QScreen>
#include <QStatusBar>
#include <QTableView>
#include <QUrl>
#include <QVBoxLayout>
#include <algorithm>

#include "app/sinks/qt_fonts.h"
#include "app/window/command_palette.h"
#include "app/window/font_files.h"
#include "app/window/head_table.h"
#include "app/window/inspector.h"
#include "app/window/lesson_bar.h"
#include "app/window/model_card.h"
#include "app/window/notice_bar.h"
#include "app/window/prompt_panel.h"
#include "app/window/status_strip.h"
#include "app/window/theme_style.h"

namespace headscope::app {
namespace {
constexpr int kRoomForBothDocks = 1000, kRoomForLeftDock = 680;  // points of window; with less the centre would be too narrow
constexpr int kLowWindow = 520;                                  // points; under it the prompt takes one line
constexpr int kFirstTick_ms = 60, kSlowestTick_ms = 1000;        // between two frames while a job runs
constexpr QSize kSmallestWindow{360, 240};
}  // namespace

MainWindow::MainWindow(const StartOptions& options)
    : settings_(QStringLiteral("headscope"), QStringLiteral("headscope")),
      systemTheme_(QApplication::palette()),
      state_(std::make_unique<AppState>()),
      measure_(std::make_unique<QtTextMeasure>()) {
  setWindowTitle(QStringLiteral("Headscope"));
  setObjectName("main");
  setAcceptDrops(true);
  setMinimumSize(kSmallestWindow);
  setDockOptions(QMainWindow::AnimatedDocks);
  board_ = std::make_unique<PaneBoard>(
      *state_, *measure_, [this] { repaintCanvas(); }, [this](int pane) { exportPane(pane); });
  themeChoice_ = static_cast<ThemeChoice>(std::clamp(settings_.value("theme", 0).toInt(), 0, 2));
  motionChoice_ = static_cast<MotionChoice>(std::clamp(settings_.value("motion", 0).toInt(), 0, 2));
  state_->setTheme(chosenTheme());
  applyMotion();
  buildCentre();
  buildDocks();
  buildMenus();
  applyTheme();
  restore();
  canvas_->setFocus();  // keys are commands until one goes to a text
  connect(state_.get(), &AppState::modelChanged, this, [this] {
    const auto& opened = state_->opened();
    if (opened.model) setWindowTitle(QStringLiteral("%1 – Headscope").arg(QString::fromStdString(opened.model->name())));
  });
  const auto repaint = [this] { repaintCanvas(); };
  connect(state_.get(), &AppState::modelChanged, this, repaint);
  connect(state_.get(), &AppState::traceChanged, this, repaint);
  connect(state_.get(), &AppState::scoresChanged, this, repaint);
  connect(state_.get(), &AppState::selectionChanged, this, repaint);
  connect(state_.get(), &AppState::hoverChanged, this, repaint);
  connect(state_.get(), &AppState::panesChanged, this, repaint);
  connect(state_.get(), &AppState::traceChanged, this, [this] {
    if (state_->trace()) notices_->dismissErrors();
  });
  // While a pane's data is on its way the bar over it moves: ever more slowly, as a frame may cost the job a part of the processor.
  auto* ticking = new QTimer(this);
  connect(ticking, &QTimer::timeout, this, [this, ticking] {
    repaintCanvas();
    ticking->setInterval(std::min(kSlowestTick_ms, ticking->interval() * 11 / 10));
  });
  connect(&state_->jobs(), &JobRunner::changed, this,
          [this, ticking] { state_->jobs().isIdle() ? ticking->stop() : ticking->start(kFirstTick_ms); });
  connect(&systemTheme_, &SystemTheme::changed, this, [this] {
    if (themeChoice_ == ThemeChoice::System) chooseTheme(ThemeChoice::System);
    applyMotion();
  });
  state_->start(options);
}

MainWindow::~MainWindow() {
  // Widgets read the state until they are gone, so they go first; nobody listens to it any more.
  state_->jobs().disconnect();
  state_->disconnect();
  state_->jobs().cancelAll();
  canvas_ = nullptr;
  delete centralWidget();
  delete leftDock_;
  delete rightDock_;
  delete statusBar();
}

void MainWindow::buildCentre() {
  auto* centre = new QWidget;
  centre->setObjectName("paper");
  centre->setAttribute(Qt::WA_StyledBackground);
  centre_ = new QVBoxLayout(centre);
  centre_->setContentsMargins(0, 0, 0, 0);
  centre_->setSpacing(0);
  notices_ = new NoticeBar(*state_);
  lesson_ = new LessonBar(*state_);
  promptPanel_ = new PromptPanel(*state_);
  connect(promptPanel_, &PromptPanel::imageWanted, this, &MainWindow::chooseImage);
  canvas_ = new Canvas(*board_, findFontFiles());
  centre_->addWidget(promptPanel_);
  centre_->addWidget(lesson_);
  centre_->addWidget(notices_);
  centre_->addWidget(canvas_, 1);
  connect(canvas_, &Canvas::unsupported, this, &MainWindow::replaceCanvas, Qt::QueuedConnection);
  setCentralWidget(centre);
}

void MainWindow::buildDocks() {
  const views::ShellMeasures measures;
  const auto dock = [&](const char* name, const QString& title, QWidget* content, Qt::DockWidgetArea area, double width) {
    auto* made = new QDockWidget(title, this);
    made->setObjectName(QLatin1String(name));
    made->setTitleBarWidget(new QWidget);  // the panels have headings of their own
    made->setFeatures(QDockWidget::DockWidgetClosable);
    made->setWidget(content);
    content->setMinimumWidth(static_cast<int>(width));  // with less, words of its rows would go
    addDockWidget(area, made);
    resizeDocks({made}, {static_cast<int>(width)}, Qt::Horizontal);
    return made;
  };
  auto* left = new QWidget;
  auto* column = new QVBoxLayout(left);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  modelCard_ = new ModelCard(*state_);
  headPanel_ = new HeadPanel(*state_);
  auto* rule = new QFrame;
  rule->setObjectName("rule");
  rule->setFixedHeight(1);
  column->addWidget(modelCard_);
  column->addWidget(rule);
  column->addWidget(headPanel_, 1);
  leftDock_ = dock("leftDock", tr("Model and heads"), left, Qt::LeftDockWidgetArea, measures.leftDock);
  inspector_ = new Inspector(*state_);
  rightDock_ = dock("rightDock", tr("Inspector"), inspector_, Qt::RightDockWidgetArea, measures.rightDock);
  sides_ = {{leftDock_, kRoomForLeftDock, static_cast<int>(measures.leftDock)},
            {rightDock_, kRoomForBothDocks, static_cast<int>(measures.rightDock)}};
  status_ = new StatusStrip(*state_);
  statusBar()->setSizeGripEnabled(false);
  statusBar()->setContentsMargins(0, 0, 0, 0);
  statusBar()->addWidget(status_, 1);
}

void MainWindow::applyTheme() {
  const views::Theme theme = chosenTheme();
  QApplication::setFont(sansFont(theme.textSize));
  qApp->setPalette(paletteOf(theme));
  const QString rules =
      QStringLiteral(
          "#rule { background: %1; } QStatusBar { background: %2; border-top: 1px solid %1; } QStatusBar::item { border: none; }")
          .arg(toQt(theme.line).name(), toQt(theme.panel).name());
  qApp->setStyleSheet(styleSheetOf(theme) + rules);
  state_->setTheme(theme);  // after the style sheet, which gives widgets their old type back
  repaintCanvas();
}

void MainWindow::chooseTheme(ThemeChoice choice) {
  themeChoice_ = choice;
  settings_.setValue("theme", static_cast<int>(choice));
  applyTheme();
}

views::Theme MainWindow::chosenTheme() const {
  const bool isDark = themeChoice_ == ThemeChoice::Dark || (themeChoice_ == ThemeChoice::System && systemTheme_.isDark());
  const views::Theme theme = isDark ? views::darkTheme() : views::lightTheme();
  return isPresenting_ ? views::presenterTheme(theme) : theme;
}

void MainWindow::chooseMotion(MotionChoice choice) {
  motionChoice_ = choice;
  settings_.setValue("motion", static_cast<int>(choice));
  applyMotion();
}

void MainWindow::applyMotion() {
  state_->setMotionWelcome(motionChoice_ == MotionChoice::Gentle ||
                           (motionChoice_ == MotionChoice::System && !systemTheme_.isMotionReduced()));
}

void MainWindow::setPresenting(bool isPresenting) {
  if (isPresenting == isPresenting_) return;
  isPresenting_ = isPresenting;
  if (isPresenting) {
    docksBefore_ = saveState();
    leftDock_->hide(), rightDock_->hide();
  } else {
    restoreState(docksBefore_);
  }
  if (QAction* action = command("present")) action->setChecked(isPresenting);
  applyTheme();
}

void MainWindow::restore() {
  const QRect room = screen()->availableGeometry();
  resize(QSize(1440, 900).boundedTo(room.size()));
  if (settings_.contains("geometry")) restoreGeometry(settings_.value("geometry").toByteArray());
  if (settings_.contains("docks")) restoreState(settings_.value("docks").toByteArray());
  views::WorkspaceSplits splits;
  splits.column = settings_.value("splits/column", splits.column).toDouble();
  splits.leftRow = settings_.value("splits/left", splits.leftRow).toDouble();
  splits.rightRow = settings_.value("splits/right", splits.rightRow).toDouble();
  for (double* f : {&splits.column, &splits.leftRow, &splits.rightRow}) *f = std::clamp(*f, 0.05, 0.95);
  canvas_->setSplits(splits);
  state_->setPaneCount(settings_.value("panes", 4).toInt());
  tuckDocks();
}

/// In a narrow window the sides give way to the picture, the right one first, and come back with the room. View shows them anyway.
void MainWindow::tuckDocks() {
  if (isPresenting_) return;
  for (Tucked& side : sides_) {
    const bool isNarrow = width() < side.room;
    const bool isPutAway = side.dock->isHidden() && side.dock->testAttribute(Qt::WA_WState_ExplicitShowHide);
    if (isNarrow && !side.wasNarrow && !isPutAway) {
      side.width = side.dock->isVisible() ? side.dock->width() : side.standard;
      side.dock->hide();
    } else if (!isNarrow && side.width > 0) {
      side.dock->show();
      resizeDocks({side.dock}, {side.width}, Qt::Horizontal);
      side.width = 0;
    }
    side.wasNarrow = isNarrow;
  }
}

void MainWindow::resizeEvent(QResizeEvent* event) {
  QMainWindow::resizeEvent(event);
  tuckDocks();
  promptPanel_->setLow(height() < kLowWindow);
}

void MainWindow::closeEvent(QCloseEvent* event) {
  setPresenting(false);
  settings_.setValue("geometry", saveGeometry());
  for (const Tucked& side : sides_) {
    if (side.width > 0) side.dock->show();  // hidden by the window's size, not by a person
  }
  settings_.setValue("docks", saveState());
  settings_.setValue("panes", state_->paneCount());
  if (canvas_) {
    const views::WorkspaceSplits splits = canvas_->splits();
    settings_.setValue("splits/column", splits.column);
    settings_.setValue("splits/left", splits.leftRow);
    settings_.setValue("splits/right", splits.rightRow);
  }
  state_->jobs().cancelAll();
  event->accept();
}

void MainWindow::replaceCanvas(const QString& reason) {
  if (!canvas_) return;
  auto* label = new QLabel(
      tr("The pictures can't be shown here: %1.\nThe command line works without: headscope render, attend, heads, spectra.").arg(reason));
  label->setObjectName("noOpenGl");
  label->setAlignment(Qt::AlignCenter);
  label->setWordWrap(true);
  label->setTextInteractionFlags(Qt::TextSelectableByMouse);
  delete centre_->replaceWidget(canvas_, label);  // the item is ours now
  canvas_->hide();
  canvas_->deleteLater();  // its OpenGL objects were released when the reason came, or never made
  canvas_ = nullptr;
}

void MainWindow::repaintCanvas() {
  if (canvas_) canvas_->update();
}

void MainWindow::dragEnterEvent(QDragEnterEvent* event) {
  if (event->mimeData()->hasUrls()) event->acceptProposedAction();
}

void MainWindow::dropEvent(QDropEvent* event) {
  for (const QUrl& url : event->mimeData()->urls()) {
    if (url.isLocalFile()) {
      openPath(url.toLocalFile());
      event->acceptProposedAction();
      return;
    }
  }
  state_->say(tr("Only files and folders of this machine can be opened"));
}

void MainWindow::leaveFocus() {
  if (QWidget* focus = focusWidget()) focus->clearFocus();
  if (canvas_) canvas_->setFocus();
}

void MainWindow::showPalette() {
  CommandPalette palette(commands_, this);
  palette.exec();
}

void MainWindow::findHead() {
  leftDock_->show();
  headPanel_->filter()->setFocus();
  headPanel_->filter()->selectAll();
}

QAction* MainWindow::command(const QString& name) const {
  for (QAction* action : commands_) {
    if (action->objectName() == name) return action;
  }
  return nullptr;
}

}  // namespace headscope::app
