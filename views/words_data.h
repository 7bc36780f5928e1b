#pragma once
// What the view of singular vectors in words shows: top directions of one head's circuit with their vocabulary items, and the prompt's
// tokens along them.
#include <algorithm>
#include <string>
#include <vector>

#include "core/weights/prompt_words.h"
#include "views/view.h"

namespace headscope::views {

struct WordsData : ViewData {
  core::HeadWords words;
  std::vector<core::DirectionTokens> prompt;  // by direction; empty without a prompt
  std::vector<std::string> tokens;            // of the prompt
  core::HeadRef head;
  std::string modelName;
  std::vector<std::string> labels;  // of every id that is shown, by position in `ids`
  std::vector<int32_t> ids;         // ascending
  std::string labelOf(int32_t id) const {
    const auto it = std::lower_bound(ids.begin(), ids.end(), id);
    return it != ids.end() && *it == id ? labels[static_cast<size_t>(it - ids.begin())] : "#" + std::to_string(id);
  }
};

}  // namespace headscope::views
