#pragma once
// ChoiceRow: a few words side by side of which one is chosen: shorter than a list that opens, as all are seen at once.
#include <QButtonGroup>
#include <QStringList>
#include <QWidget>

namespace headscope::app {

class ChoiceRow : public QWidget {
  Q_OBJECT
 public:
  explicit ChoiceRow(const QStringList& words, QWidget* parent = nullptr);
  int currentIndex() const { return buttons_.checkedId(); }
  void setCurrentIndex(int index);  // clamped, -1: none; tells nobody
  void setToolTip(const QString& tip);

 Q_SIGNALS:
  void chosen(int index);  // by a person

 private:
  QButtonGroup buttons_;
};

}  // namespace headscope::app
