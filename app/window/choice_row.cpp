#include "app/window/choice_row.h"

#include <QHBoxLayout>
#include <QPushButton>
#include <algorithm>

namespace headscope::app {

ChoiceRow::ChoiceRow(const QStringList& words, QWidget* parent) : QWidget(parent) {
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(4);
  for (const QString& word : words) {
    auto* button = new QPushButton(word);
    button->setCheckable(true);
    button->setAutoDefault(false);
    button->setProperty("choice", true);  // for the style sheet
    row->addWidget(button, 1);
    buttons_.addButton(button, static_cast<int>(buttons_.buttons().size()));
  }
  buttons_.setExclusive(true);
  connect(&buttons_, &QButtonGroup::idClicked, this, &ChoiceRow::chosen);
  setCurrentIndex(0);
}

void ChoiceRow::setCurrentIndex(int index) {
  const int last = static_cast<int>(buttons_.buttons().size()) - 1;
  if (index < 0) {
    buttons_.setExclusive(false);
    for (QAbstractButton* button : buttons_.buttons()) button->setChecked(false);
    buttons_.setExclusive(true);
    return;
  }
  if (last >= 0) buttons_.button(std::clamp(index, 0, last))->setChecked(true);
}

void ChoiceRow::setToolTip(const QString& tip) {
  QWidget::setToolTip(tip);
  for (QAbstractButton* button : buttons_.buttons()) button->setToolTip(tip);
}

}  // namespace headscope::app
