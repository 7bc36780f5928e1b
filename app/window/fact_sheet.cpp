#include "app/window/fact_sheet.h"

#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>

#include "app/window/theme_style.h"

namespace headscope::app {
namespace {
constexpr int kEdge = 16, kTitle = 36, kGapAfter = 10, kBar = 64, kNumber = 52;
}

FactSheet::FactSheet(QWidget* parent) : QWidget(parent) {
  setMouseTracking(true);
  setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Fixed);
}

void FactSheet::setTheme(const views::Theme& theme) {
  theme_ = theme;
  update();
}

void FactSheet::setSections(std::vector<FactSection> sections) {
  sections_ = std::move(sections);
  updateGeometry();
  update();
}

int FactSheet::height(const FactSection& section) const {
  const int rows = std::max<int>(static_cast<int>(section.facts.size()), section.emptyText.isEmpty() ? 0 : 1);
  return kTitle + rows * static_cast<int>(theme_.listRowHeight) + kGapAfter;
}

QSize FactSheet::sizeHint() const {
  int total = 0;
  for (const FactSection& section : sections_) total += height(section);
  return {200, total};
}

QRect FactSheet::rowRect(int section, int row) const {
  int top = 0;
  for (int s = 0; s < section; ++s) top += height(sections_[static_cast<size_t>(s)]);
  return {0, top + kTitle + row * static_cast<int>(theme_.listRowHeight), width(), static_cast<int>(theme_.listRowHeight)};
}

FactSheet::Place FactSheet::placeAt(int y) const {
  int top = 0;
  for (int s = 0; s < static_cast<int>(sections_.size()); ++s) {
    const FactSection& section = sections_[static_cast<size_t>(s)];
    if (y < top + height(section)) {
      const int row = (y - top - kTitle) / static_cast<int>(theme_.listRowHeight);
      const bool isRow = y >= top + kTitle && row < static_cast<int>(section.facts.size());
      return {s, isRow ? row : -1};
    }
    top += height(section);
  }
  return {};
}

void FactSheet::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  int top = 0;
  for (size_t s = 0; s < sections_.size(); ++s) {
    const FactSection& section = sections_[s];
    if (s > 0) painter.fillRect(QRectF(0, top, width(), 1), toQt(theme_.line));
    const QRect title(kEdge, top + 8, width() - 2 * kEdge, kTitle - 10);
    painter.setFont(sansFont(theme_.headingSize, true));
    painter.setPen(toQt(theme_.ink));
    const QFontMetrics metrics(painter.font());
    painter.drawText(title, Qt::AlignLeft | Qt::AlignVCenter, metrics.elidedText(section.title, Qt::ElideRight, title.width()));
    const int used = metrics.horizontalAdvance(section.title);
    painter.setFont(sansFont(theme_.textSize));
    painter.setPen(toQt(theme_.inkSecond));
    const int room = title.width() - used - 12;
    if (room > 24) {
      const QString aside = QFontMetrics(painter.font()).elidedText(section.aside, Qt::ElideRight, room);
      painter.drawText(title, Qt::AlignRight | Qt::AlignVCenter, aside);
    }
    int y = top + kTitle;
    for (const Fact& fact : section.facts) {
      paintFact(painter, fact, y);
      y += static_cast<int>(theme_.listRowHeight);
    }
    if (section.facts.empty() && !section.emptyText.isEmpty()) {
      painter.setFont(sansFont(theme_.textSize));
      painter.setPen(toQt(theme_.inkSecond));
      painter.drawText(QRect(kEdge, y, width() - 2 * kEdge, static_cast<int>(theme_.listRowHeight)), Qt::AlignVCenter, section.emptyText);
    }
    top += height(section);
  }
}

void FactSheet::paintFact(QPainter& painter, const Fact& fact, int top) const {
  const int rowHeight = static_cast<int>(theme_.listRowHeight), right = width() - kEdge;
  const bool hasBar = fact.bar >= 0;
  const QFont number = monoFont(theme_.monoSize), label = fact.isMono ? monoFont(theme_.monoSize) : sansFont(theme_.textSize);
  // Words | number | bar for scores; token | position | bar | number for lists of tokens.
  int labelRight = right;
  painter.setFont(hasBar || fact.isMono ? number : sansFont(theme_.textSize));
  painter.setPen(toQt(theme_.ink));
  const int valueWidth = QFontMetrics(painter.font()).horizontalAdvance(fact.value);
  QRect bar;
  if (hasBar && !fact.isFirstBar) {
    bar = {right - kBar, top, kBar, rowHeight};
    painter.drawText(QRect(bar.left() - 12 - kNumber, top, kNumber, rowHeight), Qt::AlignRight | Qt::AlignVCenter, fact.value);
    labelRight = bar.left() - 12 - kNumber;
  } else if (hasBar) {
    painter.drawText(QRect(right - kNumber, top, kNumber, rowHeight), Qt::AlignRight | Qt::AlignVCenter, fact.value);
    bar = {right - kNumber - 10 - kBar, top, kBar, rowHeight};
    labelRight = bar.left() - 8;
  } else {
    painter.drawText(QRect(kEdge, top, right - kEdge, rowHeight), Qt::AlignRight | Qt::AlignVCenter, fact.value);
    labelRight = right - valueWidth - 8;
  }
  if (!fact.aside.isEmpty()) {
    painter.setFont(monoFont(theme_.smallSize));
    painter.setPen(toQt(theme_.inkSecond));
    const int asideWidth = QFontMetrics(painter.font()).horizontalAdvance(fact.aside);
    painter.drawText(QRect(labelRight - asideWidth, top, asideWidth, rowHeight), Qt::AlignRight | Qt::AlignVCenter, fact.aside);
    labelRight -= asideWidth + 6;
  }
  painter.setFont(label);
  painter.setPen(toQt(hasBar || fact.isMono ? theme_.ink : theme_.inkSecond));
  const QRect labelRect(kEdge, top, std::max(0, labelRight - kEdge), rowHeight);
  painter.drawText(labelRect, Qt::AlignLeft | Qt::AlignVCenter,
                   QFontMetrics(label).elidedText(fact.label, Qt::ElideRight, labelRect.width()));
  if (!hasBar) return;
  painter.setPen(Qt::NoPen);
  const double middle = top + rowHeight / 2.0, length = std::clamp(fact.bar, 0.0, 1.0) * bar.width();
  if (!fact.isFirstBar) {
    painter.setBrush(toQt(theme_.line));
    painter.drawRoundedRect(QRectF(bar.left(), middle - 2, bar.width(), 4), 2, 2);
  }
  painter.setBrush(toQt(fact.barColor));
  const double thick = fact.isFirstBar ? 6 : 4;
  painter.drawRoundedRect(QRectF(bar.left(), middle - thick / 2, std::max(length, 2.0), thick), 2, 2);
}

bool FactSheet::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    auto* help = static_cast<QHelpEvent*>(event);
    const Place place = placeAt(help->pos().y());
    QString tip;
    if (place.section >= 0) {
      const FactSection& section = sections_[static_cast<size_t>(place.section)];
      tip = place.row >= 0 ? section.facts[static_cast<size_t>(place.row)].tip : section.tip;
    }
    if (tip.isEmpty()) {
      QToolTip::hideText();
    } else {
      QToolTip::showText(help->globalPos(), tip, this);
    }
    return true;
  }
  return QWidget::event(event);
}

void FactSheet::mousePressEvent(QMouseEvent* event) {
  const Place place = placeAt(static_cast<int>(event->position().y()));
  if (place.row >= 0) Q_EMIT clicked(place.section, place.row);
}

}  // namespace headscope::app
