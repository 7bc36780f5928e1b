#pragma once
// MainWindow: the shell: menus, docks, prompt, canvas, status; wires widgets to AppState and remembers how it was left.
#include <QMainWindow>
#include <QSettings>
#include <functional>
#include <memory>
#include <vector>

#include "app/window/app_state.h"
#include "app/window/canvas.h"
#include "app/window/pane_board.h"
#include "app/window/system_theme.h"

class QDockWidget;
class QVBoxLayout;

namespace headscope::app {

class HeadPanel;
class Inspector;
class ModelCard;
class LessonBar;
class NoticeBar;
class PromptPanel;
class StatusStrip;
class ExportDialog;
struct ExportRequest;

enum class ThemeChoice { System, Light, Dark };
enum class MotionChoice { System, Gentle, None };

class MainWindow : public QMainWindow {
  Q_OBJECT
 public:
  explicit MainWindow(const StartOptions& options);
  ~MainWindow() override;

  AppState& state() { return *state_; }
  Canvas* canvas() { return canvas_; }  // null where OpenGL 3.3 is absent
  PaneBoard& board() { return *board_; }
  HeadPanel& headPanel() { return *headPanel_; }
  PromptPanel& promptPanel() { return *promptPanel_; }
  Inspector& inspector() { return *inspector_; }
  StatusStrip& status() { return *status_; }
  NoticeBar& notices() { return *notices_; }
  ModelCard& modelCard() { return *modelCard_; }
  LessonBar& lesson() { return *lesson_; }
  QAction* command(const QString& name) const;  // by object name, null when unknown

  void chooseTheme(ThemeChoice choice);
  void chooseMotion(MotionChoice choice);
  /// Type 1.6 times as large and no docks, for a room; the second call puts back what was.
  void setPresenting(bool isPresenting);
  bool isPresenting() const { return isPresenting_; }
  /// A folder with a model or an adapter, a file that carries a session, or a picture for a vision model.
  void openPath(const QString& path);
  /// A session, a figure that carries one, or a scenario, which starts as a lesson.
  void openSession(const QString& path);
  void chooseImage();
  /// Asks how, then exportTo().
  void exportPane(int pane);
  void exportTo(int pane, const ExportRequest& request);
  /// Draws the picture for the dialog in a job.
  void previewExport(int pane, const ExportRequest& request, QSize room, ExportDialog& dialog);
  void showPalette();
  void findHead();

 protected:
  void closeEvent(QCloseEvent* event) override;
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dropEvent(QDropEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  void buildDocks();
  void buildCentre();
  void buildMenus();
  void buildFileMenu();
  void buildViewMenu();
  void buildHelpMenu();
  QAction* add(QMenu* menu, const char* name, const QString& text, const QKeySequence& key, const QString& tip, std::function<void()> run);
  void applyTheme();
  void applyMotion();
  views::Theme chosenTheme() const;
  void fillRecent();
  void remember(const QString& path);
  void openFile(const QString& path);
  void restore();
  void tuckDocks();
  void replaceHeads(const std::string& heads);
  void switchHead();
  void tryRandomWords();
  void replaceCanvas(const QString& reason);
  void repaintCanvas();
  void leaveFocus();

  QSettings settings_;
  SystemTheme systemTheme_;
  std::unique_ptr<AppState> state_;
  std::unique_ptr<views::TextMeasure> measure_;
  std::unique_ptr<PaneBoard> board_;
  Canvas* canvas_ = nullptr;
  QVBoxLayout* centre_ = nullptr;
  QDockWidget *leftDock_ = nullptr, *rightDock_ = nullptr;
  /// A side that gives way while the window is narrow, and how wide it was.
  struct Tucked {
    QDockWidget* dock = nullptr;
    int room = 0, standard = 0;  // width of the window under which it goes; its own, at first
    int width = 0;               // what it had; 0: it did not give way
    bool wasNarrow = false;
  };
  std::vector<Tucked> sides_;
  HeadPanel* headPanel_ = nullptr;
  PromptPanel* promptPanel_ = nullptr;
  Inspector* inspector_ = nullptr;
  StatusStrip* status_ = nullptr;
  NoticeBar* notices_ = nullptr;
  LessonBar* lesson_ = nullptr;
  ModelCard* modelCard_ = nullptr;
  QMenu* recent_ = nullptr;
  QList<QAction*> commands_;
  ThemeChoice themeChoice_ = ThemeChoice::System;
  MotionChoice motionChoice_ = MotionChoice::System;
  uint64_t randomSeed_ = 0;
  bool isPresenting_ = false;
  QByteArray docksBefore_;  // presenting: as they were
};

/// What must be set before the QApplication (contexts shared, OpenGL 3.3 core by default), and after it (style, type).
void prepareQt();
void dressApplication();

/// Opens the window and runs it until it is closed. Exit code of the program.
int runWindow(int argc, char** argv, const StartOptions& options);

}  // namespace headscope::app
