#pragma once
// Repeats: the earlier positions of a prompt that hold the same token, for every position.
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/model/prompt.h"

namespace headscope::core {

class Repeats {
 public:
  explicit Repeats(const Prompt& prompt) {
    for (int64_t i = 0; i < prompt.count(); ++i) {
      std::vector<int32_t>& places = places_[prompt.tokens[static_cast<size_t>(i)].id];
      of_.push_back(&places);
      before_.push_back(static_cast<int64_t>(places.size()));
      places.push_back(static_cast<int32_t>(i));
    }
  }
  /// How many j < i have i's token.
  int64_t before(int64_t i) const { return before_[static_cast<size_t>(i)]; }
  std::span<const int32_t> earlier(int64_t i) const { return {of_[static_cast<size_t>(i)]->data(), static_cast<size_t>(before(i))}; }

 private:
  std::unordered_map<int32_t, std::vector<int32_t>> places_;  // positions of each token, in order
  std::vector<const std::vector<int32_t>*> of_;
  std::vector<int64_t> before_;
};

}  // namespace headscope::core
