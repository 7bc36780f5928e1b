#include "views/panels/view_controls.h"

#include <map>

namespace headscope::views {
namespace {

const std::map<std::string, ViewControls, std::less<>>& rows() {
  // scale, hideFirst, zoom, limits, threshold, sortBy, extra
  static const std::map<std::string, ViewControls, std::less<>> all = {
      {"head_grid", {true, true, false, true, false, true, {}}},
      {"attention_map", {true, true, true, true, false, false, {}}},
      {"token_flow",
       {false,
        true,
        false,
        false,
        true,
        false,
        {{"form", "form", "Two columns with lines, or the text itself with keys tinted", {"columns", "inline"}}}}},
      {"neuron", {}},
  };
  return all;
}

}  // namespace

const ViewControls& controlsOf(std::string_view view) {
  static const ViewControls none;
  const auto found = rows().find(view);
  return found == rows().end() ? none : found->second;
}

std::string_view scaleWord(core::ColorScale scale) {
  switch (scale) {
    case core::ColorScale::Linear:
      return "linear";
    case core::ColorScale::SquareRoot:
      return "square root";
    case core::ColorScale::Log:
      return "logarithmic";
  }
  return "";
}

}  // namespace headscope::views
