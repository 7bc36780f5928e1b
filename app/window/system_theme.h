#pragma once
// SystemTheme: whether the desktop asks for dark windows, and when that changes: from the desktop portal's setting
// (org.freedesktop.appearance color-scheme) where there is one, else from the palette that the program was started with.
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

 Q_SIGNALS:
  void changed();

 private Q_SLOTS:
  void settingChanged(const QString& space, const QString& key, const QDBusVariant& value);

 private:
  void take(uint scheme);
  bool isDark_;
};

}  // namespace headscope::app
