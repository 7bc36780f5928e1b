#pragma once
// FactSheet: a column of sections with rows of a word, a number and a bar, painted in one go: the model card and the
// inspector are two of them. Rows explain themselves on hover and may be clicked.
#include <QWidget>
#include <vector>

#include "views/theme.h"

namespace headscope::app {

struct Fact {
  QString label, value;
  QString aside;    // small grey number between label and bar (a token's position)
  double bar = -1;  // 0 to 1; < 0: no bar
  views::Color barColor{};
  QString tip;
  bool isMono = false;      // the label is a token
  bool isFirstBar = false;  // bar before the value, as in lists of tokens
};

struct FactSection {
  QString title, aside, tip;
  std::vector<Fact> facts;
  QString emptyText;  // shown when there are no facts
};

class FactSheet : public QWidget {
  Q_OBJECT
 public:
  explicit FactSheet(QWidget* parent = nullptr);
  void setTheme(const views::Theme& theme);
  void setSections(std::vector<FactSection> sections);
  const std::vector<FactSection>& sections() const { return sections_; }
  QSize sizeHint() const override;
  /// The rectangle of a row, for tests.
  QRect rowRect(int section, int row) const;

 Q_SIGNALS:
  void clicked(int section, int row);

 protected:
  void paintEvent(QPaintEvent* event) override;
  bool event(QEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;

 private:
  struct Place {
    int section = -1, row = -1;  // row -1: the title
  };
  Place placeAt(int y) const;
  int height(const FactSection& section) const;
  void paintFact(QPainter& painter, const Fact& fact, int top) const;

  views::Theme theme_ = views::lightTheme();
  std::vector<FactSection> sections_;
};

}  // namespace headscope::app
