#pragma once
// LessonBar: a scenario over the panes: what its step says, where one is, and the way on and back. Each step brings its session.
#include <QWidget>

#include "app/window/app_state.h"
#include "core/session/scenario.h"

class QLabel;
class QToolButton;

namespace headscope::app {

class LessonBar : public QWidget {
  Q_OBJECT
 public:
  explicit LessonBar(AppState& state, QWidget* parent = nullptr);
  void start(core::Scenario scenario);
  void end();
  bool isRunning() const { return !scenario_.steps.empty(); }
  /// The step shown, from 0.
  size_t step() const { return step_; }
  QString text() const;
  /// On (1) or back (-1); past the last step nothing happens.
  void move(int steps);

 Q_SIGNALS:
  void changed();

 private:
  void showStep(size_t step);
  void applyTheme();

  AppState& state_;
  core::Scenario scenario_;
  size_t step_ = 0;
  QLabel *place_, *words_;
  QToolButton *back_, *next_, *close_;
};

}  // namespace headscope::app
