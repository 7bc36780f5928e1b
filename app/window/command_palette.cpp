#include "app/window/command_palette.h"

#include <QKeyEvent>
#include <QLineEdit>
#include <QListWidget>
#include <QPainter>
#include <QStyledItemDelegate>
#include <QTimer>
#include <QVBoxLayout>

namespace headscope::app {
namespace {

constexpr int kShortcutRole = Qt::UserRole + 1;

/// The command's name at the left, its shortcut at the right edge.
class ShortcutDelegate : public QStyledItemDelegate {
 public:
  using QStyledItemDelegate::QStyledItemDelegate;
  void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override {
    QStyledItemDelegate::paint(painter, option, index);
    painter->save();
    painter->setPen(option.palette.color(QPalette::Disabled, QPalette::WindowText));
    painter->drawText(option.rect.adjusted(0, 0, -12, 0), Qt::AlignRight | Qt::AlignVCenter, index.data(kShortcutRole).toString());
    painter->restore();
  }
};

}  // namespace

CommandPalette::CommandPalette(const QList<QAction*>& commands, QWidget* parent) : QDialog(parent, Qt::Dialog), commands_(commands) {
  setWindowTitle(tr("Commands"));
  setObjectName("palette");
  resize(520, 420);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(8, 8, 8, 8);
  input_ = new QLineEdit;
  input_->setPlaceholderText(tr("Type a command"));
  input_->setToolTip(tr("Words that the command's name holds; arrows choose, Enter runs"));
  input_->installEventFilter(this);
  list_ = new QListWidget;
  list_->setToolTip(tr("Commands and their shortcuts"));
  list_->setItemDelegate(new ShortcutDelegate(list_));
  column->addWidget(input_);
  column->addWidget(list_, 1);
  connect(input_, &QLineEdit::textChanged, this, &CommandPalette::narrow);
  connect(input_, &QLineEdit::returnPressed, this, &CommandPalette::run);
  connect(list_, &QListWidget::itemClicked, this, &CommandPalette::run);
  narrow({});
}

void CommandPalette::narrow(const QString& text) {
  list_->clear();
  const QStringList words = text.split(' ', Qt::SkipEmptyParts);
  for (qsizetype i = 0; i < commands_.size(); ++i) {
    const QAction* command = commands_[i];
    QString name = command->text();
    name.remove('&');
    bool isMatch = command->isEnabled();
    for (const QString& word : words)
      isMatch = isMatch && (name.contains(word, Qt::CaseInsensitive) || command->toolTip().contains(word, Qt::CaseInsensitive));
    if (!isMatch) continue;
    const QString keys = command->shortcut().toString(QKeySequence::NativeText);
    auto* item = new QListWidgetItem(name, list_);
    item->setData(kShortcutRole, keys);
    item->setData(Qt::UserRole, static_cast<int>(i));
    item->setToolTip(command->toolTip());
  }
  list_->setCurrentRow(0);
}

void CommandPalette::run() {
  const QListWidgetItem* item = list_->currentItem();
  accept();
  // After the dialog is gone, so that the command meets the window as it is.
  if (item) QTimer::singleShot(0, commands_[item->data(Qt::UserRole).toInt()], &QAction::trigger);
}

bool CommandPalette::eventFilter(QObject* watched, QEvent* event) {
  if (watched == input_ && event->type() == QEvent::KeyPress) {
    const int key = static_cast<QKeyEvent*>(event)->key();
    if (key == Qt::Key_Down || key == Qt::Key_Up) {
      list_->setCurrentRow(std::clamp(list_->currentRow() + (key == Qt::Key_Down ? 1 : -1), 0, std::max(0, list_->count() - 1)));
      return true;
    }
  }
  return QDialog::eventFilter(watched, event);
}

}  // namespace headscope::app
