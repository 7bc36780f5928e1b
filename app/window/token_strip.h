#pragma once
// TokenStrip: the prompt as tokens, each a chip cut from the text, with no gaps invented. The query token has the accent
// underline, keys are tinted by the weight of the selected head, special tokens by their own colour. Click sets the query;
// hovering a token says what it is and how much the query looks at it. Lays out once a prompt and width; paints what is seen.
#include <QWidget>
#include <vector>

#include "app/window/app_state.h"

namespace headscope::app {

class TokenStrip : public QWidget {
  Q_OBJECT
 public:
  explicit TokenStrip(AppState& state, QWidget* parent = nullptr);
  int heightForWidth(int width) const override;
  int rowHeight() const;
  bool hasHeightForWidth() const override { return true; }
  QRect chipRect(int64_t token) const;

 Q_SIGNALS:
  void heightChanged();

 protected:
  void paintEvent(QPaintEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;
  bool event(QEvent* event) override;

 private:
  struct Chip {
    QString label;
    float x = 0, width = 0;
    int row = 0;
    int segment = -1;  // >= 0: a segment begins here, its number stands before the token
  };
  void relabel();
  int layOut(int width);
  int64_t tokenAt(QPoint at) const;
  QString tipOf(int64_t token) const;

  AppState& state_;
  std::vector<Chip> chips_;
  int rows_ = 0;
};

}  // namespace headscope::app
