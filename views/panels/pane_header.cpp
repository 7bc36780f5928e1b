#include "views/panels/pane_header.h"

#include <imgui.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "views/mechanism_words.h"
#include "views/panels/view_controls.h"
#include "views/panels/widgets.h"

namespace headscope::views {
namespace {

struct Word {
  const char* id;
  std::string text, tip;
  bool isOn = false;
  int rank = 0;                            // the least important ones give way first when room is short
  std::function<void(Rect)> press, after;  // after: whatever hangs below the word, called each frame
};

constexpr double kWordGap = 16;

/// Lays words from the right edge leftwards, as many as there is room for.
void drawWords(std::vector<Word> words, Rect header, double leftLimit, const Theme& theme, ImGuiFonts& fonts) {
  const Font font = theme.small();
  const auto total = [&] {
    double sum = 0;
    for (const Word& word : words) sum += fonts.width(word.text, font) + kWordGap;
    return sum;
  };
  while (!words.empty() && leftLimit + total() > header.right() - kWordGap) {
    words.erase(std::max_element(words.begin(), words.end(), [](const Word& a, const Word& b) { return a.rank < b.rank; }));
  }
  double right = header.right() - kWordGap;
  for (auto word = words.rbegin(); word != words.rend(); ++word) {
    const double width = fonts.width(word->text, font);
    const Rect rect{right - width, header.y, width, header.height};
    right -= width + kWordGap;
    if (wordButton(word->id, rect, word->text, {font, word->isOn ? theme.accent : theme.inkSecond, theme.ink}, theme, fonts, word->tip))
      word->press(rect);
    if (word->after) word->after(rect);
  }
}

/// The popup that begins next appears under `anchor`.
void popupBelow(const char* id, Rect anchor) {
  if (ImGui::IsPopupOpen(id))
    ImGui::SetNextWindowPos({static_cast<float>(anchor.x - 8), static_cast<float>(anchor.bottom())}, ImGuiCond_Appearing);
}

void tipForLast(const Theme& theme, ImGuiFonts& fonts, const char* tip, ImGuiHoveredFlags flags = ImGuiHoveredFlags_None) {
  if (ImGui::IsItemHovered(flags)) showTip(theme, fonts, tip);
}

void viewMenu(WorkspaceHost& host, ImGuiFonts& fonts, int index, const WorkspaceHost::Pane& pane) {
  if (!ImGui::BeginPopup("views")) return;
  int number = 1;
  for (const View* view : allViews()) {
    const std::string key = number <= 9 ? std::to_string(number) : "";
    const std::string why = pane.input.model ? view->whyNot(pane.input.model->spec()) : std::string();
    ImGui::PushID(number++);
    if (ImGui::MenuItem(std::string(view->title()).c_str(), key.c_str(), view == pane.view, why.empty())) host.chooseView(index, *view);
    tipForLast(host.theme(), fonts, why.empty() ? "Show this view in the pane" : why.c_str(), ImGuiHoveredFlags_AllowWhenDisabled);
    ImGui::PopID();
  }
  ImGui::EndPopup();
}

void scaleMenu(WorkspaceHost& host, ImGuiFonts& fonts, int index, core::ViewOptions options) {
  if (!ImGui::BeginPopup("scale")) return;
  for (const core::ColorScale scale : {core::ColorScale::Linear, core::ColorScale::SquareRoot, core::ColorScale::Log}) {
    if (ImGui::MenuItem(std::string(scaleWord(scale)).c_str(), nullptr, options.scale == scale)) {
      options.scale = scale;
      host.changeOptions(index, options);
    }
    tipForLast(host.theme(), fonts, "How weights from 0 to 1 become colours");
  }
  ImGui::EndPopup();
}

void limitsControl(const Theme& theme, ImGuiFonts& fonts, core::ViewOptions& options) {
  bool isLocked = options.limits.has_value();
  if (ImGui::Checkbox("Lock colour limits", &isLocked)) {
    if (isLocked) {
      options.limits = std::pair{0.0, 1.0};
    } else {
      options.limits.reset();
    }
  }
  tipForLast(theme, fonts, "Keep the same limits for every head and prompt");
  if (!options.limits) return;
  float range[2] = {static_cast<float>(options.limits->first), static_cast<float>(options.limits->second)};
  ImGui::SetNextItemWidth(140);
  if (ImGui::DragFloat2("limits", range, 0.005f, 0, 1, "%.3f", ImGuiSliderFlags_AlwaysClamp) && range[0] < range[1])
    options.limits = std::pair<double, double>{range[0], range[1]};
  tipForLast(theme, fonts, "Drag, or double-click to type");
}

void sortControl(const Theme& theme, ImGuiFonts& fonts, const WorkspaceHost::Pane& pane, core::ViewOptions& options) {
  ImGui::SetNextItemWidth(140);
  if (ImGui::BeginCombo("order of heads", options.sortBy.empty() ? "by index" : options.sortBy.c_str())) {
    if (ImGui::Selectable("by index", options.sortBy.empty())) options.sortBy.clear();
    if (pane.input.scores) {
      for (const std::string& name : pane.input.scores->names()) {
        if (ImGui::Selectable(name.c_str(), options.sortBy == name)) options.sortBy = name;
      }
    }
    ImGui::EndCombo();
  }
  tipForLast(theme, fonts, "Heads of each layer, ordered by a score");
}

void extraControl(const Theme& theme, ImGuiFonts& fonts, const ExtraControl& extra, core::ViewOptions& options) {
  ImGui::SetNextItemWidth(140);
  if (!extra.choices.empty()) {
    const auto found = options.words.find(extra.key);
    const bool isSet = found != options.words.end() && !found->second.empty();
    const std::string current = isSet ? found->second : extra.unset;
    if (ImGui::BeginCombo(extra.label.c_str(), current.c_str())) {
      if (ImGui::Selectable(extra.unset.c_str(), !isSet)) options.words.erase(extra.key);
      for (const std::string& choice : extra.choices) {
        if (ImGui::Selectable(choice.c_str(), choice == current)) options.words[extra.key] = choice;
      }
      ImGui::EndCombo();
    }
  } else {
    const auto found = options.numbers.find(extra.key);
    double now = found == options.numbers.end() ? extra.standard : found->second;
    if (const auto word = options.words.find("mechanism");
        extra.isParameter && found == options.numbers.end() && word != options.words.end()) {
      if (const std::string said = parameterIn(word->second, extra.key); !said.empty()) now = std::strtod(said.c_str(), nullptr);
    }
    auto value = static_cast<float>(now);
    if (ImGui::SliderFloat(extra.label.c_str(), &value, static_cast<float>(extra.minimum), static_cast<float>(extra.maximum),
                           extra.isWhole ? "%.0f" : "%.3f", extra.isLog ? ImGuiSliderFlags_Logarithmic : ImGuiSliderFlags_None))
      options.numbers[extra.key] = extra.isWhole ? std::round(value) : value;
  }
  tipForLast(theme, fonts, extra.tip.c_str());
}

void moreMenu(WorkspaceHost& host, ImGuiFonts& fonts, int index, const WorkspaceHost::Pane& pane, const ViewControls& controls) {
  if (!ImGui::BeginPopup("more")) return;
  const Theme& theme = host.theme();
  core::ViewOptions options = pane.input.options;
  if (controls.limits) limitsControl(theme, fonts, options);
  if (controls.threshold) {
    auto threshold = static_cast<float>(options.threshold);
    ImGui::SetNextItemWidth(140);
    if (ImGui::SliderFloat("smallest weight", &threshold, 0, 1, "%.3f", ImGuiSliderFlags_Logarithmic)) options.threshold = threshold;
    tipForLast(theme, fonts, "Weights under it are not drawn");
  }
  if (controls.sortBy) sortControl(theme, fonts, pane, options);
  for (const ExtraControl& extra : controls.extra) {
    if (const auto offered = offeredControl(extra, pane.input)) extraControl(theme, fonts, *offered, options);
  }
  if (options != pane.input.options) host.changeOptions(index, options);
  ImGui::EndPopup();
}

double drawTitle(WorkspaceHost& host, ImGuiFonts& fonts, int index, const WorkspaceHost::Pane& pane, Rect rect) {
  const Theme& theme = host.theme();
  const Font bold{FontFace::Sans, theme.textSize, FontWeight::SemiBold};
  const std::string title = pane.view ? std::string(pane.view->title()) : "Choose a view";
  const double left = rect.x + 16, width = fonts.width(title, bold);
  const Rect area{left, rect.y, width, rect.height};
  if (wordButton("view", area, title, {bold, theme.ink, theme.accent}, theme, fonts, "Choose what this pane shows (1 to 9)")) {
    host.focusPane(index);
    ImGui::OpenPopup("views");
  }
  popupBelow("views", area);
  viewMenu(host, fonts, index, pane);
  if (host.paneCount() > 1 && host.focused() == index && host.maximised() < 0)
    fillRect(*ImGui::GetWindowDrawList(), {left, rect.bottom() - 2, width, 2}, theme.accent);
  double end = left + width;
  if (pane.view) {
    const std::string subject = pane.view->subject(pane.input);
    const Font font = theme.sans();
    if (!subject.empty() && end + 12 + fonts.width(subject, font) < rect.right() - 16) {
      const double baseline = rect.center().y + font.size_pt * 0.36;
      end += 12 + fonts.draw(*ImGui::GetWindowDrawList(), {end + 12, baseline}, subject, font, theme.inkSecond);
    }
  }
  return end;
}

std::vector<Word> wordsOf(WorkspaceHost& host, ImGuiFonts& fonts, int index, const WorkspaceHost::Pane& pane) {
  const ViewControls& controls = controlsOf(pane.view->name());
  const core::ViewOptions& options = pane.input.options;
  std::vector<Word> words;
  if (controls.scale) {
    words.push_back({"scale word", std::string(scaleWord(options.scale)), "Colour scale", false, 3, [](Rect) { ImGui::OpenPopup("scale"); },
                     [&host, &fonts, index, &options](Rect rect) {
                       popupBelow("scale", rect);
                       scaleMenu(host, fonts, index, options);
                     }});
  }
  if (controls.hideFirst) {
    words.push_back({"hide first", "hide first", "Leave the first token's column out of the colour limits", options.hideFirst, 2,
                     [&host, index, &options](Rect) {
                       core::ViewOptions toggled = options;
                       toggled.hideFirst = !toggled.hideFirst;
                       host.changeOptions(index, toggled);
                     }});
  }
  if (controls.zoom) {
    words.push_back({"fit", "fit", "Show all of it again (double-click)", false, 4, [&host, index, &options](Rect) {
                       core::ViewOptions all = options;
                       all.firstRow = all.rows = all.firstCol = all.cols = 0;
                       host.changeOptions(index, all);
                     }});
  }
  if (controls.hasPopover()) {
    words.push_back({"more", "more", "Further options of this view", false, 1, [](Rect) { ImGui::OpenPopup("more"); },
                     [&host, &fonts, index, &pane, &controls](Rect rect) {
                       popupBelow("more", rect);
                       moreMenu(host, fonts, index, pane, controls);
                     }});
  }
  if (host.paneCount() > 1) {
    words.push_back({"maximise", host.maximised() == index ? "restore" : "maximise", "Let this pane fill the centre, or put it back (F)",
                     false, 5, [&host, index](Rect) { host.toggleMaximised(index); }});
  }
  words.push_back(
      {"export", "export", "Save this picture as SVG, PDF, PNG or CSV (E)", false, 0, [&host, index](Rect) { host.exportPane(index); }});
  return words;
}

}  // namespace

void drawPaneHeader(WorkspaceHost& host, ImGuiFonts& fonts, int index, const WorkspaceHost::Pane& pane, Rect rect) {
  const Theme& theme = host.theme();
  ImDrawList& list = *ImGui::GetWindowDrawList();
  const double hairline = 1 / fonts.pixelRatio();
  fillRect(list, rect, theme.canvas);
  ImGui::PushClipRect({static_cast<float>(rect.x), static_cast<float>(rect.y)},
                      {static_cast<float>(rect.right()), static_cast<float>(rect.bottom())}, true);
  const double titleEnd = drawTitle(host, fonts, index, pane, rect);
  if (pane.view) drawWords(wordsOf(host, fonts, index, pane), rect, titleEnd, theme, fonts);
  ImGui::PopClipRect();
  fillRect(list, {rect.x, rect.bottom() - hairline, rect.width, hairline}, theme.line);
  fillRect(list, {rect.x, rect.y, rect.width, hairline}, theme.line);
}

}  // namespace headscope::views
