#pragma once
// CommandPalette: every command of the window by name, with its shortcut; typing narrows the list, Enter runs.
#include <QAction>
#include <QDialog>
#include <QList>

class QLineEdit;
class QListWidget;

namespace headscope::app {

class CommandPalette : public QDialog {
  Q_OBJECT
 public:
  CommandPalette(const QList<QAction*>& commands, QWidget* parent);
  QLineEdit* input() { return input_; }
  QListWidget* list() { return list_; }

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void narrow(const QString& text);
  void run();

  QList<QAction*> commands_;
  QLineEdit* input_;
  QListWidget* list_;
};

}  // namespace headscope::app
