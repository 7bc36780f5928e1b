#include "core/mechanisms/selection.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/mechanisms/kinds.h"
#include "core/mechanisms/products.h"
#include "core/mechanisms/softmax_run.h"

namespace headscope::core {
namespace {

class SelectionMechanism : public NamedMechanism {
 public:
  SelectionMechanism(Arguments arguments, SelectionMask::Rule rule) : NamedMechanism(std::move(arguments)), rule_(rule) {}
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job&) const override {
    auto mask = std::make_shared<SelectionMask>(input, rule_);
    return std::make_unique<SoftmaxRun>(SoftmaxHead::of(input, std::move(mask)),
                                        std::vector<std::string>{"chosen from all exact scores: saves reads of V, not scores"},
                                        "V (2 k + 2) to choose, V visible pairs, + P (2 k + 2 v + 4) + N v, P chosen pairs");
  }

 private:
  SelectionMask::Rule rule_;
};

}  // namespace

SelectionMask::SelectionMask(const HeadInput& input, Rule rule)
    : Mask(input.count()),
      query_(input.query),
      key_(input.key),
      scale_(input.scale),
      softcap_(input.softcap),
      visibility_(input),
      rule_(rule) {}

double SelectionMask::selectionOperations(int64_t row) const {
  const KeyRange visible = visibility_.row(row);
  return static_cast<double>(visible.end - visible.first) * (2.0 * static_cast<double>(query_.cols) + 2.0);
}

void SelectionMask::ranges(int64_t row, std::vector<KeyRange>& out) const {
  RangeList list;
  blockRanges(row, 1, list);
  out.insert(out.end(), list.ranges.begin(), list.ranges.end());
}

void SelectionMask::blockRanges(int64_t first, int64_t count, RangeList& out) const {
  out.clear();
  constexpr int64_t kRows = 64;
  std::vector<int32_t> order;
  for (int64_t begin = first; begin < first + count; begin += kRows) {
    const int64_t rows = std::min(kRows, first + count - begin);
    const int64_t low = visibility_.row(begin).first, high = visibility_.row(begin + rows - 1).end;
    Matrix scores(rows, high - low);  // [block rows, visible keys]
    Work unused;
    productByTransposed(query_.rowsFrom(begin, rows), key_.rowsFrom(low, high - low), scores.view(), static_cast<float>(scale_), 0.0f,
                        unused);
    applySoftcap(softcap_, scores.data(), scores.size());
    for (int64_t r = 0; r < rows; ++r) {
      choose(scores.row(r) - low, visibility_.row(begin + r), order, out.ranges);
      out.begin.push_back(out.ranges.size());
    }
  }
}

void SelectionMask::choose(const float* scores, KeyRange visible, std::vector<int32_t>& order, std::vector<KeyRange>& out) const {
  const size_t all = static_cast<size_t>(visible.end - visible.first);
  order.resize(all);
  std::iota(order.begin(), order.end(), static_cast<int32_t>(visible.first));
  const auto larger = [&](int32_t a, int32_t b) { return scores[a] > scores[b] || (scores[a] == scores[b] && a < b); };
  size_t chosen = std::min<size_t>(all, static_cast<size_t>(rule_.keys));
  if (rule_.keys > 0) {
    if (chosen < all) std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(chosen), order.end(), larger);
  } else {
    std::sort(order.begin(), order.end(), larger);
    double total = 0, sum = 0;
    for (const int32_t j : order) total += std::exp(static_cast<double>(scores[j]) - static_cast<double>(scores[order[0]]));
    for (chosen = 0; chosen < all;) {
      sum += std::exp(static_cast<double>(scores[order[chosen++]]) - static_cast<double>(scores[order[0]]));
      if (sum / total >= rule_.mass - 1e-12) break;
    }
  }
  order.resize(chosen);
  std::sort(order.begin(), order.end());
  const size_t start = out.size();
  for (const int32_t j : order) {
    if (out.size() > start && out.back().end == j) {
      ++out.back().end;
    } else {
      out.push_back({j, j + 1});
    }
  }
}

std::vector<MechanismKind> selectionKinds() {
  return {{"topk",
           "the keys with the largest scores of each row",
           {Parameter::integer("k", 16, 1, kLargestParameter, "keys a query keeps")},
           [](const Arguments& a) {
             return std::make_unique<SelectionMechanism>(a, SelectionMask::Rule{a.integer("k"), 0});
           }},
          {"topp",
           "the smallest set of keys whose mass reaches p",
           {Parameter::real("p", 0.9, 1e-6, 1.0, "share of the mass kept")},
           [](const Arguments& a) {
             return std::make_unique<SelectionMechanism>(a, SelectionMask::Rule{0, a.real("p")});
           }}};
}

}  // namespace headscope::core
