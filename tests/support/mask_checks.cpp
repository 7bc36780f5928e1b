// The Backend's attention under a mask against a plain double loop, on the table of cases.
#include <algorithm>
#include <cmath>
#include <sstream>

#include "tests/support/naive_ops.h"
#include "tests/support/op_cases.h"
#include "tests/support/op_checks.h"

namespace headscope::tests {

using namespace core;

RangeList seenKeys(const MaskCase& c) {
  RangeList seen;
  for (int64_t i = 0; i < c.queries; ++i) {
    for (int64_t j = 0; j < c.keys;) {
      if (!c.sees(i, j)) {
        ++j;
        continue;
      }
      const int64_t first = j;
      while (j < c.keys && c.sees(i, j)) ++j;
      seen.ranges.push_back({first, j});
    }
    seen.begin.push_back(seen.ranges.size());
  }
  return seen;
}

/// Of the head's query row i against key j: scaled, capped, biased.
double naiveScore(const MaskedHead& head, int64_t i, int64_t j) {
  double s = 0;
  for (int64_t x = 0; x < head.key.cols; ++x) s += static_cast<double>(head.query(i, x)) * head.key(j, x);
  s *= head.scale;
  if (head.softcap > 0) s = head.softcap * std::tanh(s / head.softcap);
  return s - head.slope * std::abs(static_cast<double>(i + head.firstRow - j));
}

NaiveMasked naiveMasked(const MaskedHead& head, const MaskCase& c) {
  NaiveMasked all;
  const int64_t v = head.value.cols;
  all.out.assign(static_cast<size_t>(c.queries * v), 0.0);
  for (int64_t i = 0; i < c.queries; ++i) {
    Doubles scores(static_cast<size_t>(c.keys), -INFINITY);
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < c.keys; ++j) {
      if (!c.sees(i, j)) continue;
      const double s = naiveScore(head, i, j);
      scores[static_cast<size_t>(j)] = s;
      top = std::max(top, s);
    }
    for (const double s : scores) sum += s > -INFINITY ? std::exp(s - top) : 0.0;
    all.logSumExp.push_back(sum > 0 ? top + std::log(sum) : -INFINITY);
    for (int64_t j = 0; j < c.keys && sum > 0; ++j) {
      const double weight = std::exp(scores[static_cast<size_t>(j)] - top) / sum;
      for (int64_t x = 0; x < v; ++x) all.out[static_cast<size_t>(i * v + x)] += weight * head.value(j, x);
    }
  }
  return all;
}

namespace {

OpCheck checkMask(Backend& backend, const MaskCase& c) {
  std::ostringstream name;
  name << "masked attention " << c.name << ' ' << c.queries << ' ' << c.keys << ' ' << c.keyWidth << ' ' << c.valueWidth;
  OpCheck check{Op::MaskedAttention, name.str(), 0, 5e-6};
  const Matrix query = randomMatrix(c.queries, c.keyWidth + 2, 101, c.spread), key = randomMatrix(c.keys, c.keyWidth, 102, c.spread),
               value = randomMatrix(c.keys, c.valueWidth + 1, 103);
  const MaskedHead head{query.view().colsFrom(1, c.keyWidth), key, value.view().colsFrom(0, c.valueWidth), 0.25, c.softcap, c.slope, 3};
  Matrix wide(c.queries, c.valueWidth + 3);  // rows apart, so that strides matter
  std::fill_n(wide.data(), wide.size(), std::nanf(""));
  const MatrixView out = wide.view().colsFrom(2, c.valueWidth);
  const MaskedRows got = backend.maskedAttention(head, seenKeys(c), out, Job());
  const NaiveMasked expected = naiveMasked(head, c);
  for (int64_t i = 0; i < c.queries; ++i) {
    const double wanted = expected.logSumExp[static_cast<size_t>(i)], found = got.logSumExp[static_cast<size_t>(i)];
    if (std::isinf(wanted) != std::isinf(found)) check.isMaskExact = false;
    if (std::isfinite(wanted)) check.difference = std::max(check.difference, std::abs(found - wanted) / std::max(1.0, std::abs(wanted)));
    for (int64_t x = 0; x < c.valueWidth; ++x) {
      const double want = expected.out[static_cast<size_t>(i * c.valueWidth + x)];
      if (!std::isfinite(out(i, x))) check.isFinite = false;
      if (std::isinf(wanted) && out(i, x) != 0.0f) check.isMaskExact = false;
      check.difference = std::max(check.difference, std::abs(out(i, x) - want) / 4);
    }
  }
  if (!(got.pairs >= 0) || !(got.keyRows >= 0)) check.difference = INFINITY;
  return check;
}

/// Weights [queries, keys] of a case's head in double, and the sums of each row over the keys that the rule keeps.
struct NaiveChosen {
  std::vector<double> weights, logSumExp, logSumSquares;
  double kept = 0;
};

NaiveChosen naiveChosen(const MaskedHead& head, const MaskCase& c, const KeyChoice& rule) {
  NaiveChosen all;
  all.weights.assign(static_cast<size_t>(c.queries * c.keys), 0.0);
  for (int64_t i = 0; i < c.queries; ++i) {
    std::vector<std::pair<double, int64_t>> scores;  // by falling score, then by key
    for (int64_t j = 0; j < c.keys; ++j) {
      if (!c.sees(i, j)) continue;
      scores.emplace_back(-naiveScore(head, i, j), j);
    }
    std::sort(scores.begin(), scores.end());
    double total = 0, sum = 0, squares = 0;
    for (const auto& [s, j] : scores) total += std::exp(-s);
    size_t kept = scores.size();
    if (rule.keys > 0) {
      kept = std::min(kept, static_cast<size_t>(rule.keys));
    } else if (rule.mass > 0 && !scores.empty()) {
      double reached = 0;
      for (kept = 0; kept < scores.size() && (kept == 0 || reached / total < rule.mass - 1e-12);)
        reached += std::exp(-scores[kept++].first);
    }
    for (size_t n = 0; n < kept; ++n) sum += std::exp(-scores[n].first), squares += std::exp(-2 * scores[n].first);
    for (size_t n = 0; n < kept; ++n) all.weights[static_cast<size_t>(i * c.keys + scores[n].second)] = std::exp(-scores[n].first) / sum;
    all.logSumExp.push_back(kept > 0 ? std::log(sum) : -INFINITY), all.logSumSquares.push_back(kept > 0 ? std::log(squares) : -INFINITY);
    all.kept += static_cast<double>(kept);
  }
  return all;
}

std::string nameOfRule(const MaskCase& c, const KeyChoice& rule) {
  std::ostringstream name;
  name << c.name << ' ' << c.queries << ' ' << c.keys << ' ' << c.keyWidth << ' ' << c.valueWidth;
  if (rule.keys > 0) name << " keys " << rule.keys;
  if (rule.mass > 0) name << " mass " << rule.mass;
  return name.str();
}

struct ChosenCase {
  explicit ChosenCase(const MaskCase& c)
      : query(randomMatrix(c.queries, c.keyWidth + 2, 111, c.spread)),
        key(randomMatrix(c.keys, c.keyWidth + 1, 112, c.spread)),
        value(randomMatrix(c.keys, c.valueWidth + 1, 113)),
        seen(seenKeys(c)),
        head{query.view().colsFrom(1, c.keyWidth),
             key.view().colsFrom(1, c.keyWidth),
             value.view().colsFrom(0, c.valueWidth),
             0.25,
             c.softcap,
             c.slope,
             0} {}
  Matrix query, key, value;
  RangeList seen;
  MaskedHead head;
};

OpCheck checkChosen(Backend& backend, const MaskCase& c, KeyChoice rule) {
  OpCheck check{Op::ChosenAttention, "chosen attention " + nameOfRule(c, rule), 0, 5e-6};
  const ChosenCase in(c);
  rule.seen = &in.seen;
  Matrix wide(c.queries, c.valueWidth + 3);
  std::fill_n(wide.data(), wide.size(), std::nanf(""));
  const MatrixView out = wide.view().colsFrom(2, c.valueWidth);
  const ChosenRows got = backend.chosenAttention(in.head, rule, out, Job()), alone = backend.chosenAttention(in.head, rule, {}, Job());
  const NaiveChosen expected = naiveChosen(in.head, c, rule);
  if (got.kept != expected.kept || alone.logSumExp != got.logSumExp || alone.kept != got.kept) check.difference = INFINITY;
  for (int64_t i = 0; i < c.queries; ++i) {
    const auto at = static_cast<size_t>(i);
    for (const auto& [found, wanted] :
         {std::pair{got.logSumExp[at], expected.logSumExp[at]}, {got.logSumSquares[at], expected.logSumSquares[at]}}) {
      if (std::isinf(wanted) != std::isinf(found)) check.isMaskExact = false;
      if (std::isfinite(wanted)) check.difference = std::max(check.difference, std::abs(found - wanted) / std::max(2.0, std::abs(wanted)));
    }
    for (int64_t x = 0; x < c.valueWidth; ++x) {
      double want = 0;
      for (int64_t j = 0; j < c.keys; ++j) want += expected.weights[static_cast<size_t>(i * c.keys + j)] * in.head.value(j, x);
      if (!std::isfinite(out(i, x))) check.isFinite = false;
      if (std::isinf(expected.logSumExp[at]) && out(i, x) != 0.0f) check.isMaskExact = false;
      check.difference = std::max(check.difference, std::abs(out(i, x) - want) / 4);
    }
  }
  if (!(got.pairs >= got.kept) || !(got.keyRows >= 0)) check.difference = INFINITY;
  return check;
}

/// All cells of a level, of the whole map and of a part that begins inside it.
OpCheck checkChosenTile(Backend& backend, const MaskCase& c, KeyChoice rule, int64_t level, Pooling pooling) {
  OpCheck check{Op::ChosenTile, "chosen tile " + nameOfRule(c, rule) + " level " + std::to_string(level), 0, 5e-6};
  const ChosenCase in(c);
  const RangeList all = seenKeys(c);
  const int64_t side = int64_t{1} << level, across = (c.keys + side - 1) / side, down = (c.queries + side - 1) / side;
  rule.seen = &all;
  const NaiveChosen expected = naiveChosen(in.head, c, rule);
  for (const bool isPart : {false, true}) {
    TileRequest request{level, 0, down, 0, across, pooling};
    if (isPart) request.firstRow = down / 3, request.rows = (down + 2) / 3, request.firstCol = across / 4, request.cols = (across + 1) / 2;
    const int64_t first = request.firstRow * side, end = std::min(c.queries, (request.firstRow + request.rows) * side);
    MaskedHead part = in.head;
    part.query = in.head.query.rowsFrom(first, end - first), part.firstRow = first;
    RangeList seen;
    for (int64_t r = first; r < end; ++r) {
      for (size_t i = all.begin[static_cast<size_t>(r)]; i < all.begin[static_cast<size_t>(r) + 1]; ++i)
        seen.ranges.push_back(all.ranges[i]);
      seen.begin.push_back(seen.ranges.size());
    }
    rule.seen = &seen;
    const Matrix got = backend.chosenTile(part, rule, request, Job());
    if (got.rows() != request.rows || got.cols() != request.cols) check.difference = INFINITY;
    for (int64_t r = 0; r < got.rows(); ++r) {
      for (int64_t x = 0; x < got.cols(); ++x) {
        double cell = 0;
        const int64_t top = (request.firstRow + r) * side, left = (request.firstCol + x) * side, right = std::min(c.keys, left + side);
        for (int64_t i = top; i < std::min(c.queries, top + side); ++i) {
          for (int64_t j = left; j < right; ++j) {
            const double w = expected.weights[static_cast<size_t>(i * c.keys + j)];
            cell = pooling == Pooling::Mean ? cell + w : std::max(cell, w);
          }
        }
        const auto height = static_cast<double>(std::min(c.keys, top + side) - top);
        if (pooling == Pooling::Mean) cell /= height * static_cast<double>(right - left);
        if (!std::isfinite(got(r, x))) check.isFinite = false;
        if (cell == 0 && got(r, x) != 0.0f) check.isMaskExact = false;
        check.difference = std::max(check.difference, std::abs(got(r, x) - cell));
      }
    }
  }
  return check;
}

}  // namespace

std::vector<OpCheck> checkMasks(Backend& backend) {
  std::vector<OpCheck> all;
  for (const MaskCase& c : maskCases()) {
    if (isLeftOut(c.queries, 150)) continue;
    if (backend.supports(Op::MaskedAttention)) all.push_back(checkMask(backend, c));
    if (isLeftOut(c.queries * c.keys, 5000) || c.queries > 200) continue;  // a search bit by bit takes an emulation long
    for (const KeyChoice& rule : {KeyChoice{}, KeyChoice{nullptr, 5, 0}, KeyChoice{nullptr, 1000, 0}, KeyChoice{nullptr, 0, 0.7}}) {
      if (backend.supports(Op::ChosenAttention)) all.push_back(checkChosen(backend, c, rule));
      if (!backend.supports(Op::ChosenTile) || c.queries != c.keys || rule.keys > 5) continue;
      all.push_back(checkChosenTile(backend, c, rule, 0, Pooling::Max));
      all.push_back(checkChosenTile(backend, c, rule, 2, Pooling::Mean));
      all.push_back(checkChosenTile(backend, c, rule, 7, Pooling::Max));
    }
  }
  return all;
}

}  // namespace headscope::tests
