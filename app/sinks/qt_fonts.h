#pragma once
// The program's typefaces through Qt: one place for the families, and text measures that do not depend on any screen.
#include <QFont>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "views/figure/figure.h"

class QGuiApplication;

namespace headscope::app {

/// Families in order of preference, the same that an SVG names: the first that is installed and has the character is used.
const std::vector<std::string>& fontFamilies(views::FontFace face);

/// For painters on a device of 72 dots an inch, where one point of the figure is one dot. Not hinted, no ligatures in mono.
QFont qtFont(const views::Font& font);

/// Widths at 72 dots an inch without hinting, so that the window, exports and tests lay out the same. Thread-safe; results are kept.
/// Needs a QGuiApplication.
class QtTextMeasure : public views::TextMeasure {
 public:
  double width(const std::string& text, const views::Font& font) const override;
  double ascent(const views::Font& font) const override;
  double descent(const views::Font& font) const override;
  bool canShow(uint32_t codePoint, views::FontFace face) const override;

 private:
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, double> widths_;  // at size 1
};

/// A QGuiApplication on the offscreen platform for commands without a window; nothing when one exists already.
class OffscreenApplication {
 public:
  OffscreenApplication();
  ~OffscreenApplication();

 private:
  std::unique_ptr<QGuiApplication> application_;
};

}  // namespace headscope::app
