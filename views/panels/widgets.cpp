#include "views/panels/widgets.h"

#include <imgui.h>

#include <algorithm>
#include <cmath>

namespace headscope::views {
namespace {

ImU32 packed(Color c) { return IM_COL32(c.r, c.g, c.b, c.a); }
ImVec4 toVec(Color c) { return {c.r / 255.0f, c.g / 255.0f, c.b / 255.0f, c.a / 255.0f}; }

}  // namespace

void styleFromTheme(const Theme& theme) {
  ImGuiStyle& style = ImGui::GetStyle();
  const float radius = static_cast<float>(theme.radius);
  style.WindowPadding = style.FramePadding = {8, 4};
  style.ItemSpacing = {8, 4};
  style.PopupRounding = style.FrameRounding = style.GrabRounding = radius;
  style.PopupBorderSize = 1;
  style.ScrollbarSize = 10;
  style.Colors[ImGuiCol_Text] = toVec(theme.ink);
  style.Colors[ImGuiCol_TextDisabled] = toVec(theme.inkSecond);
  style.Colors[ImGuiCol_WindowBg] = toVec(theme.canvas);
  style.Colors[ImGuiCol_PopupBg] = toVec(theme.panel);
  style.Colors[ImGuiCol_Border] = toVec(theme.line);
  for (const ImGuiCol c : {ImGuiCol_FrameBg, ImGuiCol_Header, ImGuiCol_Button}) style.Colors[c] = toVec(theme.raised);
  for (const ImGuiCol c : {ImGuiCol_FrameBgHovered, ImGuiCol_FrameBgActive, ImGuiCol_HeaderHovered, ImGuiCol_HeaderActive,
                           ImGuiCol_ButtonHovered, ImGuiCol_ButtonActive})
    style.Colors[c] = toVec(theme.line);
  for (const ImGuiCol c : {ImGuiCol_SliderGrab, ImGuiCol_SliderGrabActive, ImGuiCol_CheckMark}) style.Colors[c] = toVec(theme.accent);
  style.Colors[ImGuiCol_Separator] = toVec(theme.line);
}

void fillRect(ImDrawList& list, Rect rect, Color color) {
  list.AddRectFilled({static_cast<float>(rect.x), static_cast<float>(rect.y)},
                     {static_cast<float>(rect.right()), static_cast<float>(rect.bottom())}, packed(color));
}

bool wordButton(const char* id, Rect rect, const std::string& word, const WordStyle& style, const Theme& theme, ImGuiFonts& fonts,
                const std::string& tip) {
  ImGui::SetCursorPos({static_cast<float>(rect.x), static_cast<float>(rect.y)});
  const bool isPressed =
      ImGui::InvisibleButton(id, {static_cast<float>(std::max(rect.width, 1.0)), static_cast<float>(std::max(rect.height, 1.0))});
  const bool isHovered = ImGui::IsItemHovered();
  const double baseline = rect.center().y + style.font.size_pt * 0.36;
  fonts.draw(*ImGui::GetWindowDrawList(), {rect.x, baseline}, word, style.font, isHovered ? style.hoverColor : style.color);
  if (isHovered) {
    ImGui::SetMouseCursor(ImGuiMouseCursor_Hand);
    if (!tip.empty() && !ImGui::IsMouseDown(ImGuiMouseButton_Left)) showTip(theme, fonts, tip);
  }
  return isPressed;
}

void showTip(const Theme& theme, ImGuiFonts& fonts, const std::string& text) {
  const Font font = theme.small();
  double width = 0;
  int lines = 1;
  for (size_t begin = 0;;) {
    const size_t end = text.find('\n', begin);
    width = std::max(width, fonts.width(text.substr(begin, end - begin), font));
    if (end == std::string::npos) break;
    begin = end + 1;
    ++lines;
  }
  const double lineHeight = std::ceil(font.size_pt * 1.4), pad = theme.gap;
  const ImGuiIO& io = ImGui::GetIO();
  const Size size{width + 2 * pad, lines * lineHeight + pad};
  // Right below the pointer, kept inside the canvas, above the pointer where there is no room below.
  const double x = std::clamp(io.MousePos.x + 12.0, 2.0, std::max(2.0, io.DisplaySize.x - size.width - 2));
  double y = io.MousePos.y + 18.0;
  if (y + size.height > io.DisplaySize.y - 2) y = std::max(2.0, io.MousePos.y - size.height - 8.0);
  ImDrawList& list = *ImGui::GetForegroundDrawList();
  const ImVec2 min{static_cast<float>(std::round(x)), static_cast<float>(std::round(y))};
  const ImVec2 max{min.x + static_cast<float>(std::ceil(size.width)), min.y + static_cast<float>(std::ceil(size.height))};
  list.AddRectFilled(min, max, packed(theme.raised), static_cast<float>(theme.radius));
  list.AddRect(min, max, packed(theme.line), static_cast<float>(theme.radius));
  double top = min.y + pad / 2;
  for (size_t begin = 0;;) {
    const size_t end = text.find('\n', begin);
    fonts.draw(list, {min.x + pad, top + lineHeight / 2 + font.size_pt * 0.36}, text.substr(begin, end - begin), font, theme.ink);
    top += lineHeight;
    if (end == std::string::npos) break;
    begin = end + 1;
  }
}

}  // namespace headscope::views
