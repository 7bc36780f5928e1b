#include "app/window/system_theme.h"

#include <QDBusConnection>
#include <QDBusMessage>
#include <QDBusPendingCallWatcher>
#include <QDBusPendingReply>

#include "app/window/theme_style.h"

namespace headscope::app {
namespace {

constexpr const char* kService = "org.freedesktop.portal.Desktop";
constexpr const char* kPath = "/org/freedesktop/portal/desktop";
constexpr const char* kInterface = "org.freedesktop.portal.Settings";
constexpr const char* kSpace = "org.freedesktop.appearance";
constexpr const char* kKey = "color-scheme";  // 0: no preference, 1: dark, 2: light

}  // namespace

SystemTheme::SystemTheme(const QPalette& startPalette, QObject* parent) : QObject(parent), isDark_(isSystemDark(startPalette)) {
  // Without a session bus the library would look for one and warn.
  if (qEnvironmentVariableIsEmpty("DBUS_SESSION_BUS_ADDRESS")) return;
  QDBusConnection bus = QDBusConnection::sessionBus();
  if (!bus.isConnected()) return;
  bus.connect(kService, kPath, kInterface, QStringLiteral("SettingChanged"), this, SLOT(settingChanged(QString, QString, QDBusVariant)));
  QDBusMessage ask = QDBusMessage::createMethodCall(kService, kPath, kInterface, QStringLiteral("Read"));
  ask << QString::fromLatin1(kSpace) << QString::fromLatin1(kKey);
  auto* watcher = new QDBusPendingCallWatcher(bus.asyncCall(ask), this);
  connect(watcher, &QDBusPendingCallWatcher::finished, this, [this, watcher] {
    const QDBusPendingReply<QDBusVariant> reply = *watcher;
    // The old method wraps the value twice.
    if (reply.isValid()) take(qvariant_cast<QDBusVariant>(reply.value().variant()).variant().toUInt());
    watcher->deleteLater();
  });
}

void SystemTheme::settingChanged(const QString& space, const QString& key, const QDBusVariant& value) {
  if (space == QLatin1String(kSpace) && key == QLatin1String(kKey)) take(value.variant().toUInt());
}

void SystemTheme::take(uint scheme) {
  if (scheme == 0 || (scheme == 1) == isDark_) return;
  isDark_ = scheme == 1;
  Q_EMIT changed();
}

}  // namespace headscope::app
