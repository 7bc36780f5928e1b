#pragma once
// SystemTheme: whether the desktop asks for dark windows and for less motion, and when that changes: from the desktop portal's
// settings where there are any (color-scheme; reduced-motion, or GNOME's and KDE's own), else from the palette that the program
// was started with, and with motion.
// Asks asynchronously: a slow or absent message bus costs nothing.
#include <QDBusVariant>
#include <QObject>
#include <QPalette>
#include <QString>

namespace headscope::app {

class SystemTheme : public QObject {
  Q_OBJECT
 public:
  /// startPalette: the application's before any of ours was set.
  explicit SystemTheme(const QPalette& startPalette, QObject* parent = nullptr);
  bool isDark() const { return isDark_; }
  bool isMotionReduced() const { return isMotionReduced_; }

 Q_SIGNALS:
  void changed();

 private Q_SLOTS:
  void settingChanged(const QString& space, const QString& key, const QDBusVariant& value);

 private:
  void ask(const char* space, const char* key);
  void take(const QString& space, const QString& key, const QVariant& value);
  bool isDark_;
  bool isMotionReduced_ = false;
};

}  // namespace headscope::app
