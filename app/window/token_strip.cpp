#include "app/window/token_strip.h"

#include <QHash>
#include <QHelpEvent>
#include <QMouseEvent>
#include <QPaintEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>
#include <cmath>

#include "app/window/head_query.h"
#include "app/window/theme_style.h"
#include "core/attention/attention_map.h"
#include "views/color_ramp.h"
#include "views/token_text.h"
#include "views/value_scale.h"

namespace headscope::app {
namespace {
constexpr int kEdge = 16;
constexpr float kPad = 3, kSegment = 14;  // kSegment: room for a segment's number
}  // namespace

TokenStrip::TokenStrip(AppState& state, QWidget* parent) : QWidget(parent), state_(state) {
  setMouseTracking(true);
  setObjectName("tokenStrip");
  connect(&state, &AppState::traceChanged, this, &TokenStrip::relabel);
  connect(&state, &AppState::selectionChanged, this, qOverload<>(&QWidget::update));
  connect(&state, &AppState::rowChanged, this, qOverload<>(&QWidget::update));
  connect(&state, &AppState::hoverChanged, this, qOverload<>(&QWidget::update));
  connect(&state, &AppState::themeChanged, this, &TokenStrip::relabel);
}

void TokenStrip::relabel() {
  chips_.clear();
  if (const auto trace = state_.trace()) {
    const QFontMetricsF metrics(monoFont(state_.theme().monoSize));
    QHash<QString, float> widths;
    chips_.reserve(trace->prompt().tokens.size());
    const auto& tokens = trace->prompt().tokens;
    const bool hasSegments = std::any_of(tokens.begin(), tokens.end(), [](const core::Token& t) { return t.segment != 0; });
    int segment = -1;
    for (const core::Token& token : trace->prompt().tokens) {
      Chip chip;
      chip.label = QString::fromStdString(views::tokenLabel(token));
      auto found = widths.find(chip.label);
      if (found == widths.end()) found = widths.insert(chip.label, static_cast<float>(metrics.horizontalAdvance(chip.label)));
      chip.width = *found + 2 * kPad;
      if (hasSegments && token.segment != segment) {
        segment = chip.segment = token.segment;
        chip.width += kSegment;
      }
      chips_.push_back(chip);
    }
  }
  layOut(width());
  Q_EMIT heightChanged();
  updateGeometry();
  update();
}

int TokenStrip::rowHeight() const { return static_cast<int>(state_.theme().tokenRow()); }

int TokenStrip::layOut(int width) {
  const auto right = static_cast<float>(std::max(width - kEdge, kEdge + 40));
  float x = kEdge - kPad;
  int row = 0;
  for (Chip& chip : chips_) {
    if (x + chip.width > right && x > kEdge) x = kEdge - kPad, ++row;
    chip.x = x;
    chip.row = row;
    x += chip.width;
  }
  rows_ = chips_.empty() ? 0 : row + 1;
  return rows_;
}

int TokenStrip::heightForWidth(int) const { return std::max(1, rows_) * rowHeight(); }

void TokenStrip::resizeEvent(QResizeEvent*) {
  const int before = rows_;
  layOut(width());
  if (rows_ != before) Q_EMIT heightChanged();
}

QRect TokenStrip::chipRect(int64_t token) const {
  const Chip& chip = chips_[static_cast<size_t>(token)];
  return QRectF(chip.x, chip.row * rowHeight(), chip.width, rowHeight()).toRect();
}

void TokenStrip::paintEvent(QPaintEvent* event) {
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  const views::Theme& theme = state_.theme();
  const auto trace = state_.trace();
  if (!trace || chips_.size() != static_cast<size_t>(trace->count())) return;
  const std::vector<float>& weights = state_.rowWeights();
  const bool isSigned = !weights.empty() && core::AttentionMap(trace, state_.selection().ref()).isSigned();
  const views::ColorRamp ramp = isSigned ? views::divergingRamp(theme) : views::attentionRamp(theme);
  const views::ValueScale size =  // of signed weights, whose sizes have no scale of their own
      isSigned ? views::scaleFor({}, core::ConstMatrixView{weights.data(), 1, static_cast<int64_t>(weights.size()), 0}, 0, true)
               : views::ValueScale{};
  const int64_t query = state_.selection().query;
  const bool isCausal = trace->spec().isCausal;
  painter.setFont(monoFont(theme.monoSize));
  const int firstRow = event->rect().top() / rowHeight(), lastRow = event->rect().bottom() / rowHeight();
  auto first = std::lower_bound(chips_.begin(), chips_.end(), firstRow, [](const Chip& chip, int row) { return chip.row < row; });
  for (; first != chips_.end() && first->row <= lastRow; ++first) {
    const auto i = static_cast<int64_t>(first - chips_.begin());
    const float lead = first->segment >= 0 ? kSegment : 0;
    const QRectF chip(first->x + lead, first->row * rowHeight() + 2, first->width - lead, rowHeight() - 4);
    if (first->segment >= 0) {
      painter.setPen(toQt(theme.inkSecond));
      painter.drawText(QRectF(first->x, chip.top(), lead, chip.height()), Qt::AlignCenter, QString::number(first->segment));
    }
    const core::Token& token = trace->prompt().tokens[static_cast<size_t>(i)];
    views::Color ink = isCausal && query >= 0 && i > query ? theme.inkSecond : theme.ink;
    painter.setPen(Qt::NoPen);
    const float weight = static_cast<size_t>(i) < weights.size() ? weights[static_cast<size_t>(i)] : 0.0f;
    if (isSigned ? std::abs(weight) > 5e-4 * size.high : weight > 5e-4f) {
      const views::Color fill = ramp.at(isSigned ? size.unit(static_cast<double>(weight)) : 0.85 * std::sqrt(std::min(1.0f, weight)));
      ink = views::inkOn(fill, theme);
      painter.setBrush(toQt(fill));
      painter.drawRoundedRect(chip.adjusted(0.5, 0, -0.5, 0), 3, 3);
    } else if (token.isSpecial) {
      ink = theme.specialInk;
      painter.setBrush(toQt(theme.specialFill));
      painter.drawRoundedRect(chip.adjusted(0.5, 0, -0.5, 0), 3, 3);
    }
    const bool isHovered = state_.hover().key == i || (state_.hover().query == i && state_.hover().key < 0);
    if (isHovered) {
      painter.setPen(QPen(toQt(theme.accent), 1));
      painter.setBrush(Qt::NoBrush);
      painter.drawRoundedRect(chip.adjusted(0.5, 0.5, -0.5, -0.5), 3, 3);
    }
    painter.setPen(toQt(ink));
    painter.drawText(chip, Qt::AlignCenter, first->label);
    if (i == query) painter.fillRect(QRectF(chip.left() + 1, chip.bottom(), chip.width() - 2, 2), toQt(theme.accent));
  }
}

int64_t TokenStrip::tokenAt(QPoint at) const {
  const int row = at.y() / rowHeight();
  auto chip = std::lower_bound(chips_.begin(), chips_.end(), row, [](const Chip& c, int r) { return c.row < r; });
  for (; chip != chips_.end() && chip->row == row; ++chip) {
    if (static_cast<float>(at.x()) >= chip->x && static_cast<float>(at.x()) < chip->x + chip->width) return chip - chips_.begin();
  }
  return -1;
}

void TokenStrip::mouseMoveEvent(QMouseEvent* event) {
  core::Selection hover;
  hover.layer = hover.head = -1;
  hover.key = tokenAt(event->position().toPoint());
  state_.setHover(hover);
  setCursor(hover.key >= 0 ? Qt::PointingHandCursor : Qt::ArrowCursor);
}

void TokenStrip::leaveEvent(QEvent*) {
  core::Selection none;
  none.layer = none.head = -1;
  state_.setHover(none);
}

void TokenStrip::mousePressEvent(QMouseEvent* event) {
  const int64_t token = tokenAt(event->position().toPoint());
  if (token < 0 || event->button() != Qt::LeftButton) return;
  core::Selection next = state_.selection();
  // With Shift the key is chosen, as a map's column.
  (event->modifiers() & Qt::ShiftModifier ? next.key : next.query) = token;
  state_.select(next);
}

QString TokenStrip::tipOf(int64_t i) const {
  const auto trace = state_.trace();
  if (!trace || i >= trace->count()) return {};
  const core::Token& token = trace->prompt().tokens[static_cast<size_t>(i)];
  QString tip = tr("Token %1: id %2").arg(i).arg(token.id);
  if (!token.piece.empty()) tip += tr(", piece %1").arg(QString::fromStdString(views::visibleText(token.piece)));
  if (token.isSpecial) tip += tr(", special");
  if (trace->spec().segments > 1) tip += tr(", segment %1").arg(token.segment);
  if (trace->spec().image)
    tip = token.isSpecial ? tr("Class token") : tr("Patch %1, row and column").arg(QString::fromStdString(token.bytes));
  const std::vector<float>& weights = state_.rowWeights();
  if (static_cast<size_t>(i) < weights.size()) {
    const core::Selection& s = state_.selection();
    tip += tr("\nHead %1.%2, query %3: weight %4")
               .arg(s.layer)
               .arg(s.head)
               .arg(s.query)
               .arg(static_cast<double>(weights[static_cast<size_t>(i)]), 0, 'g', 4);
  }
  return tip + tr("\nClick: query, Shift+click: key");
}

bool TokenStrip::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    auto* help = static_cast<QHelpEvent*>(event);
    const int64_t token = tokenAt(help->pos());
    if (token < 0) {
      QToolTip::hideText();
    } else {
      QToolTip::showText(help->globalPos(), tipOf(token).toHtmlEscaped().replace('\n', "<br>"), this);
    }
    return true;
  }
  return QWidget::event(event);
}

}  // namespace headscope::app
