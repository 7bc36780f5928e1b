#pragma once
// NoticeBar: one line over the panes that says what happened and where, without stopping anybody: errors stay until closed or
// until the next thing succeeds, information goes by itself. Several wait in a list and come one after another.
#include <QTimer>
#include <QWidget>
#include <deque>

#include "app/window/app_state.h"

class QLabel;
class QToolButton;

namespace headscope::app {

class NoticeBar : public QWidget {
  Q_OBJECT
 public:
  explicit NoticeBar(AppState& state, QWidget* parent = nullptr);
  void show(const Notice& notice);
  /// What is shown now; "" nothing.
  QString text() const;
  void dismissErrors();

 private:
  void showNext();
  void applyTheme();

  AppState& state_;
  QLabel* label_;
  QToolButton* close_;
  std::deque<Notice> waiting_;
  Notice current_;
  bool isShowing_ = false;
  QTimer timer_;
};

}  // namespace headscope::app
