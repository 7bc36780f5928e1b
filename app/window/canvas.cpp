#include "app/window/canvas.h"

#include <backends/imgui_impl_opengl3.h>
#include <imgui.h>
#include <time.h>

#include <QFocusEvent>
#include <QGuiApplication>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QNativeGestureEvent>
#include <QOpenGLContext>
#include <QOpenGLFunctions>
#include <algorithm>
#include <cmath>

#include "app/window/gl_textures.h"
#include "core/base/error.h"

namespace headscope::app {
namespace {

/// Of this thread.
double processorMilliseconds() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
}

constexpr double kZoomOfNotch = 1.2;  // what views make of one notch of the wheel
constexpr int kSettlingFrames = 2;    // after an input: hover and popups depend on the frame before

int keyCode(int key) {
  switch (key) {
    case Qt::Key_Tab:
      return kKeyTab;
    case Qt::Key_Left:
      return kKeyLeft;
    case Qt::Key_Right:
      return kKeyRight;
    case Qt::Key_Up:
      return kKeyUp;
    case Qt::Key_Down:
      return kKeyDown;
    case Qt::Key_Home:
      return kKeyHome;
    case Qt::Key_End:
      return kKeyEnd;
    case Qt::Key_Delete:
      return kKeyDelete;
    case Qt::Key_Backspace:
      return kKeyBackspace;
    case Qt::Key_Space:
      return kKeySpace;
    case Qt::Key_Return:
    case Qt::Key_Enter:
      return kKeyEnter;
    case Qt::Key_Escape:
      return kKeyEscape;
    default:
      return -1;
  }
}

void mapKeys(ImGuiIO& io) {
  const std::pair<int, int> pairs[] = {{ImGuiKey_Tab, kKeyTab},     {ImGuiKey_LeftArrow, kKeyLeft}, {ImGuiKey_RightArrow, kKeyRight},
                                       {ImGuiKey_UpArrow, kKeyUp},  {ImGuiKey_DownArrow, kKeyDown}, {ImGuiKey_Home, kKeyHome},
                                       {ImGuiKey_End, kKeyEnd},     {ImGuiKey_Delete, kKeyDelete},  {ImGuiKey_Backspace, kKeyBackspace},
                                       {ImGuiKey_Space, kKeySpace}, {ImGuiKey_Enter, kKeyEnter},    {ImGuiKey_Escape, kKeyEscape}};
  for (const auto& [theirs, ours] : pairs) io.KeyMap[theirs] = ours;
}

Qt::CursorShape cursorShape() {
  switch (ImGui::GetMouseCursor()) {
    case ImGuiMouseCursor_TextInput:
      return Qt::IBeamCursor;
    case ImGuiMouseCursor_ResizeNS:
      return Qt::SplitVCursor;
    case ImGuiMouseCursor_ResizeEW:
      return Qt::SplitHCursor;
    case ImGuiMouseCursor_Hand:
      return Qt::PointingHandCursor;
    default:
      return Qt::ArrowCursor;
  }
}

}  // namespace

Canvas::Canvas(views::WorkspaceHost& host, views::FontFiles fonts, QWidget* parent)
    : QOpenGLWidget(parent), host_(host), fontFiles_(std::move(fonts)) {
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setMinimumSize(0, 0);
  setObjectName("canvas");
}

Canvas::~Canvas() {
  if (context()) disconnect(context(), nullptr, this, nullptr);  // the base class ends the context when this part is gone already
  if (!context_) return;
  makeCurrent();
  release();
  doneCurrent();
}

void Canvas::setSplits(const views::WorkspaceSplits& splits) {
  splits_ = splits;
  if (workspace_) workspace_->splits() = splits;
  update();
}

views::WorkspaceSplits Canvas::splits() const { return workspace_ ? workspace_->splits() : splits_; }

void Canvas::initializeGL() {
  const QSurfaceFormat format = context()->format();
  if (format.version() < qMakePair(3, 3)) {
    Q_EMIT unsupported(tr("this display offers OpenGL %1.%2, the pictures need 3.3").arg(format.majorVersion()).arg(format.minorVersion()));
    return;
  }
  connect(
      context(), &QOpenGLContext::aboutToBeDestroyed, this,
      [this] {
        makeCurrent();
        release();
        doneCurrent();
      },
      Qt::DirectConnection);
  try {
    fonts_ = std::make_unique<views::ImGuiFonts>(fontFiles_);
  } catch (const core::Error& e) {
    Q_EMIT unsupported(QString::fromUtf8(e.what()));
    return;
  }
  context_ = ImGui::CreateContext();
  ImGui::SetCurrentContext(context_);
  ImGuiIO& io = ImGui::GetIO();
  io.IniFilename = nullptr;
  io.LogFilename = nullptr;
  mapKeys(io);
  if (!ImGui_ImplOpenGL3_Init("#version 330 core")) {
    ImGui::DestroyContext(context_);
    context_ = nullptr;
    Q_EMIT unsupported(tr("the OpenGL renderer could not start"));
    return;
  }
  textures_ = std::make_unique<GlTextures>(*context()->functions());
  workspace_ = std::make_unique<views::Workspace>(*fonts_, *textures_);
  workspace_->splits() = splits_;
  clock_.start();
  isReady_ = true;
}

void Canvas::release() {
  if (!context_) return;
  isReady_ = false;
  splits_ = workspace_->splits();
  ImGui::SetCurrentContext(context_);
  workspace_.reset();
  textures_.reset();
  ImGui_ImplOpenGL3_Shutdown();
  ImGui::DestroyContext(context_);
  context_ = nullptr;
  fonts_.reset();
}

void Canvas::rebuildFonts() {
  ImGuiIO& io = ImGui::GetIO();
  ImGui_ImplOpenGL3_DestroyFontsTexture();
  fonts_->rebuild(*io.Fonts);
  io.FontDefault = fonts_->widgetFont(host_.theme().sans());
  ImGui_ImplOpenGL3_CreateFontsTexture();
}

void Canvas::paintGL() {
  QOpenGLFunctions* gl = context()->functions();
  const views::Color back = host_.theme().canvas;
  gl->glClearColor(back.r / 255.0f, back.g / 255.0f, back.b / 255.0f, 1);
  gl->glClear(GL_COLOR_BUFFER_BIT);
  if (!isReady_ || width() < 1 || height() < 1) return;
  QElapsedTimer timer;
  timer.start();
  const double processorBefore = processorMilliseconds();
  ImGui::SetCurrentContext(context_);
  ImGuiIO& io = ImGui::GetIO();
  const double ratio = devicePixelRatioF();
  fonts_->setPixelRatio(ratio);
  io.DisplaySize = {static_cast<float>(width()), static_cast<float>(height())};
  io.DisplayFramebufferScale = {static_cast<float>(ratio), static_cast<float>(ratio)};
  io.FontGlobalScale = static_cast<float>(1 / ratio);
  io.FontDefault = fonts_->widgetFont(host_.theme().sans());  // another one after a change of theme
  applyEvents(input_.takeFrame());
  drawFrame();
  // Glyphs met for the first time: draw the same frame again with them rather than show gaps.
  for (int again = 0; again < 2 && fonts_->needsRebuild(); ++again) {
    io.MouseWheel = io.MouseWheelH = 0;
    drawFrame();
  }
  const auto wall = [&timer] { return static_cast<double>(timer.nsecsElapsed()) / 1e6; };
  frameTimes_.own = wall();
  frameTimes_.ownProcessor = processorMilliseconds() - processorBefore;
  ImGui_ImplOpenGL3_RenderDrawData(ImGui::GetDrawData());
  textures_->endFrame();
  if (cursor().shape() != cursorShape()) setCursor(cursorShape());
  frameTimes_.withDriver = wall();
  if (!hasPainted_) {
    hasPainted_ = true;
    Q_EMIT firstFrame();
  }
  ++frameCount_;
  Q_EMIT framePainted();
  if (framesWanted_ > 0) --framesWanted_;
  if (!input_.isEmpty() || framesWanted_ > 0) update();
}

void Canvas::drawFrame() {
  ImGuiIO& io = ImGui::GetIO();
  if (fonts_->needsRebuild()) rebuildFonts();
  io.DeltaTime = static_cast<float>(std::clamp(static_cast<double>(clock_.nsecsElapsed()) / 1e9, 1e-4, 1.0));
  clock_.restart();
  ImGui_ImplOpenGL3_NewFrame();
  ImGui::NewFrame();
  workspace_->draw(host_, {static_cast<double>(width()), static_cast<double>(height())});
  ImGui::Render();
}

void Canvas::applyEvents(const std::vector<CanvasEvent>& events) {
  ImGuiIO& io = ImGui::GetIO();
  using Kind = CanvasEvent::Kind;
  for (const CanvasEvent& e : events) {
    switch (e.kind) {
      case Kind::Move:
        io.MousePos = {static_cast<float>(e.x), static_cast<float>(e.y)};
        break;
      case Kind::Leave:
        io.MousePos = {-FLT_MAX, -FLT_MAX};
        break;
      case Kind::Button:
        io.MouseDown[e.code] = e.isDown;
        break;
      case Kind::Wheel:
        io.MouseWheelH += static_cast<float>(e.x), io.MouseWheel += static_cast<float>(e.y);
        break;
      case Kind::Key:
        io.KeysDown[e.code] = e.isDown;
        break;
      case Kind::Text:
        io.AddInputCharactersUTF8(e.text.c_str());
        break;
      case Kind::FocusLost:
        std::fill(std::begin(io.KeysDown), std::end(io.KeysDown), false);
        std::fill(std::begin(io.MouseDown), std::end(io.MouseDown), false);
        io.AddFocusEvent(false);
        break;
    }
  }
  const Qt::KeyboardModifiers modifiers = QGuiApplication::keyboardModifiers();
  io.KeyCtrl = modifiers & Qt::ControlModifier, io.KeyShift = modifiers & Qt::ShiftModifier;
  io.KeyAlt = modifiers & Qt::AltModifier, io.KeySuper = modifiers & Qt::MetaModifier;
}

void Canvas::push(CanvasEvent event) {
  input_.push(std::move(event));
  framesWanted_ = kSettlingFrames;
  update();
}

void Canvas::pushButton(QMouseEvent* event, bool isDown) {
  const int code = event->button() == Qt::LeftButton     ? 0
                   : event->button() == Qt::RightButton  ? 1
                   : event->button() == Qt::MiddleButton ? 2
                                                         : -1;
  if (code < 0) return;
  push({CanvasEvent::Kind::Move, event->position().x(), event->position().y()});
  push({CanvasEvent::Kind::Button, 0, 0, code, isDown});
}

void Canvas::pushKey(QKeyEvent* event, bool isDown) {
  const int code = keyCode(event->key());
  // A key that is held is one press: the system tells it as many, each with a release before it.
  if (code >= 0 && !event->isAutoRepeat()) push({CanvasEvent::Kind::Key, 0, 0, code, isDown});
  if (isDown && !event->text().isEmpty() && event->text().at(0).isPrint())
    push({CanvasEvent::Kind::Text, 0, 0, 0, false, event->text().toStdString()});
}

void Canvas::pushZoom(QPointF at, double factor) {
  if (!(factor > 0) || !std::isfinite(factor)) return;
  push({CanvasEvent::Kind::Move, at.x(), at.y()});
  push({CanvasEvent::Kind::Wheel, 0, std::log(factor) / std::log(kZoomOfNotch)});
}

/// Two fingers on a touchpad, as the system tells them.
bool Canvas::pinch(QEvent* event) {
  if (event->type() != QEvent::NativeGesture) return false;
  const auto* native = static_cast<QNativeGestureEvent*>(event);
  if (native->gestureType() != Qt::ZoomNativeGesture) return false;
  pushZoom(native->position(), 1 + native->value());
  return true;
}

bool Canvas::event(QEvent* event) {
  if (pinch(event)) return true;
  // Text fields and open menus of the panes take the keys that are commands elsewhere.
  if (event->type() == QEvent::ShortcutOverride && isReady_) {
    ImGui::SetCurrentContext(context_);
    const bool isEscape = static_cast<QKeyEvent*>(event)->key() == Qt::Key_Escape;
    const bool hasPopup = ImGui::IsPopupOpen(nullptr, ImGuiPopupFlags_AnyPopup);
    if (ImGui::GetIO().WantTextInput || (isEscape && hasPopup)) {
      event->accept();
      return true;
    }
  }
  return QOpenGLWidget::event(event);
}

void Canvas::mouseMoveEvent(QMouseEvent* event) { push({CanvasEvent::Kind::Move, event->position().x(), event->position().y()}); }
void Canvas::mousePressEvent(QMouseEvent* event) { pushButton(event, true); }
void Canvas::mouseReleaseEvent(QMouseEvent* event) { pushButton(event, false); }
void Canvas::mouseDoubleClickEvent(QMouseEvent* event) { pushButton(event, true); }
void Canvas::leaveEvent(QEvent*) { push({CanvasEvent::Kind::Leave}); }

void Canvas::wheelEvent(QWheelEvent* event) {
  const QPointF at = event->position();
  push({CanvasEvent::Kind::Move, at.x(), at.y()});
  push({CanvasEvent::Kind::Wheel, -event->angleDelta().x() / 120.0, event->angleDelta().y() / 120.0});
  event->accept();
}

void Canvas::keyPressEvent(QKeyEvent* event) {
  pushKey(event, true);
  QOpenGLWidget::keyPressEvent(event);
}
void Canvas::keyReleaseEvent(QKeyEvent* event) {
  pushKey(event, false);
  QOpenGLWidget::keyReleaseEvent(event);
}
void Canvas::focusOutEvent(QFocusEvent* event) {
  push({CanvasEvent::Kind::FocusLost});
  QOpenGLWidget::focusOutEvent(event);
}

}  // namespace headscope::app
