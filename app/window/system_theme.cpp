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

// What is read: space and key.
constexpr const char* kScheme[] = {"org.freedesktop.appearance", "color-scheme"};     // 0: no preference, 1: dark, 2: light
constexpr const char* kReduced[] = {"org.freedesktop.appearance", "reduced-motion"};  // 0: no preference, 1: less
constexpr const char* kGnome[] = {"org.gnome.desktop.interface", "enable-animations"};
constexpr const char* kKde[] = {"org.kde.kdeglobals.KDE", "AnimationDurationFactor"};  // "0": none

bool is(const char* const (&wanted)[2], const QString& space, const QString& key) {
  return space == QLatin1String(wanted[0]) && key == QLatin1String(wanted[1]);
}

}  // namespace

SystemTheme::SystemTheme(const QPalette& startPalette, QObject* parent) : QObject(parent), isDark_(isSystemDark(startPalette)) {
  // Without a session bus the library would look for one and warn.
  if (qEnvironmentVariableIsEmpty("DBUS_SESSION_BUS_ADDRESS")) return;
  QDBusConnection bus = QDBusConnection::sessionBus();
  if (!bus.isConnected()) return;
  bus.connect(kService, kPath, kInterface, QStringLiteral("SettingChanged"), this, SLOT(settingChanged(QString, QString, QDBusVariant)));
  for (const char* const* wanted : {kScheme, kReduced, kGnome, kKde}) ask(wanted[0], wanted[1]);
}

void SystemTheme::ask(const char* space, const char* key) {
  QDBusMessage question = QDBusMessage::createMethodCall(kService, kPath, kInterface, QStringLiteral("Read"));
  question << QString::fromLatin1(space) << QString::fromLatin1(key);
  auto* watcher = new QDBusPendingCallWatcher(QDBusConnection::sessionBus().asyncCall(question), this);
  connect(watcher, &QDBusPendingCallWatcher::finished, this, [this, watcher, space, key] {
    const QDBusPendingReply<QDBusVariant> reply = *watcher;
    // The old method wraps the value twice.
    if (reply.isValid())
      take(QString::fromLatin1(space), QString::fromLatin1(key), qvariant_cast<QDBusVariant>(reply.value().variant()).variant());
    watcher->deleteLater();
  });
}

void SystemTheme::settingChanged(const QString& space, const QString& key, const QDBusVariant& value) { take(space, key, value.variant()); }

void SystemTheme::take(const QString& space, const QString& key, const QVariant& value) {
  const bool wasDark = isDark_, wasReduced = isMotionReduced_;
  if (is(kScheme, space, key) && value.toUInt() != 0) isDark_ = value.toUInt() == 1;
  if (is(kReduced, space, key)) isMotionReduced_ = value.toUInt() == 1;
  if (is(kGnome, space, key)) isMotionReduced_ = !value.toBool();
  if (is(kKde, space, key)) isMotionReduced_ = value.toString().toDouble() == 0;
  if (isDark_ != wasDark || isMotionReduced_ != wasReduced) Q_EMIT changed();
}

}  // namespace headscope::app
