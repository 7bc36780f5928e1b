// A byte-level BPE of 128,000 entries made on the fly: how long it takes to open, and how much text a second it encodes on one core.
// Its text is of 60,000 words whose frequencies fall as in English (Zipf's law); the frequent ones are entries of their own.
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "core/bench/benches.h"
#include "core/mechanisms/random.h"
#include "core/tokenizer/byte_alphabet.h"
#include "core/tokenizer/tokenizer.h"

namespace headscope::core {
namespace {

constexpr size_t kEntries = 128'000, kWords = 60'000, kTextBytes = 4'000'000, kNaiveBytes = 100'000;

using Merge = std::pair<std::string, std::string>;

std::vector<std::string> pseudoWords() {
  Random random(1);
  std::vector<std::string> words;
  for (size_t i = 0; i < kWords; ++i) {
    std::string word;
    const int64_t syllables = 1 + random.below(2 + static_cast<int64_t>(std::log2(static_cast<double>(i) + 2)) / 4);
    for (int64_t s = 0; s < syllables; ++s) {
      word += "bcdfghklmnprstvw"[random.below(16)];
      word += "aeiou"[random.below(5)];
      if (random.below(2) == 0) word += "lmnrst"[random.below(6)];
    }
    words.push_back(word);
  }
  return words;
}

struct Vocabulary {
  std::map<std::string, int64_t> ids;
  std::map<Merge, int64_t> ranks;
};

/// The 256 bytes, then each word's beginnings, the frequent words' first, then pairs of words until it is full.
Vocabulary vocabularyOf(const std::vector<std::string>& words) {
  Vocabulary vocabulary;
  const ByteAlphabet alphabet;
  for (int byte = 0; byte < 256; ++byte) {
    std::string piece;
    const char c = static_cast<char>(byte);
    alphabet.appendMapped(piece, {&c, 1});
    vocabulary.ids.emplace(piece, byte);
  }
  const auto add = [&](const std::string& left, const std::string& right) {
    if (vocabulary.ids.size() >= kEntries || !vocabulary.ids.emplace(left + right, vocabulary.ids.size()).second) return;
    vocabulary.ranks.emplace(Merge{left, right}, vocabulary.ranks.size());
  };
  for (const std::string& word : words) {
    std::string piece;
    alphabet.appendMapped(piece, " ");
    for (const char c : word) {
      add(piece, std::string(1, c));
      piece += c;
    }
  }
  Random random(2);
  while (vocabulary.ids.size() < kEntries) {
    const std::string& left = words[static_cast<size_t>(random.below(kWords))];
    const std::string& right = words[static_cast<size_t>(random.below(kWords))];
    std::string whole;
    alphabet.appendMapped(whole, " " + left);
    for (const char c : right) {
      if (!vocabulary.ids.contains(whole)) break;
      add(whole, std::string(1, c));
      whole += c;
    }
  }
  return vocabulary;
}

std::string tokenizerJson(const Vocabulary& vocabulary) {
  std::vector<nlohmann::json> merges(vocabulary.ranks.size());
  for (const auto& [merge, rank] : vocabulary.ranks) merges[static_cast<size_t>(rank)] = {merge.first, merge.second};
  const nlohmann::json byteLevel = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const nlohmann::json json = {{"version", "1.0"},
                               {"truncation", nullptr},
                               {"padding", nullptr},
                               {"added_tokens", nlohmann::json::array()},
                               {"normalizer", nullptr},
                               {"pre_tokenizer", byteLevel},
                               {"post_processor", nullptr},
                               {"decoder", byteLevel},
                               {"model",
                                {{"type", "BPE"},
                                 {"dropout", nullptr},
                                 {"unk_token", nullptr},
                                 {"continuing_subword_prefix", nullptr},
                                 {"end_of_word_suffix", nullptr},
                                 {"fuse_unk", false},
                                 {"byte_fallback", false},
                                 {"vocab", vocabulary.ids},
                                 {"merges", merges}}}};
  return json.dump();
}

std::string zipfText(const std::vector<std::string>& words, size_t bytes) {
  Random random(3);
  const double scale = std::log(static_cast<double>(words.size()));
  std::string text = words.front();
  while (text.size() < bytes) {
    text += ' ';
    text += words[std::min(words.size() - 1, static_cast<size_t>(std::exp(random.uniform() * scale)) - 1)];
  }
  return text;
}

/// Words one by one, the lowest merge sought anew at each step, nothing remembered: BPE as its definition reads.
int64_t naiveCount(const Vocabulary& vocabulary, std::string_view text) {
  const ByteAlphabet alphabet;
  int64_t tokens = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.size(), text.find(' ', at + 1));
    std::vector<std::string> pieces;
    for (const char c : text.substr(at, end - at)) alphabet.appendMapped(pieces.emplace_back(), {&c, 1});
    at = end;
    while (true) {
      size_t best = 0;
      int64_t rank = -1;
      for (size_t i = 0; i + 1 < pieces.size(); ++i) {
        const auto found = vocabulary.ranks.find({pieces[i], pieces[i + 1]});
        if (found != vocabulary.ranks.end() && (rank < 0 || found->second < rank)) best = i, rank = found->second;
      }
      if (rank < 0) break;
      pieces[best] += pieces[best + 1];
      pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    tokens += static_cast<int64_t>(pieces.size());
  }
  return tokens;
}

BenchResult encoding(const std::string& name, const Tokenizer& tokenizer, const std::string& text) {
  Job job;
  BenchResult result;
  result.bench = name;
  int64_t tokens = 0;
  result.ours = quickest(3, [&] { tokens = static_cast<int64_t>(tokenizer.encode(text, false, job).entries.size()); });
  const double processor = thriftiest(3, [&] { tokenizer.encode(text, false, job); });
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  result.limit = megabytes / 2;
  result.more = {{"ours_processor_s", processor},
                 {"mb_per_processor_s", megabytes / processor},
                 {"mb_per_processor_s_limit", 2},
                 {"tokens", static_cast<double>(tokens)}};
  return result;
}

}  // namespace

std::vector<BenchResult> benchTokenizer(BenchContext&) {
  const std::vector<std::string> words = pseudoWords();
  const Vocabulary vocabulary = vocabularyOf(words);
  const std::string json = tokenizerJson(vocabulary), text = zipfText(words, kTextBytes);
  std::vector<BenchResult> results;
  BenchResult opening;
  opening.bench = "tokenizer_open_128k";
  opening.ours = quickest(3, [&] { Tokenizer::fromJson(json, "bench"); });
  opening.limit = 0.4;
  opening.more = {{"ours_processor_s", thriftiest(3, [&] { Tokenizer::fromJson(json, "bench"); })},
                  {"entries", static_cast<double>(vocabulary.ids.size())},
                  {"merges", static_cast<double>(vocabulary.ranks.size())}};
  results.push_back(opening);

  const auto tokenizer = Tokenizer::fromJson(json, "bench");
  BenchResult english = encoding("tokenizer_encode_4mb", *tokenizer, text);
  const double naive = thriftiest(1, [&] { naiveCount(vocabulary, std::string_view(text).substr(0, kNaiveBytes)); });
  english.more["naive_mb_per_processor_s"] = kNaiveBytes / 1e6 / naive;
  results.push_back(english);
  results.push_back(encoding("tokenizer_one_letter_1mb", *tokenizer, std::string(1'000'000, 'a')));
  results.push_back(encoding("tokenizer_one_letter_4mb", *tokenizer, std::string(4'000'000, 'a')));
  return results;
}

}  // namespace headscope::core
