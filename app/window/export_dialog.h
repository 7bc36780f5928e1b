#pragma once
// ExportDialog: how a pane's picture is to be saved: file and format, width in millimetres, type size, paper theme, PNG
// resolution, one head or a panel of those selected. Remembers the last choice.
#include <QDialog>
#include <QSettings>

#include "core/session/session.h"

class QCheckBox;
class QComboBox;
class QDoubleSpinBox;
class QLineEdit;

namespace headscope::app {

struct ExportRequest {
  QString path;  // the ending says the format: .svg .pdf .png .csv
  core::FigureLayout layout;
  bool isDark = false;
  double dotsPerInch = 288;  // PNG
  bool isPanel = false;      // all selected heads, not the one alone
  bool hasCaption = true;    // a .txt beside it
};

class ExportDialog : public QDialog {
  Q_OBJECT
 public:
  /// name: of the picture, for the file's name ("attention_map_1.5"); heads: how many are selected together.
  ExportDialog(const QString& name, int heads, QSettings& settings, QWidget* parent);
  ExportRequest request() const;

 private:
  void build(int heads);
  void restore(const QString& name);
  void browse();
  void followFormat();
  void remember();

  QSettings& settings_;
  QLineEdit* path_;
  QComboBox *format_, *what_, *theme_, *width_;
  QDoubleSpinBox *font_, *resolution_;
  QCheckBox *letters_, *caption_;
};

}  // namespace headscope::app
