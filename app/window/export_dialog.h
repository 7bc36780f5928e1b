#pragma once
// ExportDialog: how a pane's picture is to be saved: format, width in millimetres, type size, paper, PNG resolution, one head or a
// panel of those selected, and the file; beside it the picture as it will be. Remembers the last choice. The picture is drawn
// by whoever listens to previewWanted(), off this thread, and comes back through showPreview().
#include <QDialog>
#include <QImage>
#include <QSettings>
#include <QTimer>

#include "core/session/session.h"
#include "views/theme.h"

class QCheckBox;
class QDoubleSpinBox;
class QLabel;
class QLineEdit;
class QPushButton;
class QVBoxLayout;

namespace headscope::app {

class ChoiceRow;

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
  ExportDialog(const QString& name, int heads, QSettings& settings, const views::Theme& theme, QWidget* parent);
  ExportRequest request() const;
  /// The picture, drawn for the room that previewWanted() named, and its height on paper in millimetres.
  void showPreview(const QImage& picture, double height_mm);
  /// What is said in its place.
  void showMessage(const QString& text);
  void setFormat(int index);  // 0 SVG, 1 PDF, 2 PNG, 3 CSV
  QLineEdit* path() { return path_; }
  QLabel* preview() { return preview_; }

 Q_SIGNALS:
  void previewWanted(const headscope::app::ExportRequest& request, QSize pixels);

 protected:
  void showEvent(QShowEvent* event) override;

 private:
  QWidget* buildPreview();
  QWidget* buildChoices(int heads);
  QWidget* buildFileRow();
  QDoubleSpinBox* number(const char* name, double low, double high, int decimals, const QString& unit, const QString& tip);
  void restore(const QString& name);
  void browse();
  void followFormat();
  void changed();
  void showFileNote();
  void remember();
  bool isNumbers() const;

  QSettings& settings_;
  views::Theme theme_;
  QTimer soon_;
  QLabel *preview_, *size_, *fileNote_;
  ChoiceRow *format_, *what_ = nullptr, *widths_, *paper_;
  QDoubleSpinBox *width_, *font_, *resolution_;
  QCheckBox *letters_, *caption_;
  QLineEdit* path_;
  QPushButton* save_;
  QList<QWidget*> ofPictures_;  // without meaning for numbers
  QWidget* resolutionRow_ = nullptr;
};

}  // namespace headscope::app
