#pragma once
// CanvasInput: what the window's system said about mouse and keyboard, as plain structs, handed on frame by frame with at most
// one edge (press or release) per button and key: the interface library samples states, so a click that began and ended
// between two frames would vanish otherwise.
#include <deque>
#include <string>
#include <vector>

namespace headscope::app {

struct CanvasEvent {
  enum class Kind { Move, Leave, Button, Wheel, Key, Text, FocusLost };
  Kind kind = Kind::Move;
  double x = 0, y = 0;  // Move: points from the canvas's corner. Wheel: notches, right and up positive
  int code = 0;         // Button: 0 left, 1 right, 2 middle. Key: a CanvasKey
  bool isDown = false;  // Button, Key
  std::string text;     // Text: UTF-8
};

/// Keys that the panes' controls use; everything else is a command of the window.
enum CanvasKey {
  kKeyTab,
  kKeyLeft,
  kKeyRight,
  kKeyUp,
  kKeyDown,
  kKeyHome,
  kKeyEnd,
  kKeyDelete,
  kKeyBackspace,
  kKeySpace,
  kKeyEnter,
  kKeyEscape,
  kCanvasKeys
};

class CanvasInput {
 public:
  void push(CanvasEvent event) { events_.push_back(std::move(event)); }
  bool isEmpty() const { return events_.empty(); }

  /// Events of the next frame, in order; the rest stays for later frames.
  std::vector<CanvasEvent> takeFrame() {
    std::vector<CanvasEvent> frame;
    std::vector<int> edges;  // buttons as they are, keys from 100 on
    bool hadButton = false;
    while (!events_.empty()) {
      const CanvasEvent& next = events_.front();
      const bool isButton = next.kind == CanvasEvent::Kind::Button, isKey = next.kind == CanvasEvent::Kind::Key;
      if (isButton || isKey) {
        const int edge = next.code + (isKey ? 100 : 0);
        for (const int seen : edges) {
          if (seen == edge) return frame;
        }
        edges.push_back(edge);
        hadButton = hadButton || isButton;
      }
      // A move after a press belongs to the next frame, so that the press is seen where it happened.
      if (next.kind == CanvasEvent::Kind::Move && hadButton) return frame;
      frame.push_back(next);
      events_.pop_front();
    }
    return frame;
  }

 private:
  std::deque<CanvasEvent> events_;
};

}  // namespace headscope::app
