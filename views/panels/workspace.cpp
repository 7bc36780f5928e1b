#include "views/panels/workspace.h"

#include <imgui.h>

#include <algorithm>
#include <cmath>

#include "views/figure/build.h"
#include "views/panels/pane_header.h"
#include "views/panels/widgets.h"

namespace headscope::views {
namespace {

constexpr double kSmallestPane = 60;     // points; splits stop there
constexpr Size kRoomForPanes{440, 300};  // with less only the one in focus is shown

/// What a click on a pick selects when the view itself has no say.
bool applyPick(const Pick& pick, core::Selection& selection) {
  switch (pick.kind) {
    case Pick::Kind::Head:
      selection.layer = pick.a, selection.head = pick.b, selection.brushed.clear();
      return true;
    case Pick::Kind::Cell:
    case Pick::Kind::Edge:
      selection.query = pick.a, selection.key = pick.b;
      return true;
    case Pick::Kind::Token:
    case Pick::Kind::QueryToken:
      selection.query = pick.a;
      return true;
    case Pick::Kind::KeyToken:
      selection.key = pick.a;
      return true;
    case Pick::Kind::None:
    case Pick::Kind::Value:
    case Pick::Kind::Control:
      return false;
  }
  return false;
}

/// Lines of at most `width` points, broken between words.
std::vector<std::string> wrapped(const std::string& text, double width, const Font& font, const TextMeasure& measure) {
  std::vector<std::string> lines{""};
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin), longer = lines.back().empty() ? word : lines.back() + ' ' + word;
    if (!lines.back().empty() && measure.width(longer, font) > width) {
      lines.push_back(word);
    } else {
      lines.back() = longer;
    }
    begin = end + 1;
  }
  return lines;
}

core::Selection hoverOf(const Pick& pick) {
  core::Selection hover = Workspace::nothing();
  applyPick(pick, hover);
  return hover;
}

}  // namespace

core::Selection Workspace::nothing() {
  core::Selection none;
  none.layer = none.head = -1;
  return none;
}

void Workspace::draw(WorkspaceHost& host, Size size) {
  const Theme& theme = host.theme();
  styleFromTheme(theme);
  ImGui::SetNextWindowPos({0, 0});
  ImGui::SetNextWindowSize({static_cast<float>(size.width), static_cast<float>(size.height)});
  ImGui::PushStyleVar(ImGuiStyleVar_WindowPadding, {0, 0});
  ImGui::PushStyleVar(ImGuiStyleVar_WindowBorderSize, 0);
  ImGui::PushStyleVar(ImGuiStyleVar_WindowRounding, 0);
  ImGui::Begin("workspace", nullptr,
               ImGuiWindowFlags_NoDecoration | ImGuiWindowFlags_NoMove | ImGuiWindowFlags_NoSavedSettings |
                   ImGuiWindowFlags_NoBringToFrontOnFocus | ImGuiWindowFlags_NoScrollWithMouse | ImGuiWindowFlags_NoNav);
  ImGui::PopStyleVar(3);
  figureRects_.fill({});
  pointedPane_ = hoveredPane_;
  hoveredPane_ = -1;
  const double w = size.width, h = size.height;
  const bool hasRoom = w >= kRoomForPanes.width && h >= kRoomForPanes.height;
  const int count = host.paneCount();
  if (count > 1 && !hasRoom && host.maximised() < 0) {
    drawPane(host, std::min(host.focused(), count - 1), {0, 0, w, h});  // several would show nothing but their headers
  } else if (host.maximised() >= 0 && host.maximised() < count) {
    drawPane(host, host.maximised(), {0, 0, w, h});
  } else if (count == 1) {
    drawPane(host, 0, {0, 0, w, h});
  } else {
    const double x = std::round(w * splits_.column);
    if (count == 2) {
      drawPane(host, 0, {0, 0, x, h});
      drawPane(host, 1, {x, 0, w - x, h});
    } else {
      const double left = std::round(h * splits_.leftRow), right = std::round(h * splits_.rightRow);
      drawPane(host, 0, {0, 0, x, left});
      drawPane(host, 1, {x, 0, w - x, right});
      drawPane(host, 2, {0, left, x, h - left});
      drawPane(host, 3, {x, right, w - x, h - right});
      splitter("left row", {0, left, x, 0}, false, splits_.leftRow, h);
      splitter("right row", {x, right, w - x, 0}, false, splits_.rightRow, h);
    }
    splitter("column", {x, 0, 0, h}, true, splits_.column, w);
    ImDrawList& list = *ImGui::GetWindowDrawList();
    fillRect(list, {x - 0.5, 0, 1 / fonts_.pixelRatio(), h}, theme.line);
  }
  if (hoveredPane_ < 0 && !isDragging_ && ImGui::IsMousePosValid()) host.setHover(nothing());
  ImGui::End();
}

void Workspace::splitter(const char* id, Rect rect, bool isVertical, double& fraction, double extent) {
  const double reach = 3;
  const Rect grip = isVertical ? Rect{rect.x - reach, rect.y, 2 * reach, rect.height} : Rect{rect.x, rect.y - reach, rect.width, 2 * reach};
  if (grip.width < 1 || grip.height < 1) return;
  ImGui::SetCursorPos({static_cast<float>(grip.x), static_cast<float>(grip.y)});
  ImGui::InvisibleButton(id, {static_cast<float>(grip.width), static_cast<float>(grip.height)});
  if (ImGui::IsItemHovered() || ImGui::IsItemActive())
    ImGui::SetMouseCursor(isVertical ? ImGuiMouseCursor_ResizeEW : ImGuiMouseCursor_ResizeNS);
  if (!ImGui::IsItemActive() || extent < 4 * kSmallestPane) return;
  const double mouse = isVertical ? ImGui::GetIO().MousePos.x : ImGui::GetIO().MousePos.y;
  fraction = std::clamp(mouse, kSmallestPane, extent - kSmallestPane) / extent;
}

void Workspace::drawPane(WorkspaceHost& host, int index, Rect rect) {
  if (rect.width < 8 || rect.height < 8) return;
  const double header = host.theme().paneHeader();
  ImGui::PushID(index);
  const Rect body{rect.x, rect.y + header, rect.width, std::max(0.0, rect.height - header)};
  drawBody(host, index, body);
  ImGui::PopID();
}

void Workspace::drawBody(WorkspaceHost& host, int index, Rect rect) {
  const Theme& theme = host.theme();
  ImDrawList& list = *ImGui::GetWindowDrawList();
  const WorkspaceHost::Pane pane = host.pane(index, {std::max(rect.width, 1.0), std::max(rect.height, 1.0)});
  const double header = theme.paneHeader();
  drawPaneHeader(host, fonts_, index, pane, {rect.x, rect.y - header, rect.width, header});
  if (rect.height < 8 || !pane.view) return;
  const Rect foot{rect.x, rect.bottom() - theme.rowHeight - theme.gap, rect.width, theme.rowHeight + theme.gap};
  const bool hasNote = pane.message.empty() && !pane.note.empty() && rect.height > 3 * foot.height;
  if (hasNote) rect.height -= foot.height;
  Figure& figure = figures_[static_cast<size_t>(index)];
  if (!pane.message.empty()) {
    figure = messageFigure(host, pane.message, {rect.width, rect.height});
  } else {
    ViewFrame frame{theme, host.measure(), {rect.width, rect.height}};
    frame.hover = host.hover();
    frame.under = under_[static_cast<size_t>(index)];
    frame.progress = pane.progress;
    const ImVec2 mouse = ImGui::GetIO().MousePos;
    const Point pointer{mouse.x - rect.x, mouse.y - rect.y};
    if (pointedPane_ == index) {
      frame.pointer = pointer;
      if (isDragging_) frame.dragFrom = dragStart_;
    }
    figure = pane.view->draw(pane.input, pane.data.get(), frame);
  }
  figure.size = {rect.width, rect.height};
  sink_.draw(figure, list, {rect.x, rect.y});
  figureRects_[static_cast<size_t>(index)] = rect;
  if (pane.progress >= 0) fillRect(list, {rect.x, rect.y, rect.width * std::clamp(pane.progress, 0.02, 1.0), 2}, theme.accent);
  handleMouse(host, index, rect, pane);
  if (hasNote) drawNote(host, index, foot, pane);
  if (!pane.message.empty() && !pane.action.empty()) drawAction(host, index, rect, pane.action);
}

Figure Workspace::messageFigure(const WorkspaceHost& host, const std::string& message, Size size) const {
  const Theme& theme = host.theme();
  const Font font = theme.sans();
  Figure figure;
  figure.size = size;
  figure.background = theme.canvas;
  const auto lines = wrapped(message, std::clamp(size.width - 4 * theme.gap, 1.0, 36 * theme.textSize), font, host.measure());
  // The block ends at the middle; the action, if any, begins there.
  double y = size.height / 2 - theme.rowHeight * static_cast<double>(lines.size());
  for (const std::string& line : lines) {
    figure.add(TextItem{{size.width / 2, y}, line, font, theme.inkSecond, AnchorX::Center, AnchorY::Top, 0, size.width - 2 * theme.gap});
    y += theme.rowHeight;
  }
  return figure;
}

void Workspace::drawAction(WorkspaceHost& host, int index, Rect rect, const std::string& action) {
  const Theme& theme = host.theme();
  const Font font{FontFace::Sans, theme.textSize, FontWeight::SemiBold};
  const double width = fonts_.width(action, font);
  const Rect area{rect.center().x - width / 2, rect.center().y + theme.gap / 2, width, theme.rowHeight};
  if (area.bottom() > rect.bottom() || width > rect.width) return;
  if (wordButton("action", area, action, {font, theme.accent, theme.ink}, theme, fonts_, "Do this now")) host.resume(index);
}

void Workspace::drawNote(WorkspaceHost& host, int index, Rect rect, const WorkspaceHost::Pane& pane) {
  const Theme& theme = host.theme();
  const Font font = theme.sans(), strong{FontFace::Sans, theme.textSize, FontWeight::SemiBold};
  const double action = pane.action.empty() ? 0 : fonts_.width(pane.action, strong) + 2 * theme.gap;
  Figure figure;
  figure.size = {rect.width, rect.height};
  figure.background = theme.canvas;
  figure.add(segment({0, 0.5}, {rect.width, 0.5}, theme.line));
  const double room = std::max(1.0, rect.width - 4 * theme.gap - action), width = std::min(room, fonts_.width(pane.note, font));
  figure.add(TextItem{{2 * theme.gap, rect.height / 2}, pane.note, font, theme.inkSecond, AnchorX::Left, AnchorY::Middle, 0, room});
  sink_.draw(figure, *ImGui::GetWindowDrawList(), {rect.x, rect.y});
  if (pane.action.empty()) return;
  const Rect area{rect.x + 4 * theme.gap + width, rect.y + theme.gap / 2, action - 2 * theme.gap, theme.rowHeight};
  if (wordButton("action", area, pane.action, {strong, theme.accent, theme.ink}, theme, fonts_, "Compute the rest")) host.resume(index);
}

void Workspace::handleMouse(WorkspaceHost& host, int index, Rect rect, const WorkspaceHost::Pane& pane) {
  ImGui::SetCursorPos({static_cast<float>(rect.x), static_cast<float>(rect.y)});
  ImGui::SetItemAllowOverlap();
  ImGui::InvisibleButton("figure", {static_cast<float>(rect.width), static_cast<float>(rect.height)},
                         ImGuiButtonFlags_MouseButtonLeft | ImGuiButtonFlags_MouseButtonMiddle);
  ImGui::SetItemAllowOverlap();
  const bool isActive = ImGui::IsItemActive(), isHovered = ImGui::IsItemHovered();
  under_[static_cast<size_t>(index)] = Pick{};
  if (!isActive && !isHovered) {
    if (ImGui::IsItemDeactivated()) isDragging_ = false;
    return;
  }
  hoveredPane_ = index;
  const ImGuiIO& io = ImGui::GetIO();
  const Point at{io.MousePos.x - rect.x, io.MousePos.y - rect.y};
  const Pick pick = figures_[static_cast<size_t>(index)].pick(at);
  if (!isDragging_) host.setHover(hoverOf(pick));
  under_[static_cast<size_t>(index)] = pick;
  if (!pick.tip.empty() && !isDragging_) showTip(host.theme(), fonts_, pick.tip);

  core::ViewOptions options = pane.input.options;
  core::Selection selection = pane.input.selection;
  const Size size{rect.width, rect.height};
  const auto tell = [&](const View::Gesture& gesture) {
    const bool isUsed = pane.view->handle(gesture, pane.input, size, options, selection);
    if (!isUsed && gesture.kind == View::Gesture::Kind::Click) applyPick(gesture.pick, selection);
  };
  using Kind = View::Gesture::Kind;
  const bool isPan = ImGui::IsMouseDown(ImGuiMouseButton_Middle) || ImGui::IsKeyDown(ImGui::GetKeyIndex(ImGuiKey_Space));
  if (isHovered && (io.MouseWheel != 0 || io.MouseWheelH != 0)) tell({Kind::Wheel, at, {io.MouseWheelH, io.MouseWheel}, pick, {}, isPan});
  for (const ImGuiMouseButton button : {ImGuiMouseButton_Left, ImGuiMouseButton_Middle}) {
    if (isHovered && ImGui::IsMouseClicked(button)) {
      host.focusPane(index);
      dragStart_ = at;
      dragPick_ = pick;
    }
    if (isActive && ImGui::IsMouseDragging(button, 4)) {
      isDragging_ = true;
      if (io.MouseDelta.x != 0 || io.MouseDelta.y != 0) {
        View::Gesture drag{Kind::Drag, at, {io.MouseDelta.x, io.MouseDelta.y}, dragPick_, dragStart_, isPan};
        const Rect band{std::min(at.x, dragStart_.x), std::min(at.y, dragStart_.y), std::abs(at.x - dragStart_.x),
                        std::abs(at.y - dragStart_.y)};
        for (const auto& [layer, head] : figures_[static_cast<size_t>(index)].headsIn(band)) drag.heads.push_back({layer, head});
        tell(drag);
      }
    }
  }
  if (isHovered && ImGui::IsMouseDoubleClicked(ImGuiMouseButton_Left)) {
    tell({Kind::DoubleClick, at, {}, pick, at, false});
  } else if (ImGui::IsItemDeactivated() && !isDragging_ && isHovered && ImGui::IsMouseReleased(ImGuiMouseButton_Left)) {
    tell({Kind::Click, at, {}, pick, at, false});
  }
  if (!ImGui::IsAnyMouseDown()) isDragging_ = false;
  if (options != pane.input.options) host.changeOptions(index, options);
  if (selection != pane.input.selection) host.select(selection);
}

}  // namespace headscope::views
