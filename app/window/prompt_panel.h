#pragma once
// PromptPanel: the text one edits in place and its tokens below. Pasted text is bounded before it reaches the editor.
#include <QPlainTextEdit>
#include <QWidget>

#include "app/window/app_state.h"

class QLabel;
class QScrollArea;

namespace headscope::app {

class TokenStrip;

/// A text box of few lines that grows with its text; cuts what is pasted to AppState::kMostCharacters and says so.
class PromptEdit : public QPlainTextEdit {
  Q_OBJECT
 public:
  explicit PromptEdit(AppState& state, QWidget* parent = nullptr);

 protected:
  void resizeEvent(QResizeEvent* event) override;
  void insertFromMimeData(const QMimeData* source) override;
  void keyPressEvent(QKeyEvent* event) override;

 private:
  void fitLines();
  AppState& state_;
};

class PromptPanel : public QWidget {
  Q_OBJECT
 public:
  explicit PromptPanel(AppState& state, QWidget* parent = nullptr);
  PromptEdit* editor() { return editor_; }
  TokenStrip* strip() { return strip_; }

 protected:
  void resizeEvent(QResizeEvent* event) override;

 private:
  void fitStrip();
  void showCount();
  void applyTheme();

  AppState& state_;
  QLabel *title_, *count_;
  PromptEdit* editor_;
  TokenStrip* strip_;
  QScrollArea* scroll_;
  bool isFollowing_ = false;
};

}  // namespace headscope::app
