#pragma once
// The triangle R of a factor's thin QR by Householder's reflections, F^T = Q R: no squaring anywhere, so that values down to the rounding
// of double are right. For factors whose Gram matrix is too ill conditioned (triangle.h, second_triangle.h). In double, by one team.
// Reflectors are LAPACK's (dlarfg): H = 1 - tau v v^T with a leading 1 in v.
#include <cmath>

#include "gpu/arithmetic/host_device.h"
#include "gpu/arithmetic/triangle.h"

namespace headscope::gpu {

/// f [k, m] is overwritten by the reflectors' vectors; r [k, k] upper triangular, rows from m on zero. All threads get the same info:
/// state 1 where a number is not finite (r is then zero), else the factor's Frobenius norm and condition 1.
template <typename Team>
HEADSCOPE_HD TriangleInfo householderTriangle(Team& team, double* f, int k, int m, double* r) {
  const auto rowOf = [&](int i) { return f + static_cast<long long>(i) * m; };
  TriangleInfo info{1, 0, 0, 0};
  team.forEach(k * k, [&](int e) { r[e] = 0; });
  const bool isBroken = team.forEachGroup(k, [&](auto group, int i) {
    const double* row = rowOf(i);
    bool isAny = false;
    for (int c = group.lane(); c < m; c += group.size()) isAny = isAny || !(row[c] - row[c] == 0);
    return isAny;
  });
  if (isBroken) {
    info.state = 1;
    return info;
  }
  const int p = k < m ? k : m;
  for (int j = 0; j < p; ++j) {
    double* v = rowOf(j);
    const double head = v[j], squares = team.sum(m - j - 1, [&](int c) { return v[j + 1 + c] * v[j + 1 + c]; });
    team.barrier();  // all have read the head
    const double norm = sqrt(head * head + squares), beta = head < 0 ? norm : -norm;
    const bool isReflected = squares > 0;
    team.forEach(m - j, [&](int c) {
      if (c == 0) {
        r[j * k + j] = isReflected ? beta : head;
        v[j] = 1;
      } else if (isReflected) {
        v[j + c] /= head - beta;
      }
    });
    const double tau = isReflected ? (beta - head) / beta : 0;
    team.forEachGroup(k - j - 1, [&](auto group, int i) {
      double* row = rowOf(j + 1 + i);
      double along = 0;
      for (int c = j + group.lane(); c < m; c += group.size()) along += v[c] * row[c];
      along = tau * group.sum(along);
      for (int c = j + group.lane(); c < m; c += group.size()) row[c] -= along * v[c];
      return false;
    });
    team.forEach(k - j - 1, [&](int i) { r[j * k + j + 1 + i] = rowOf(j + 1 + i)[j]; });
  }
  info.norm = sqrt(team.sum(k * k, [&](int e) { return r[e] * r[e]; }));
  return info;
}

}  // namespace headscope::gpu
