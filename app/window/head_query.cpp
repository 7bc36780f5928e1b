#include "app/window/head_query.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "core/base/error.h"
#include "views/figure/axis.h"

namespace headscope::app {
namespace {

std::string trimmed(const std::string& s) {
  const size_t begin = s.find_first_not_of(" \t"), end = s.find_last_not_of(" \t");
  return begin == std::string::npos ? "" : s.substr(begin, end - begin + 1);
}

[[noreturn]] void fail(const std::string& term) {
  throw core::Error("this is not a head or a condition", term, "write 3.5, 3.*, or induction>0.4");
}

std::optional<int64_t> indexOrStar(const std::string& word, const std::string& term) {
  if (word == "*") return std::nullopt;
  if (word.empty() || word.size() > 6 || word.find_first_not_of("0123456789") != std::string::npos) fail(term);
  return std::stoll(word);
}

bool isShare(const std::string& name) {
  for (const char* share : {"previous", "self", "first", "induction", "duplicate"}) {
    if (name == share) return true;
  }
  return false;
}

}  // namespace

HeadQuery HeadQuery::parse(const std::string& text, const std::vector<std::string>& names) {
  HeadQuery query;
  std::string rest = text;
  for (size_t at; (at = rest.find(" and ")) != std::string::npos;) rest = rest.substr(0, at).append(1, ',').append(rest.substr(at + 5));
  while (!trimmed(rest).empty()) {
    const size_t comma = rest.find(',');
    const std::string word = trimmed(rest.substr(0, comma));
    rest.erase(0, comma == std::string::npos ? std::string::npos : comma + 1);
    if (word.empty()) continue;
    Term term;
    if (const size_t relation = word.find_first_of("<>="); relation != std::string::npos) {
      const std::string name = trimmed(word.substr(0, relation)), number = trimmed(word.substr(relation + 1));
      for (const std::string& known : names) {
        if (known == name || (term.score.empty() && !name.empty() && known.rfind(name, 0) == 0)) term.score = known;
      }
      char* end = nullptr;
      term.value = std::strtod(number.c_str(), &end);
      if (term.score.empty() || number.empty() || *end != '\0') fail(word);
      term.relation = word[relation];
    } else {
      const size_t dot = word.find('.');
      term.layer = indexOrStar(word.substr(0, dot), word);
      if (dot != std::string::npos) term.head = indexOrStar(word.substr(dot + 1), word);
    }
    query.terms_.push_back(term);
  }
  return query;
}

const HeadQuery::Term* HeadQuery::firstOnScore() const {
  const auto found = std::find_if(terms_.begin(), terms_.end(), [](const Term& term) { return !term.score.empty(); });
  return found == terms_.end() ? nullptr : &*found;
}

std::string HeadQuery::score() const {
  const Term* term = firstOnScore();
  return term != nullptr ? term->score : std::string();
}

bool HeadQuery::wantsLow() const {
  const Term* term = firstOnScore();
  return term != nullptr && term->relation == '<';
}

bool HeadQuery::matches(core::HeadRef head, const core::HeadScores* scores) const {
  return std::all_of(terms_.begin(), terms_.end(), [&](const Term& term) {
    if (term.score.empty()) return (!term.layer || *term.layer == head.layer) && (!term.head || *term.head == head.head);
    if (!scores || !scores->has(term.score) || head.layer >= scores->layers()) return false;
    const double value = scores->at(term.score, head);
    return term.relation == '>' ? value > term.value : term.relation == '<' ? value < term.value : std::abs(value - term.value) < 5e-3;
  });
}

std::string scoreTitle(const std::string& name) {
  static constexpr std::pair<const char*, const char*> kTitles[] = {
      {"previous", "Previous token"}, {"self", "Self"},           {"first", "First token"},        {"entropy", "Entropy (bits)"},
      {"distance", "Distance"},       {"induction", "Induction"}, {"duplicate", "Duplicate token"}};
  for (const auto& [key, title] : kTitles) {
    if (name == key) return title;
  }
  const bool isWeighted = name.rfind("weighted_keys.", 0) == 0;
  if (!isWeighted && name.rfind("keys.", 0) != 0) return name;
  const double share = std::atof(name.c_str() + name.find('.') + 1) * 100;
  char text[64];
  std::snprintf(text, sizeof text, isWeighted ? "Weighted keys, %.4g %%" : "Keys for %.4g %%", share);
  return text;
}

std::string scoreDefinition(const std::string& name) {
  static constexpr std::pair<const char*, const char*> kDefinitions[] = {
      {"previous", "Mean weight on the token before the query"},
      {"self", "Mean weight on the query itself"},
      {"first", "Mean weight on the first token"},
      {"entropy", "Mean entropy of the rows, in bits: 0 is one key, log2 of the keys seen is all alike"},
      {"distance", "Mean distance from query to key, in tokens, by weight"},
      {"induction", "Mean weight on tokens that follow an earlier copy of the query, over queries that have one"},
      {"duplicate", "Mean weight on earlier copies of the query, over queries that have one"}};
  for (const auto& [key, text] : kDefinitions) {
    if (name == key) return text;
  }
  if (name.rfind("weighted_keys.", 0) == 0)
    return "Mean number of keys that make up this share of the row when each weight counts by the length of what it writes";
  return "Mean number of keys whose weights make up this share of the row";
}

std::string columnNumber(double value) {
  if (std::isnan(value)) return "–";
  const double size = std::abs(value);
  if (size != 0 && (size < 0.001 || size >= 1e6)) return views::shortNumber(value, 2);
  return views::fixedNumber(value, size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

double barShare(const core::HeadScores& scores, const std::string& name, double value) {
  if (std::isnan(value)) return 0;
  if (isShare(name)) return value;
  double largest = 0;
  for (const double v : scores.values(name)) largest = std::isnan(v) ? largest : std::max(largest, v);
  return largest > 0 ? value / largest : 0;
}

}  // namespace headscope::app
