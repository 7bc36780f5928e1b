#pragma once
// StatusStrip: the line at the bottom: selection, backend and why, the job with progress and a stop button, memory. Jobs come and
// go with every letter typed, so what is said of them stays for half a second at least: words that can't be read are noise.
#include <QElapsedTimer>
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
  bool mayShow(const QString& text, bool isStopped);
  void showMemory();
  void applyTheme();

  AppState& state_;
  QLabel *selection_, *backend_, *job_, *memory_;
  QProgressBar* progress_;
  QToolButton* stop_;
  QToolButton* resume_;
  QTimer tick_;
  bool isStopped_ = false;  // the job's text says what was stopped
  QElapsedTimer changed_;   // the job's text
  QElapsedTimer gone_;      // valid while a text stays whose job has ended
  QElapsedTimer weighed_;   // the memory's text
};

}  // namespace headscope::app
