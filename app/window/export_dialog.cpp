#include "app/window/export_dialog.h"

#include <QCheckBox>
#include <QComboBox>
#include <QDialogButtonBox>
#include <QDir>
#include <QDoubleSpinBox>
#include <QFileDialog>
#include <QFileInfo>
#include <QFormLayout>
#include <QHBoxLayout>
#include <QLineEdit>
#include <QPushButton>
#include <QStandardPaths>

namespace headscope::app {
namespace {

constexpr const char* kEndings[] = {"svg", "pdf", "png", "csv"};

template <class Widget>
Widget* explained(Widget* widget, const char* name, const QString& tip) {
  widget->setObjectName(QLatin1String(name));
  widget->setToolTip(tip);
  return widget;
}

QDoubleSpinBox* spin(double low, double high, double value, int decimals, const QString& unit) {
  auto* box = new QDoubleSpinBox;
  box->setRange(low, high);
  box->setDecimals(decimals);
  box->setValue(value);
  box->setSuffix(unit);
  return box;
}

}  // namespace

ExportDialog::ExportDialog(const QString& name, int heads, QSettings& settings, QWidget* parent) : QDialog(parent), settings_(settings) {
  setWindowTitle(tr("Export picture"));
  setObjectName("exportDialog");
  build(heads);
  restore(name);
  connect(format_, &QComboBox::currentIndexChanged, this, &ExportDialog::followFormat);
  followFormat();
}

void ExportDialog::build(int heads) {
  format_ = explained(new QComboBox, "format", tr("SVG and PDF are drawings, PNG pixels, CSV the numbers shown"));
  format_->addItems({tr("SVG, text stays text"), tr("PDF, fonts inside"), tr("PNG"), tr("CSV, the numbers")});
  what_ = explained(new QComboBox, "what", tr("The picture of the selected head, or one picture for each head selected together"));
  what_->addItem(tr("This picture"));
  if (heads > 1) what_->addItem(tr("Panel of the %1 selected heads").arg(heads));
  what_->setCurrentIndex(heads > 1 ? 1 : 0);
  width_ = explained(new QComboBox, "width", tr("Width on paper: 86 mm is a column, 178 mm a page"));
  width_->setEditable(true);
  width_->addItems({QStringLiteral("86"), QStringLiteral("120"), QStringLiteral("178")});
  width_->setValidator(new QDoubleValidator(20, 1000, 1, width_));
  font_ = explained(spin(4, 24, 7, 1, tr(" pt")), "font", tr("Size of the type on paper"));
  theme_ = explained(new QComboBox, "theme", tr("Light is black on white, for print"));
  theme_->addItems({tr("Light"), tr("Dark")});
  resolution_ = explained(spin(36, 2400, 288, 0, tr(" dots per inch")), "resolution", tr("Pixels of a PNG"));
  letters_ = explained(new QCheckBox(tr("Panel letters a, b, c")), "letters", tr("A letter before each picture"));
  caption_ =
      explained(new QCheckBox(tr("Caption file beside it")), "caption", tr("A .txt that says model, prompt, head, scale and limits"));
  path_ = explained(new QLineEdit, "path", tr("Where the picture is saved"));
  auto* browse = explained(new QPushButton(tr("Browse...")), "browse", tr("Choose the file"));
  browse->setAutoDefault(false);
  connect(browse, &QPushButton::clicked, this, &ExportDialog::browse);
  auto* file = new QHBoxLayout;
  file->addWidget(path_, 1);
  file->addWidget(browse);
  auto* form = new QFormLayout(this);
  form->addRow(tr("Format"), format_);
  form->addRow(tr("What"), what_);
  form->addRow(tr("Width (mm)"), width_);
  form->addRow(tr("Type size"), font_);
  form->addRow(tr("Paper"), theme_);
  form->addRow(tr("Resolution"), resolution_);
  form->addRow(QString(), letters_);
  form->addRow(QString(), caption_);
  form->addRow(tr("File"), file);
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Save | QDialogButtonBox::Cancel);
  connect(buttons, &QDialogButtonBox::accepted, this, [this] {
    remember();
    accept();
  });
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);
  form->addRow(buttons);
  resize(460, sizeHint().height());
}

void ExportDialog::restore(const QString& name) {
  format_->setCurrentIndex(std::clamp(settings_.value("export/format", 0).toInt(), 0, 3));
  width_->setCurrentText(settings_.value("export/width", "86").toString());
  font_->setValue(settings_.value("export/font", 7.0).toDouble());
  theme_->setCurrentIndex(std::clamp(settings_.value("export/theme", 0).toInt(), 0, 1));
  resolution_->setValue(settings_.value("export/resolution", 288.0).toDouble());
  caption_->setChecked(settings_.value("export/caption", true).toBool());
  letters_->setChecked(settings_.value("export/letters", false).toBool());
  const QString pictures = QStandardPaths::writableLocation(QStandardPaths::PicturesLocation);
  const QString folder =
      settings_.value("export/folder", pictures.isEmpty() || !QFileInfo(pictures).isDir() ? QDir::homePath() : pictures).toString();
  path_->setText(QDir(folder).filePath(name + '.' + kEndings[format_->currentIndex()]));
}

void ExportDialog::remember() {
  settings_.setValue("export/format", format_->currentIndex());
  settings_.setValue("export/width", width_->currentText());
  settings_.setValue("export/font", font_->value());
  settings_.setValue("export/theme", theme_->currentIndex());
  settings_.setValue("export/resolution", resolution_->value());
  settings_.setValue("export/caption", caption_->isChecked());
  settings_.setValue("export/letters", letters_->isChecked());
  settings_.setValue("export/folder", QFileInfo(path_->text()).absolutePath());
}

void ExportDialog::followFormat() {
  const QString ending = QLatin1String(kEndings[format_->currentIndex()]);
  const QFileInfo info(path_->text());
  if (!info.completeBaseName().isEmpty()) {
    // Names such as "map_1.5" have a dot of their own: only an ending that is a format is replaced.
    QString stem = info.filePath();
    for (const char* known : kEndings) {
      if (info.suffix() == QLatin1String(known)) stem.chop(static_cast<int>(qstrlen(known)) + 1);
    }
    path_->setText(stem + '.' + ending);
  }
  const bool isNumbers = ending == "csv";
  for (QWidget* w : std::initializer_list<QWidget*>{width_, font_, theme_, letters_, caption_}) w->setEnabled(!isNumbers);
  resolution_->setEnabled(ending == "png");
}

void ExportDialog::browse() {
  const QString path =
      QFileDialog::getSaveFileName(this, tr("Export picture"), path_->text(), tr("Pictures and numbers (*.svg *.pdf *.png *.csv)"));
  if (path.isEmpty()) return;
  path_->setText(path);
  for (int i = 0; i < 4; ++i) {
    if (QFileInfo(path).suffix().toLower() == QLatin1String(kEndings[i])) format_->setCurrentIndex(i);
  }
  followFormat();
}

ExportRequest ExportDialog::request() const {
  ExportRequest request;
  request.path = path_->text();
  request.layout = {std::clamp(width_->currentText().toDouble(), 20.0, 1000.0), font_->value(), letters_->isChecked()};
  request.isDark = theme_->currentIndex() == 1;
  request.dotsPerInch = resolution_->value();
  request.isPanel = what_->currentIndex() == 1;
  request.hasCaption = caption_->isChecked();
  return request;
}

}  // namespace headscope::app
