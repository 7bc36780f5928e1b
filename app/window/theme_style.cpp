#include "app/window/theme_style.h"

#include <QStringList>

namespace headscope::app {
namespace {

QString css(views::Color c) { return toQt(c).name(); }

}  // namespace

QPalette paletteOf(const views::Theme& t) {
  QPalette p;
  p.setColor(QPalette::Window, toQt(t.panel));
  p.setColor(QPalette::WindowText, toQt(t.ink));
  p.setColor(QPalette::Base, toQt(t.canvas));
  p.setColor(QPalette::AlternateBase, toQt(t.panel));
  p.setColor(QPalette::Text, toQt(t.ink));
  p.setColor(QPalette::Button, toQt(t.panel));
  p.setColor(QPalette::ButtonText, toQt(t.ink));
  p.setColor(QPalette::BrightText, toQt(t.error));
  p.setColor(QPalette::ToolTipBase, toQt(t.raised));
  p.setColor(QPalette::ToolTipText, toQt(t.ink));
  p.setColor(QPalette::PlaceholderText, toQt(t.inkSecond));
  p.setColor(QPalette::Highlight, toQt(t.accent));
  p.setColor(QPalette::HighlightedText, toQt(t.canvas));
  p.setColor(QPalette::Link, toQt(t.accent));
  p.setColor(QPalette::Light, toQt(t.raised));
  p.setColor(QPalette::Midlight, toQt(t.raised));
  p.setColor(QPalette::Mid, toQt(t.line));
  p.setColor(QPalette::Dark, toQt(t.line));
  p.setColor(QPalette::Shadow, toQt(t.line));
  for (const auto role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText})
    p.setColor(QPalette::Disabled, role, toQt(t.inkSecond));
  return p;
}

QString styleSheetOf(const views::Theme& t) {
  QString sheet = QStringLiteral(
      "QMainWindow, QDialog { background: @panel; }"
      "QMainWindow::separator { background: @line; width: 1px; height: 1px; }"
      "QMenuBar { background: @panel; color: @ink; padding: 2px 4px; border: none; border-bottom: 1px solid @line; }"
      "QMenuBar::item { padding: 4px 10px; background: transparent; border-radius: 4px; }"
      "QMenuBar::item:selected { background: @raised; }"
      "QMenu { background: @panel; color: @ink; border: 1px solid @line; padding: 4px; }"
      "QMenu::item { padding: 4px 24px 4px 16px; border-radius: 4px; }"
      "QMenu::item:selected { background: @raised; }"
      "QMenu::item:disabled { color: @second; }"
      "QMenu::separator { height: 1px; background: @line; margin: 4px 8px; }"
      "QToolTip { background: @raised; color: @ink; border: 1px solid @line; padding: 4px; }"
      "QLineEdit, QSpinBox, QDoubleSpinBox, QComboBox { background: @canvas; color: @ink; border: 1px solid @line; border-radius: 4px;"
      "  padding: 2px 6px; min-height: 18px; selection-background-color: @accent; selection-color: @canvas; }"
      "QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus { border-color: @accent; }"
      "QComboBox QAbstractItemView { background: @panel; color: @ink; selection-background-color: @raised; selection-color: @ink; }"
      "QPlainTextEdit { background: @canvas; color: @ink; border: none; selection-background-color: @accent; selection-color: @canvas; }"
      "QPushButton { background: @raised; color: @ink; border: 1px solid @line; border-radius: 4px; padding: 4px 12px; }"
      "QPushButton:hover { background: @line; } QPushButton:default { background: @accent; color: @canvas; border-color: @accent; }"
      "QPushButton:disabled { background: @raised; color: @second; border-color: @line; }"
      "QPushButton[choice=\"true\"] { background: @canvas; padding: 3px 8px; }"
      "QPushButton[choice=\"true\"]:hover { background: @raised; }"
      "QPushButton[choice=\"true\"]:checked { background: @raised; border-color: @accent; color: @accent; }"
      "QPushButton[choice=\"true\"]:checked:disabled { border-color: @line; color: @second; }"
      "QPushButton:focus, QCheckBox:focus { outline: none; border-color: @accent; }"
      "QLabel:disabled, QCheckBox:disabled { color: @second; }"
      "QLineEdit:disabled, QSpinBox:disabled, QDoubleSpinBox:disabled, QComboBox:disabled { color: @second; background: @panel; }"
      "#exportDialog #size { color: @second; }"
      "#preview { background: @raised; border-radius: 4px; padding: 12px; color: @second; }"
      "QToolButton { background: transparent; color: @second; border: none; padding: 2px 4px; border-radius: 4px; }"
      "QToolButton:hover { color: @ink; background: @raised; } QToolButton::menu-indicator { image: none; }"
      "QTableView { background: @panel; border: none; outline: none; } QListWidget { background: @canvas; border: none; outline: none; }"
      "QListWidget::item { padding: 3px 8px; border-radius: 4px; } QListWidget::item:selected { background: @raised; color: @ink; }"
      "QScrollArea { background: transparent; border: none; }"
      "QScrollBar { background: transparent; border: none; } QScrollBar:vertical { width: 8px; } QScrollBar:horizontal { height: 8px; }"
      "QScrollBar::handle { background: @line; border-radius: 4px; min-height: 24px; min-width: 24px; }"
      "QScrollBar::handle:hover { background: @second; }"
      "QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; } QScrollBar::add-page, QScrollBar::sub-page { background: "
      "transparent; }"
      "QProgressBar { background: @raised; border: none; border-radius: 2px; max-height: 4px; min-height: 4px; }"
      "QProgressBar::chunk { background: @accent; border-radius: 2px; }"
      "QSlider::groove:horizontal { height: 4px; background: @line; border-radius: 2px; }"
      "QSlider::handle:horizontal { width: 12px; height: 12px; margin: -4px 0; border-radius: 6px; background: @accent; }"
      "#paper { background: @canvas; }");
  const std::pair<const char*, views::Color> words[] = {{"@canvas", t.canvas}, {"@panel", t.panel}, {"@raised", t.raised},
                                                        {"@line", t.line},     {"@ink", t.ink},     {"@second", t.inkSecond},
                                                        {"@accent", t.accent}};
  for (const auto& [word, color] : words) sheet.replace(QLatin1String(word), css(color));
  return sheet;
}

QFont sansFont(double size_pt, bool isSemiBold) {
  QFont font(QStringList{QStringLiteral("Inter"), QStringLiteral("DejaVu Sans")}, -1);
  font.setPixelSize(static_cast<int>(size_pt + 0.5));
  if (isSemiBold) font.setWeight(QFont::DemiBold);
  return font;
}

QFont monoFont(double size_pt, bool isSemiBold) {
  QFont font(QStringList{QStringLiteral("JetBrains Mono"), QStringLiteral("DejaVu Sans Mono")}, -1);
  font.setPixelSize(static_cast<int>(size_pt + 0.5));
  font.setStyleHint(QFont::Monospace);
  // Programming ligatures would show "<|" as one sign: a token must be seen as it is.
  font.setStyleStrategy(static_cast<QFont::StyleStrategy>(QFont::PreferAntialias | QFont::PreferNoShaping));
  if (isSemiBold) font.setWeight(QFont::DemiBold);
  return font;
}

bool isSystemDark(const QPalette& p) { return p.color(QPalette::WindowText).lightness() > p.color(QPalette::Window).lightness(); }

}  // namespace headscope::app
