#pragma once
// Session: what makes a picture again: model and adapter (path and hash), prompt, mechanism, views, selection, colour limits.
// JSON, carried by every exported figure and by .headscope files. Hostile until checked: parseSession names the bad field.
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/attention/trace.h"

namespace headscope::core {

/// What all views share. Undo and redo step through these.
struct Selection {
  int64_t layer = 0, head = 0;
  int64_t query = -1, key = -1;  // -1: none
  std::vector<HeadRef> brushed;  // heads picked together; empty: only (layer, head)
  HeadRef ref() const { return {layer, head}; }
  bool operator==(const Selection&) const = default;
};

enum class ColorScale { Linear, SquareRoot, Log };

/// How one view shows its data. Views read the fields that they know and leave the others.
struct ViewOptions {
  ColorScale scale = ColorScale::SquareRoot;
  bool hideFirst = true;                                  // first token's column left out of the limits
  std::optional<std::pair<double, double>> limits;        // locked colour limits
  double firstRow = 0, rows = 0, firstCol = 0, cols = 0;  // visible part of a map in tokens; rows = 0: all
  double threshold = 0.05;                                // smallest weight drawn by token flow and graphs
  std::string sortBy;                                     // score that orders heads; "": by index
  std::map<std::string, double> numbers;                  // view-specific ("offset", "rank", ...)
  std::map<std::string, std::string> words;               // view-specific ("matrix": "W_OV")
  bool operator==(const ViewOptions&) const = default;
};

struct PaneState {
  std::string view;  // registry name: "attention_map"
  ViewOptions options;
  bool operator==(const PaneState&) const = default;
};

/// How an exported figure is laid out.
struct FigureLayout {
  double width_mm = 86;  // 86: a column, 178: a page
  double font_pt = 7;
  bool hasLetters = false;  // panel letters a, b, c
  bool operator==(const FigureLayout&) const = default;
};

struct Session {
  int version = 1;
  std::string model;      // path or "tales"
  std::string modelHash;  // of config and headers; "" unknown
  std::string adapter, adapterHash;
  double strength = 1.0;
  std::string prompt, pair;      // pair: text of a second segment
  std::vector<int32_t> ids;      // instead of prompt, when given directly
  std::vector<int32_t> typeIds;  // of ids; empty: all 0
  std::string image, imageHash;  // picture file, and what its bytes were
  std::string mechanism;         // "" dense as trained
  std::string replacedHeads;     // "all", "3.1,4.*" or ""
  std::vector<PaneState> panes;
  Selection selection;
  std::string theme = "light";  // of an exported figure
  FigureLayout figure;
  bool operator==(const Session&) const = default;
};

/// One line of ASCII: it fits into XML, PNG and PDF without a second encoding. The same session gives the same text.
std::string toJson(const Session& session);
/// Throws Error naming `where` and the field. Unknown fields are ignored; limits: 32 MB of text, 32 levels, 16 panes.
Session parseSession(std::string_view json, const std::string& where);

}  // namespace headscope::core
