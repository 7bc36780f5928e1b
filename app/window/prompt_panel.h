#pragma once
// PromptPanel: the text one edits in place and its tokens below; a second text for models that tell segments apart; the chat
// template's tokens where the model has one; the picture's name for models of images. Pasted text is bounded before it reaches
// the editor.
#include <QPlainTextEdit>
#include <QWidget>

#include "app/window/app_state.h"

class QLabel;
class QScrollArea;
class QToolButton;

namespace headscope::app {

class TokenStrip;

/// A text box of few lines that grows with its text; cuts what is pasted to AppState::kMostCharacters and says so.
class PromptEdit : public QPlainTextEdit {
  Q_OBJECT
 public:
  explicit PromptEdit(AppState& state, QWidget* parent = nullptr);
  void setMostLines(int lines);

 protected:
  void resizeEvent(QResizeEvent* event) override;
  void insertFromMimeData(const QMimeData* source) override;
  void keyPressEvent(QKeyEvent* event) override;

 private:
  void fitLines();
  AppState& state_;
  int mostLines_;
};

class PromptPanel : public QWidget {
  Q_OBJECT
 public:
  explicit PromptPanel(AppState& state, QWidget* parent = nullptr);
  PromptEdit* editor() { return editor_; }
  PromptEdit* pairEditor() { return pair_; }  // hidden where the model has no segments
  QToolButton* chatButton() { return chat_; }
  QToolButton* imageButton() { return image_; }
  TokenStrip* strip() { return strip_; }
  /// One line of text and one of tokens, in a window with little height.
  void setLow(bool isLow);

 Q_SIGNALS:
  void imageWanted();

 protected:
  void resizeEvent(QResizeEvent* event) override;

 private:
  void fitStrip();
  void follow();
  void showSource();
  void fillChatMenu();
  void showCount();
  void applyTheme();

  AppState& state_;
  QLabel *title_, *count_;
  PromptEdit *editor_, *pair_;
  QToolButton *chat_, *image_;
  TokenStrip* strip_;
  QScrollArea* scroll_;
  bool isFollowing_ = false, isLow_ = false;
};

}  // namespace headscope::app
