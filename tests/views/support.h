#pragma once
// Builders for view tests: a measure with fixed widths, maps from one line of text, golden dumps.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "core/tensor/matrix.h"
#include "tests/support/folders.h"
#include "tests/support/golden.h"
#include "views/attention_map.h"
#include "views/figure/figure.h"
#include "views/token_text.h"

namespace headscope::tests {

/// Every character is 0.6 of the type size wide: layouts do not depend on installed fonts.
class FixedMeasure : public views::TextMeasure {
 public:
  double width(const std::string& text, const views::Font& font) const override {
    size_t at = 0;
    double characters = 0;
    while (at < text.size()) views::nextCodePoint(text, at), ++characters;
    return characters * font.size_pt * 0.6;
  }
  double ascent(const views::Font& font) const override { return font.size_pt * 0.9; }
  double descent(const views::Font& font) const override { return font.size_pt * 0.25; }
};

/// "the cat sat | 1 | 0.4 0.6 | 0.7 0.2 0.1": tokens, then the rows of a causal map (missing entries are 0).
inline std::shared_ptr<views::AttentionMapData> attentionFrom(const std::string& line) {
  std::vector<std::string> parts(1);
  for (const char c : line) c == '|' ? (void)parts.emplace_back() : (void)(parts.back() += c);
  auto made = std::make_shared<views::AttentionMapData>();
  views::AttentionMapData& data = *made;
  std::istringstream words(parts[0]);
  for (std::string word; words >> word;) data.labels.push_back((data.labels.empty() ? "" : "·") + word);
  data.count = static_cast<int64_t>(data.labels.size());
  data.values = core::Matrix::zeros(data.count, data.count);
  data.received.assign(data.labels.size(), 0.0f);
  for (int64_t i = 0; i < data.count; ++i) {
    std::istringstream row(static_cast<size_t>(i) + 1 < parts.size() ? parts[static_cast<size_t>(i) + 1] : "");
    double entropy = 0, weight = 0;
    for (int64_t j = 0; j < data.count && row >> weight; ++j) {
      data.values(i, j) = static_cast<float>(weight);
      data.received[static_cast<size_t>(j)] += static_cast<float>(weight);
      if (weight > 0) entropy -= weight * std::log2(weight);
    }
    data.entropy.push_back(static_cast<float>(entropy));
  }
  return made;
}

/// Compares with tests/views/golden/NAME.txt; a mismatch writes NAME.txt.actual beside it; UPDATE_GOLDEN=1 accepts.
inline void expectGolden(const std::string& name, const std::string& actual) {
  const std::string path = (tests::sourceFolder() / "tests/views/golden" / (name + ".txt")).string();
  std::ifstream in(path, std::ios::binary);
  const std::string expected{std::istreambuf_iterator<char>(in), {}};
  if (actual == expected) return;
  const char* update = std::getenv("UPDATE_GOLDEN");
  const bool isAccepted = update != nullptr && std::string(update) == "1";
  std::ofstream(isAccepted ? path : path + ".actual", std::ios::binary) << actual;
  if (!isAccepted) ADD_FAILURE() << name << " differs from its golden dump; see " << path << ".actual, accept with UPDATE_GOLDEN=1";
}

}  // namespace headscope::tests
