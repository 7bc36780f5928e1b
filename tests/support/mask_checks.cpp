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

NaiveMasked naiveMasked(const MaskedHead& head, const MaskCase& c) {
  NaiveMasked all;
  const int64_t v = head.value.cols;
  all.out.assign(static_cast<size_t>(c.queries * v), 0.0);
  for (int64_t i = 0; i < c.queries; ++i) {
    Doubles scores(static_cast<size_t>(c.keys), -INFINITY);
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < c.keys; ++j) {
      if (!c.sees(i, j)) continue;
      double s = 0;
      for (int64_t x = 0; x < head.key.cols; ++x) s += static_cast<double>(head.query(i, x)) * head.key(j, x);
      s *= head.scale;
      if (head.softcap > 0) s = head.softcap * std::tanh(s / head.softcap);
      s -= head.slope * std::abs(static_cast<double>(i + head.firstRow - j));
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

}  // namespace

std::vector<OpCheck> checkMasks(Backend& backend) {
  std::vector<OpCheck> all;
  for (const MaskCase& c : maskCases()) {
    if (backend.supports(Op::MaskedAttention) && !isLeftOut(c.queries, 150)) all.push_back(checkMask(backend, c));
  }
  return all;
}

}  // namespace headscope::tests
