#pragma once
// The theme in Qt's terms: palette and style sheet of the whole window, fonts, colours.
#include <QColor>
#include <QFont>
#include <QPalette>
#include <QString>

#include "views/theme.h"

class QApplication;

namespace headscope::app {

inline QColor toQt(views::Color c) { return QColor(c.r, c.g, c.b, c.a); }

QPalette paletteOf(const views::Theme& theme);
QString styleSheetOf(const views::Theme& theme);

QFont sansFont(double size_pt, bool isSemiBold = false);
QFont monoFont(double size_pt, bool isSemiBold = false);

/// True when the desktop asks for dark windows (as far as the palette tells before ours is set).
bool isSystemDark(const QPalette& systemPalette);

}  // namespace headscope::app
