#pragma once
// StatusStrip: the line at the bottom: selection, backend and why, the job with progress and a stop button, memory.
#include <QTimer>
#include <QWidget>

#include "app/window/app_state.h"

class QLabel;
class QProgressBar;
class QToolButton;

namespace headscope::app {

class StatusStrip : public QWidget {
  Q_OBJECT
 public:
  explicit StatusStrip(AppState& state, QWidget* parent = nullptr);
  QToolButton* stopButton() { return stop_; }
  QToolButton* resumeButton() { return resume_; }
  QString jobText() const;
  QString selectionText() const;

 private:
  void showSelection();
  void showBackend();
  void showJobs();
  void applyTheme();

  AppState& state_;
  QLabel *selection_, *backend_, *job_, *memory_;
  QProgressBar* progress_;
  QToolButton* stop_;
  QToolButton* resume_;
  QTimer tick_;
};

}  // namespace headscope::app
