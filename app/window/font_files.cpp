#include "app/window/font_files.h"

#include <QDirIterator>
#include <QHash>
#include <QStandardPaths>

namespace headscope::app {

views::FontFiles findFontFiles() {
  QHash<QString, QString> files;  // name -> path
  QStringList folders = QStandardPaths::standardLocations(QStandardPaths::FontsLocation);
  folders << QStringLiteral("/usr/share/fonts");
  folders.removeDuplicates();
  for (const QString& folder : std::as_const(folders)) {
    QDirIterator walk(folder, {"*.ttf", "*.otf", "*.ttc"}, QDir::Files, QDirIterator::Subdirectories);
    while (walk.hasNext()) {
      walk.next();
      if (!files.contains(walk.fileName())) files.insert(walk.fileName(), walk.filePath());
    }
  }
  const auto first = [&](std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (const auto found = files.find(QLatin1String(name)); found != files.end()) return found->toStdString();
    }
    return std::string();
  };
  views::FontFiles out;
  out.sans = first({"Inter-Regular.otf", "Inter-Regular.ttf", "DejaVuSans.ttf", "NotoSans-Regular.ttf"});
  out.sansSemiBold = first({"Inter-SemiBold.otf", "Inter-SemiBold.ttf", "DejaVuSans-Bold.ttf", "NotoSans-Bold.ttf"});
  out.mono = first({"JetBrainsMono-Regular.ttf", "DejaVuSansMono.ttf", "NotoSansMono-Regular.ttf"});
  out.monoSemiBold = first({"JetBrainsMono-SemiBold.ttf", "JetBrainsMono-Bold.ttf", "DejaVuSansMono-Bold.ttf"});
  for (const auto names : {std::initializer_list<const char*>{"DejaVuSans.ttf"},
                           {"DejaVuSansMono.ttf"},
                           {"DroidSansFallbackFull.ttf", "DroidSansFallback.ttf", "NotoSansCJK-Regular.ttc"}}) {
    if (const std::string path = first(names); !path.empty()) out.fallbacks.push_back(path);
  }
  return out;
}

}  // namespace headscope::app
