#include "app/window/model_card.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QSlider>
#include <QVBoxLayout>
#include <filesystem>
#include <map>

#include "app/window/theme_style.h"

namespace headscope::app {
namespace {

QString countText(double n) {
  if (n >= 1e9) return QStringLiteral("%1 G").arg(n / 1e9, 0, 'f', n < 1e10 ? 2 : 1);
  if (n >= 1e6) return QStringLiteral("%1 M").arg(n / 1e6, 0, 'f', 1);
  if (n >= 1e3) return QStringLiteral("%1 k").arg(n / 1e3, 0, 'f', 1);
  return QString::number(n);
}

QString bytesText(double n) {
  if (n >= 1e9) return QStringLiteral("%1 GB").arg(n / 1e9, 0, 'f', 1);
  if (n >= 1e6) return QStringLiteral("%1 MB").arg(n / 1e6, 0, 'f', 1);
  return QStringLiteral("%1 kB").arg(n / 1e3, 0, 'f', 1);
}

/// "float16", or "bfloat16 and others" for the dtype most bytes have.
QString dtypeText(const core::Checkpoint& checkpoint) {
  static constexpr std::pair<core::DType, const char*> kNames[] = {{core::DType::F32, "float32"},
                                                                   {core::DType::F16, "float16"},
                                                                   {core::DType::BF16, "bfloat16"},
                                                                   {core::DType::F8_E4M3, "float8"},
                                                                   {core::DType::F64, "float64"}};
  std::map<core::DType, double> elements;
  for (const std::string_view name : checkpoint.names()) {
    const core::TensorInfo* info = checkpoint.find(name);
    if (info && core::isFloat(info->dtype)) elements[info->dtype] += static_cast<double>(info->count());
  }
  QString text;
  double most = 0;
  for (const auto& [type, name] : kNames) {
    if (const auto found = elements.find(type); found != elements.end() && found->second > most)
      text = QLatin1String(name), most = found->second;
  }
  return text;
}

Fact row(const QString& label, const QString& value, const QString& tip) {
  Fact fact;
  fact.label = label, fact.value = value, fact.tip = tip;
  return fact;
}

}  // namespace

ModelCard::ModelCard(AppState& state, QWidget* parent) : QWidget(parent), state_(state), sheet_(new FactSheet) {
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  column->addWidget(sheet_);
  strengthRow_ = new QWidget;
  auto* line = new QHBoxLayout(strengthRow_);
  line->setContentsMargins(16, 0, 16, 8);
  slider_ = new QSlider(Qt::Horizontal);
  slider_->setObjectName("strength");
  slider_->setRange(0, 150);
  slider_->setValue(100);
  slider_->setToolTip(tr("Strength of the adapter, 0 to 1.5: 0 is the base model, 1 as trained"));
  strength_ = new QLabel;
  line->addWidget(new QLabel(tr("Strength")));
  line->addWidget(slider_, 1);
  line->addWidget(strength_);
  column->addWidget(strengthRow_);
  strengthRow_->hide();
  connect(slider_, &QSlider::valueChanged, this, [this](int value) {
    strength_->setText(QString::number(value / 100.0, 'f', 2));
    state_.setStrength(value / 100.0);
  });
  connect(&state, &AppState::modelChanged, this, &ModelCard::refill);
  connect(&state, &AppState::themeChanged, this, &ModelCard::refill);
  refill();
}

void ModelCard::refill() {
  sheet_->setTheme(state_.theme());
  const OpenedModel& opened = state_.opened();
  FactSection section;
  if (!opened.model) {
    section.title = tr("No model yet");
    section.emptyText = tr("Ctrl+O opens a folder, or drop one");
    sheet_->setSections({section});
    strengthRow_->hide();
    return;
  }
  const core::ModelSpec& spec = opened.model->spec();
  const core::Checkpoint& checkpoint = opened.model->checkpoint();
  section.title = QString::fromStdString(opened.model->name());
  section.aside = tr("%1 family").arg(QString::fromStdString(spec.familyTitle));
  section.tip = QString::fromStdString(opened.model->folder().string());
  const QString kv = spec.kvHeads != spec.heads ? tr(" (%1 key/value)").arg(spec.kvHeads) : QString();
  section.facts = {
      row(tr("Layers × heads"), QStringLiteral("%1 × %2").arg(spec.layers).arg(spec.heads) + kv, tr("Layers, and query heads in each")),
      row(tr("Width, head width"), QStringLiteral("%1, %2").arg(spec.width).arg(spec.headWidth),
          tr("Width of the residual stream (d), and of a head's queries and keys (k)")),
      row(tr("Parameters"), countText(static_cast<double>(checkpoint.parameters())),
          tr("%L1 numbers in the checkpoint").arg(checkpoint.parameters())),
      row(tr("File"), bytesText(static_cast<double>(checkpoint.bytes())) + ", " + dtypeText(checkpoint),
          tr("Size on disk and how most numbers are stored")),
      row(tr("Adapter"),
          opened.adapterSource.empty() ? tr("none")
                                       : QString::fromStdString(std::filesystem::path(opened.adapterSource).filename().string()),
          tr("A LoRA on top of the weights (File, Open adapter)"))};
  if (!opened.tokenizer && !opened.readsImages())
    section.facts.push_back(row(tr("Tokenizer"), tr("none"), QString::fromStdString(opened.tokenizerFault)));
  sheet_->setSections({section});
  strengthRow_->setVisible(!opened.adapterSource.empty());
  const QSignalBlocker blocker(slider_);
  slider_->setValue(static_cast<int>(state_.strength() * 100 + 0.5));
  strength_->setText(QString::number(state_.strength(), 'f', 2));
}

}  // namespace headscope::app
