#include "app/window/export_dialog.h"

#include <QCheckBox>
#include <QDialogButtonBox>
#include <QDir>
#include <QDoubleSpinBox>
#include <QFileDialog>
#include <QFileInfo>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QStandardPaths>
#include <QVBoxLayout>
#include <algorithm>

#include "app/window/choice_row.h"
#include "app/window/theme_style.h"

namespace headscope::app {
namespace {

constexpr const char* kEndings[] = {"svg", "pdf", "png", "csv"};
constexpr double kWidths_mm[] = {86, 120, 178};
constexpr QSize kPreview{380, 380};
constexpr int kMargin = 16, kPreviewEdge = 12, kRest_ms = 150;

template <class Widget>
Widget* explained(Widget* widget, const char* name, const QString& tip) {
  widget->setObjectName(QLatin1String(name));
  widget->setToolTip(tip);
  return widget;
}

}  // namespace

ExportDialog::ExportDialog(const QString& name, int heads, QSettings& settings, const views::Theme& theme, QWidget* parent)
    : QDialog(parent), settings_(settings), theme_(theme) {
  setWindowTitle(tr("Export picture"));
  setObjectName("exportDialog");
  auto* columns = new QHBoxLayout;
  columns->setSpacing(kMargin);
  columns->addWidget(buildPreview());
  columns->addWidget(buildChoices(heads), 1);
  auto* buttons = new QDialogButtonBox;
  save_ = explained(buttons->addButton(tr("Save"), QDialogButtonBox::AcceptRole), "save", tr("Write the file"));
  save_->setDefault(true);
  explained(buttons->addButton(tr("Cancel"), QDialogButtonBox::RejectRole), "cancel", tr("Write nothing"));
  connect(buttons, &QDialogButtonBox::accepted, this, [this] {
    remember();
    accept();
  });
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);
  fileNote_ = new QLabel;
  fileNote_->setObjectName("fileNote");
  auto* last = new QHBoxLayout;
  last->addWidget(fileNote_, 1);
  last->addWidget(buttons);
  auto* rows = new QVBoxLayout(this);
  rows->setContentsMargins(kMargin, kMargin, kMargin, kMargin);
  rows->setSpacing(kMargin);
  rows->addLayout(columns);
  rows->addWidget(buildFileRow());
  rows->addLayout(last);
  rows->setSizeConstraint(QLayout::SetFixedSize);
  soon_.setSingleShot(true);
  soon_.setInterval(kRest_ms);
  connect(&soon_, &QTimer::timeout, this, [this] {
    if (isNumbers()) return;
    const QSize room = (kPreview - QSize(2 * kPreviewEdge, 2 * kPreviewEdge)) * devicePixelRatioF();
    Q_EMIT previewWanted(request(), room);
  });
  restore(name);
  followFormat();
}

QWidget* ExportDialog::buildPreview() {
  auto* side = new QWidget;
  auto* rows = new QVBoxLayout(side);
  rows->setContentsMargins(0, 0, 0, 0);
  rows->setSpacing(4);
  preview_ = explained(new QLabel, "preview", tr("The picture as it will be"));
  preview_->setFixedSize(kPreview);
  preview_->setAlignment(Qt::AlignCenter);
  preview_->setWordWrap(true);
  size_ = explained(new QLabel, "size", tr("Width and height on paper"));
  size_->setAlignment(Qt::AlignCenter);
  size_->setFont(sansFont(theme_.smallSize));
  rows->addWidget(preview_);
  rows->addWidget(size_);
  rows->addStretch();
  return side;
}

QDoubleSpinBox* ExportDialog::number(const char* name, double low, double high, int decimals, const QString& unit, const QString& tip) {
  auto* box = explained(new QDoubleSpinBox, name, tip);
  box->setButtonSymbols(QAbstractSpinBox::NoButtons);  // arrow keys and the wheel step it
  box->setRange(low, high);
  box->setDecimals(decimals);
  box->setSuffix(unit);
  box->setFixedWidth(96);
  connect(box, &QDoubleSpinBox::valueChanged, this, &ExportDialog::changed);
  return box;
}

QWidget* ExportDialog::buildChoices(int heads) {
  auto* side = new QWidget;
  auto* grid = new QGridLayout(side);
  grid->setContentsMargins(0, 0, 0, 0);
  grid->setHorizontalSpacing(12);
  grid->setVerticalSpacing(10);
  const auto add = [grid](const QString& label, QWidget* widget, bool isWide = true) {
    const int row = grid->rowCount();
    auto* title = new QLabel(label);
    grid->addWidget(title, row, 0);
    grid->addWidget(widget, row, 1, isWide ? Qt::Alignment() : Qt::AlignLeft);
    return title;
  };
  format_ = explained(new ChoiceRow({"SVG", "PDF", "PNG", "CSV"}), "format",
                      tr("SVG and PDF are drawings whose text stays text, PNG is pixels, CSV the numbers shown"));
  connect(format_, &ChoiceRow::chosen, this, &ExportDialog::followFormat);
  add(tr("Format"), format_);
  if (heads > 1) {
    what_ = explained(new ChoiceRow({tr("This head"), tr("%1 heads selected").arg(heads)}), "what",
                      tr("The picture of the selected head, or one picture for each head selected together"));
    what_->setCurrentIndex(1);
    connect(what_, &ChoiceRow::chosen, this, &ExportDialog::changed);
    add(tr("Shows"), what_);
  }
  widths_ = explained(new ChoiceRow({tr("column"), QStringLiteral("120"), tr("page")}), "widths", tr("86 mm is a column, 178 mm a page"));
  connect(widths_, &ChoiceRow::chosen, this, [this](int index) { width_->setValue(kWidths_mm[index]); });
  width_ = number("width", 20, 1000, 1, tr(" mm"), tr("Width on paper"));
  font_ = number("font", 4, 24, 1, tr(" pt"), tr("Size of the type on paper"));
  resolution_ = number("resolution", 36, 2400, 0, tr(" dpi"), tr("Pixels of a PNG to an inch"));
  paper_ = explained(new ChoiceRow({tr("light"), tr("dark")}), "theme", tr("Light is black on white, for print"));
  connect(paper_, &ChoiceRow::chosen, this, &ExportDialog::changed);
  letters_ = explained(new QCheckBox(tr("Panel letters a, b, c")), "letters", tr("A letter before each picture"));
  caption_ =
      explained(new QCheckBox(tr("Caption file beside it")), "caption", tr("A .txt that says model, prompt, head, scale and limits"));
  for (QCheckBox* box : {letters_, caption_}) connect(box, &QCheckBox::toggled, this, &ExportDialog::changed);
  ofPictures_ << add(tr("Width"), widths_) << widths_ << add(QString(), width_, false) << width_;
  ofPictures_ << add(tr("Type"), font_, false) << font_;
  ofPictures_ << add(tr("Paper"), paper_) << paper_;
  resolutionRow_ = add(tr("Resolution"), resolution_, false);
  add(QString(), letters_);
  add(QString(), caption_);
  ofPictures_ << letters_ << caption_;
  grid->setRowStretch(grid->rowCount(), 1);
  grid->setColumnMinimumWidth(1, 230);
  return side;
}

QWidget* ExportDialog::buildFileRow() {
  auto* row = new QWidget;
  auto* file = new QHBoxLayout(row);
  file->setContentsMargins(0, 0, 0, 0);
  path_ = explained(new QLineEdit, "path", tr("Where the picture is saved"));
  auto* browse = explained(new QPushButton(tr("Browse...")), "browse", tr("Choose the file"));
  browse->setAutoDefault(false);
  connect(browse, &QPushButton::clicked, this, &ExportDialog::browse);
  connect(path_, &QLineEdit::textChanged, this, &ExportDialog::showFileNote);
  file->addWidget(new QLabel(tr("File")));
  file->addWidget(path_, 1);
  file->addWidget(browse);
  return row;
}

bool ExportDialog::isNumbers() const { return format_->currentIndex() == 3; }

void ExportDialog::restore(const QString& name) {
  format_->setCurrentIndex(settings_.value("export/format", 0).toInt());
  width_->setValue(settings_.value("export/width", 86.0).toDouble());
  font_->setValue(settings_.value("export/font", 7.0).toDouble());
  paper_->setCurrentIndex(settings_.value("export/theme", 0).toInt());
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
  settings_.setValue("export/width", width_->value());
  settings_.setValue("export/font", font_->value());
  settings_.setValue("export/theme", paper_->currentIndex());
  settings_.setValue("export/resolution", resolution_->value());
  settings_.setValue("export/caption", caption_->isChecked());
  settings_.setValue("export/letters", letters_->isChecked());
  settings_.setValue("export/folder", QFileInfo(path_->text()).absolutePath());
}

void ExportDialog::setFormat(int index) {
  format_->setCurrentIndex(index);
  followFormat();
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
  for (QWidget* widget : ofPictures_) widget->setEnabled(!isNumbers());
  for (QWidget* widget : {resolutionRow_, static_cast<QWidget*>(resolution_)}) widget->setEnabled(ending == "png");
  changed();
}

/// Anything that the picture depends on.
void ExportDialog::changed() {
  const double width = width_->value();
  const auto* preset = std::find(std::begin(kWidths_mm), std::end(kWidths_mm), width);
  widths_->setCurrentIndex(preset == std::end(kWidths_mm) ? -1 : static_cast<int>(preset - std::begin(kWidths_mm)));
  if (isNumbers()) {
    soon_.stop();
    showMessage(tr("The numbers that the picture shows, one line each under a line of names, as UTF-8 text with commas"));
  } else {
    soon_.start();
  }
  showFileNote();
}

void ExportDialog::showFileNote() {
  const QFileInfo file(path_->text());
  QString note;
  if (path_->text().trimmed().isEmpty()) {
    note = tr("Say where the file goes");
  } else if (!file.absoluteDir().exists()) {
    note = tr("There is no folder %1").arg(QDir::toNativeSeparators(file.absolutePath()));
  } else if (file.isDir()) {
    note = tr("This is a folder: add a file name");
  } else if (file.exists()) {
    note = tr("The file exists and will be replaced");
  }
  fileNote_->setText(note);
  fileNote_->setStyleSheet(QStringLiteral("color: %1").arg(toQt(theme_.warning).name()));
  save_->setEnabled(!path_->text().trimmed().isEmpty() && file.absoluteDir().exists() && !file.isDir());
}

void ExportDialog::showEvent(QShowEvent* event) {
  QDialog::showEvent(event);
  changed();
}

void ExportDialog::showPreview(const QImage& picture, double height_mm) {
  if (isNumbers()) return;  // chosen while the picture was made
  QPixmap pixels = QPixmap::fromImage(picture);
  pixels.setDevicePixelRatio(devicePixelRatioF());
  preview_->setPixmap(pixels);
  size_->setText(tr("%1 × %2 mm").arg(width_->value(), 0, 'f', 0).arg(height_mm, 0, 'f', 0));
}

void ExportDialog::showMessage(const QString& text) {
  preview_->setText(text);
  size_->clear();
}

void ExportDialog::browse() {
  const QString path =
      QFileDialog::getSaveFileName(this, tr("Export picture"), path_->text(), tr("Pictures and numbers (*.svg *.pdf *.png *.csv)"), nullptr,
                                   QFileDialog::DontConfirmOverwrite);  // said in this dialog
  if (path.isEmpty()) return;
  path_->setText(path);
  for (int i = 0; i < 4; ++i) {
    if (QFileInfo(path).suffix().toLower() == QLatin1String(kEndings[i])) format_->setCurrentIndex(i);
  }
  followFormat();
}

ExportRequest ExportDialog::request() const {
  ExportRequest request;
  request.path = path_->text().trimmed();
  request.layout = {width_->value(), font_->value(), letters_->isChecked()};
  request.isDark = paper_->currentIndex() == 1;
  request.dotsPerInch = resolution_->value();
  request.isPanel = what_ && what_->currentIndex() == 1;
  request.hasCaption = caption_->isChecked();
  return request;
}

}  // namespace headscope::app
