#include "app/window/random_words.h"

#include <algorithm>
#include <random>
#include <vector>

namespace headscope::app {
namespace {

constexpr size_t kShortest = 3, kLongest = 9;  // letters

/// The word that an id stands for: lower-case letters behind one space; "" for anything else.
std::string wordOf(const core::Tokenizer& tokenizer, int32_t id) {
  if (tokenizer.isSpecial(id)) return {};
  const std::string bytes = tokenizer.bytesOf(id);
  if (bytes.size() < kShortest + 1 || bytes.size() > kLongest + 1 || bytes[0] != ' ') return {};
  const bool isWord = std::all_of(bytes.begin() + 1, bytes.end(), [](char c) { return c >= 'a' && c <= 'z'; });
  return isWord ? bytes.substr(1) : std::string();
}

}  // namespace

std::string randomWordsTwice(const core::Tokenizer& tokenizer, int count, uint64_t seed) {
  std::vector<std::string> words;
  for (int32_t id = 0; id < tokenizer.size(); ++id) {
    if (std::string word = wordOf(tokenizer, id); !word.empty()) words.push_back(std::move(word));
  }
  std::mt19937_64 random(seed);
  // By hand: the standard's shuffle and distributions differ from library to library.
  const size_t drawn = std::min(words.size(), static_cast<size_t>(std::max(count, 0)));
  for (size_t i = 0; i < drawn; ++i) std::swap(words[i], words[i + random() % (words.size() - i)]);
  std::string text;
  for (size_t i = 0; i < 2 * drawn; ++i) text += ' ' + words[i % drawn];
  return text;
}

}  // namespace headscope::app
