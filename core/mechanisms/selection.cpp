#include "core/mechanisms/selection.h"

#include <algorithm>

#include "core/mechanisms/kinds.h"
#include "core/mechanisms/products.h"
#include "core/mechanisms/softmax_run.h"
#include "core/mechanisms/vector_math.h"

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
  RowOrder order;
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

void SelectionMask::choose(const float* scores, KeyRange visible, RowOrder& order, std::vector<KeyRange>& out) const {
  const size_t all = static_cast<size_t>(visible.end - visible.first);
  order.descending({scores + visible.first, all});
  size_t count = std::min<size_t>(all, static_cast<size_t>(rule_.keys));
  if (rule_.keys == 0) {
    const float largest = scores[visible.first + order.at(0)];
    std::vector<float> weights(all);
    Eigen::Map<Eigen::ArrayXf>(weights.data(), static_cast<Eigen::Index>(all)) =
        (Eigen::Map<const Eigen::ArrayXf>(scores + visible.first, static_cast<Eigen::Index>(all)) - largest).exp();
    double total = 0, sum = 0;
    for (const float w : weights) total += static_cast<double>(w);
    while (count < all && (count == 0 || sum / total < rule_.mass - 1e-12))
      sum += static_cast<double>(weights[static_cast<size_t>(order.at(count++))]);
  }
  std::vector<int32_t> chosen(count);
  for (size_t i = 0; i < count; ++i) chosen[i] = static_cast<int32_t>(visible.first) + order.at(i);
  std::sort(chosen.begin(), chosen.end());
  const size_t start = out.size();
  for (const int32_t j : chosen) {
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
