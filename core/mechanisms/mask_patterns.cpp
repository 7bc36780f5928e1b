// Fixed masks: Child 2019 (strided, fixed), Longformer 2020 (local, dilated, global), BigBird 2020 (block), StreamingLLM 2023
// (sinks), and the two patterns of the sparse-attention source exactly as it defines them.
#include <algorithm>
#include <charconv>

#include "core/base/error.h"
#include "core/mechanisms/kinds.h"
#include "core/mechanisms/softmax_run.h"

namespace headscope::core {
namespace {

enum class Sight { FollowsModel, Causal, BothWays };

using Ranges = std::vector<KeyRange>;
/// Makes the pattern for one head; isCausal as the pattern is to behave.
using MakePattern = std::function<PatternMask::Pattern(const Arguments&, int64_t size, bool isCausal)>;

class PatternMechanism : public NamedMechanism {
 public:
  PatternMechanism(Arguments arguments, Sight sight, MakePattern make, std::string pairs)
      : NamedMechanism(std::move(arguments)), sight_(sight), make_(std::move(make)), pairs_(std::move(pairs)) {}

  bool isCausal() const override { return sight_ != Sight::BothWays; }

  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job&) const override {
    const bool causal = sight_ == Sight::Causal || (sight_ == Sight::FollowsModel && input.isCausal);
    const Visibility visibility(input.count(), causal, causal && input.isCausal ? input.window : 0);
    auto mask = std::make_shared<PatternMask>(visibility, make_ ? make_(arguments(), input.count(), causal) : nullptr);
    std::vector<std::string> notes = causalityNotes(isCausal(), input);
    if (sight_ == Sight::Causal && !input.isCausal) notes.push_back("causal: hides later tokens, which this model sees");
    return std::make_unique<SoftmaxRun>(SoftmaxHead::of(input, std::move(mask)), std::move(notes),
                                        "P (2 k + 2 v + 4) + N v, P = " + pairs_ + "; hidden pairs on block edges come on top");
  }

 private:
  Sight sight_;
  MakePattern make_;
  std::string pairs_;
};

Parameter window(int64_t defaultValue, std::string meaning) {
  return Parameter::integer("window", defaultValue, 1, kLargestParameter, std::move(meaning));
}

KeyRange around(int64_t row, int64_t width, bool isCausal) {
  return isCausal ? KeyRange{row + 1 - width, row + 1} : KeyRange{row - width / 2, row + width / 2 + 1};
}

/// "0+5-7" -> {0, 5, 6, 7}, sorted. Throws Error naming the mechanism.
std::vector<int64_t> parseTokens(const std::string& text) {
  const auto fail = [&] {
    throw Error("\"" + text + "\" is not a list of tokens", "mechanism global",
                "tokens takes positions and ranges joined by +, as in 0+5-7");
  };
  std::vector<int64_t> out;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto number = [&] {
    int64_t value = 0;
    const auto [next, fault] = std::from_chars(at, end, value);
    if (fault != std::errc() || value < 0 || value > kLargestParameter) fail();
    at = next;
    return value;
  };
  while (true) {
    const int64_t first = number();
    int64_t last = first;
    if (at < end && *at == '-') {
      ++at;
      last = number();
    }
    if (last < first || last - first > (1 << 20)) fail();
    for (int64_t t = first; t <= last; ++t) out.push_back(t);
    if (at == end) break;
    if (*at++ != '+' || at == end) fail();
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

struct BlockList {
  bool hasDiagonal = false, hasPrevious = false, hasFirst = false, hasAll = false;
  std::vector<std::pair<int64_t, int64_t>> pairs;  // row block, key block
};

/// "diagonal+first+3.1". Throws Error naming the mechanism.
BlockList parseBlocks(const std::string& text) {
  BlockList out;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find('+', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    begin = end + 1;
    if (word == "diagonal") {
      out.hasDiagonal = true;
    } else if (word == "previous") {
      out.hasPrevious = true;
    } else if (word == "first") {
      out.hasFirst = true;
    } else if (word == "all") {
      out.hasAll = true;
    } else if (word != "none") {
      int64_t row = -1, key = -1;
      const char* const last = word.data() + word.size();
      std::from_chars_result read = std::from_chars(word.data(), last, row);
      if (read.ec == std::errc() && read.ptr != last && *read.ptr == '.') read = std::from_chars(read.ptr + 1, last, key);
      if (read.ec != std::errc() || read.ptr != last || row < 0 || key < 0 || row > kLargestParameter || key > kLargestParameter) {
        throw Error("\"" + word + "\" is not a block", "mechanism block",
                    "blocks takes diagonal, previous, first, all, none and ROW.KEY pairs of block numbers, joined by +");
      }
      out.pairs.emplace_back(row, key);
    }
  }
  std::sort(out.pairs.begin(), out.pairs.end());
  return out;
}

PatternMask::Pattern blockPattern(const Arguments& a, int64_t size, bool) {
  const int64_t s = a.integer("size");
  return [s, size, list = parseBlocks(a.text("blocks"))](int64_t i, Ranges& out) {
    const int64_t b = i / s;
    if (list.hasAll) out.push_back({0, size});
    if (list.hasFirst) out.push_back({0, s});
    const size_t start = out.size();
    for (auto at = std::lower_bound(list.pairs.begin(), list.pairs.end(), std::pair<int64_t, int64_t>(b, 0));
         at != list.pairs.end() && at->first == b; ++at) {
      if (at->second <= size / s) out.push_back({at->second * s, (at->second + 1) * s});
    }
    if (list.hasPrevious && b > 0) out.push_back({(b - 1) * s, b * s});
    if (list.hasDiagonal) out.push_back({b * s, (b + 1) * s});
    std::sort(out.begin() + static_cast<std::ptrdiff_t>(start), out.end(), [](KeyRange x, KeyRange y) { return x.first < y.first; });
  };
}

PatternMask::Pattern globalPattern(const Arguments& a, int64_t size, bool isCausal) {
  const int64_t w = a.integer("window");
  return [w, size, isCausal, tokens = parseTokens(a.text("tokens"))](int64_t i, Ranges& out) {
    if (std::binary_search(tokens.begin(), tokens.end(), i)) {
      out.push_back({0, size});
      return;
    }
    const KeyRange near = around(i, w, isCausal);
    const auto split = std::lower_bound(tokens.begin(), tokens.end(), near.first);
    for (auto t = tokens.begin(); t != split; ++t) out.push_back({*t, *t + 1});
    out.push_back(near);
    for (auto t = split; t != tokens.end() && *t < size; ++t) out.push_back({*t, *t + 1});
  };
}

PatternMask::Pattern stridedPattern(const Arguments& a, int64_t, bool) {
  return [s = a.integer("stride")](int64_t i, Ranges& out) {
    for (int64_t j = i % s; j <= i - s; j += s) out.push_back({j, j + 1});
    out.push_back({i - s + 1, i + 1});
  };
}

PatternMask::Pattern fixedPattern(const Arguments& a, int64_t, bool) {
  const int64_t s = a.integer("stride"), c = std::min(a.integer("summary"), s);
  return [s, c](int64_t i, Ranges& out) {
    for (int64_t block = 0; block < i / s; ++block) out.push_back({(block + 1) * s - c, (block + 1) * s});
    out.push_back({i / s * s, i + 1});
  };
}

PatternMask::Pattern dilatedPattern(const Arguments& a, int64_t, bool) {
  const int64_t w = a.integer("window"), step = a.integer("step");
  return [w, step](int64_t i, Ranges& out) {
    for (int64_t back = std::min(w - 1, i / step); back >= 0; --back) out.push_back({i - back * step, i - back * step + 1});
  };
}

PatternMask::Pattern sinksPattern(const Arguments& a, int64_t, bool isCausal) {
  const int64_t n = a.integer("sinks"), w = a.integer("window");
  return [n, w, isCausal](int64_t i, Ranges& out) {
    const KeyRange near = around(i, w, isCausal);
    if (near.first > 0) {
      out.push_back({0, n});
      out.push_back(near);
    } else {
      out.push_back({0, std::max(n, near.end)});
    }
  };
}

PatternMask::Pattern sourceStridedPattern(const Arguments& a, int64_t size, bool) {
  return [s = a.integer("stride"), size](int64_t i, Ranges& out) {
    for (int64_t j = 0; j < i; j += s) out.push_back({j, j + 1});
    out.push_back({i, i + 1});
    for (int64_t j = i / s * s + s; j < size; j += s) out.push_back({j, j + 1});
  };
}

MechanismKind kind(std::string name, std::string summary, std::vector<Parameter> parameters, Sight sight, MakePattern make,
                   std::string pairs) {
  return {std::move(name), std::move(summary), std::move(parameters),
          [sight, make, pairs](const Arguments& arguments) { return std::make_unique<PatternMechanism>(arguments, sight, make, pairs); }};
}

}  // namespace

std::vector<MechanismKind> maskKinds() {
  std::vector<MechanismKind> out;
  out.push_back(kind("dense", "the model's own attention, every key that it lets a query see", {}, Sight::FollowsModel, nullptr,
                     "N (N + 1) / 2 where the model is causal, N^2 where not"));
  out.push_back(kind("causal", "every key up to the query", {}, Sight::Causal, nullptr, "N (N + 1) / 2"));
  out.push_back(kind(
      "local", "the last keys, the query's own included", {window(64, "keys a query sees, ending at its own")}, Sight::Causal,
      [](const Arguments& a, int64_t, bool) -> PatternMask::Pattern {
        return [w = a.integer("window")](int64_t i, Ranges& out) { out.push_back({i + 1 - w, i + 1}); };
      },
      "N w - w (w - 1) / 2"));
  out.push_back(kind(
      "symmetric", "keys within half a window on either side (for encoders)", {window(64, "keys |i - j| <= window / 2")}, Sight::BothWays,
      [](const Arguments& a, int64_t, bool) -> PatternMask::Pattern {
        return [w = a.integer("window")](int64_t i, Ranges& out) { out.push_back(around(i, w, false)); };
      },
      "about N (w + 1)"));
  out.push_back(kind("strided", "the last keys and every stride-th one back (Child 2019)",
                     {Parameter::integer("stride", 8, 1, kLargestParameter, "keys i - j < stride, and every stride-th one back")},
                     Sight::Causal, stridedPattern, "about N s + N^2 / (2 s)"));
  out.push_back(kind("fixed", "the query's own block and the last keys of every block before (Child 2019)",
                     {Parameter::integer("stride", 8, 1, kLargestParameter, "block length"),
                      Parameter::integer("summary", 1, 1, kLargestParameter, "last keys of each block that all later queries see")},
                     Sight::Causal, fixedPattern, "about N s / 2 + N^2 c / (2 s)"));
  out.push_back(kind("dilated", "a window with gaps (Longformer 2020)",
                     {window(16, "keys a query sees"), Parameter::integer("step", 4, 1, kLargestParameter, "distance between them")},
                     Sight::Causal, dilatedPattern, "about N w"));
  out.push_back(kind("sinks", "the first keys and the last ones (StreamingLLM 2023)",
                     {Parameter::integer("sinks", 4, 0, kLargestParameter, "first keys that stay visible"),
                      window(64, "last keys, the query's own included")},
                     Sight::FollowsModel, sinksPattern, "about N (s + w)"));
  out.push_back(kind("global", "chosen tokens that see and are seen by all, and a window for the rest (Longformer 2020)",
                     {Parameter::text("tokens", "0", "positions and ranges joined by +, as in 0+5-7"), window(64, "keys the others see")},
                     Sight::FollowsModel, globalPattern, "about N (t + w)"));
  out.push_back(
      kind("block", "whole blocks of queries against whole blocks of keys, drawn or by rule (BigBird 2020)",
           {Parameter::integer("size", 16, 1, kLargestParameter, "tokens a block"),
            Parameter::text("blocks", "diagonal+first", "diagonal, previous, first, all, none and ROW.KEY block numbers, joined by +")},
           Sight::FollowsModel, blockPattern, "seen blocks times s^2, the diagonal ones about half where causal"));
  out.push_back(kind(
      "source_local", "keys [i - w/2, i + w/2), as the sparse-attention source has it", {window(64, "keys, half of them later ones")},
      Sight::BothWays,
      [](const Arguments& a, int64_t, bool) -> PatternMask::Pattern {
        return [w = a.integer("window")](int64_t i, Ranges& out) { out.push_back({i - w / 2, i + w / 2}); };
      },
      "about N w"));
  out.push_back(kind("source_strided", "every stride-th column and the query's own, as the sparse-attention source has it",
                     {Parameter::integer("stride", 8, 1, kLargestParameter, "columns 0, stride, 2 stride, ...")}, Sight::BothWays,
                     sourceStridedPattern, "about N^2 / s + N"));
  // Texts are checked here already, so that a wrong list fails where it is written and not on some head.
  for (MechanismKind& k : out) {
    if (k.name != "global" && k.name != "block") continue;
    k.make = [make = k.make](const Arguments& arguments) {
      arguments.mechanism() == "global" ? (void)parseTokens(arguments.text("tokens")) : (void)parseBlocks(arguments.text("blocks"));
      return make(arguments);
    };
  }
  return out;
}

}  // namespace headscope::core
