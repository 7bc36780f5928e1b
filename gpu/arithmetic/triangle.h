#pragma once
// The triangle R of a factor's thin QR from its Gram matrix G = F F^T = R^T R, with what the error bounds of the Gram route need:
// how well conditioned R is, the factor's norm, and what had to be added to the diagonal. As core/weights/dense.cpp and
// factored_matrix.cpp do it, in double, by one team.
#include <cmath>

#include "gpu/arithmetic/host_device.h"

namespace headscope::gpu {

struct TriangleInfo {
  double condition;  // 1-norm condition of R; infinite where G is zero or was shifted
  double norm;       // of the factor: its largest singular value, estimated from below
  double shift;      // added to G's diagonal
  int state;         // 0: right, 1: not finite, 2: no factor was found
};

/// One attempt at R from G + shift I. False where a pivot is not positive.
template <typename Team>
HEADSCOPE_HD bool tryTriangle(Team& team, const double* g, int k, double shift, double* r) {
  team.forEach(k * k, [&](int e) {
    const int i = e / k, j = e % k;
    r[e] = j < i ? 0.0 : g[e] + (i == j ? shift : 0.0);
  });
  for (int j = 0; j < k; ++j) {
    const double pivot = r[j * k + j];
    if (!(pivot > 0)) return false;  // the same for all threads
    const double root = sqrt(pivot);
    team.barrier();  // all have read the pivot
    team.forEach(k - j, [&](int c) { r[j * k + j + c] = c == 0 ? root : r[j * k + j + c] / root; });
    const int rest = k - j - 1;
    team.forEach(rest * rest, [&](int e) {
      const int i = j + 1 + e / rest, c = j + 1 + e % rest;
      if (c >= i) r[i * k + c] -= r[j * k + i] * r[j * k + c];
    });
  }
  return true;
}

/// ||R||_1 ||R^-1||_1; inverse [k, k] is scratch.
template <typename Team>
HEADSCOPE_HD double triangleCondition(Team& team, const double* r, int k, double* inverse) {
  team.forEach(k, [&](int j) {  // column j of the inverse, from below: R x = e_j
    inverse[j * k + j] = 1 / r[j * k + j];
    for (int i = j - 1; i >= 0; --i) {
      double sum = 0;
      for (int c = i + 1; c <= j; ++c) sum += r[i * k + c] * inverse[c * k + j];
      inverse[i * k + j] = -sum / r[i * k + i];
    }
  });
  const auto norm = [&](const double* a) {
    return team.max(k, [&](int j) {
      double sum = 0;
      for (int i = 0; i <= j; ++i) sum += a[i * k + j] < 0 ? -a[i * k + j] : a[i * k + j];
      return sum;
    });
  };
  const double own = norm(r);
  return own * norm(inverse);
}

/// Largest eigenvalue of G by power steps from its heaviest row; x, y [k] are scratch.
template <typename Team>
HEADSCOPE_HD double largestEigenvalue(Team& team, const double* g, int k, double* x, double* y) {
  int heaviest = 0;  // every thread finds the same
  for (int i = 1; i < k; ++i) heaviest = g[i * k + i] > g[heaviest * k + heaviest] ? i : heaviest;
  team.forEach(k, [&](int i) { x[i] = g[heaviest * k + i]; });
  double value = 0;
  for (int step = 0; step < 12; ++step) {
    const double norm = sqrt(team.sum(k, [&](int i) { return x[i] * x[i]; }));
    if (!(norm > 0)) return value;
    team.forEach(k, [&](int i) { x[i] /= norm; });
    team.forEachGroup(k, [&](auto group, int i) {
      double sum = 0;
      for (int c = group.lane(); c < k; c += group.size()) sum += g[i * k + c] * x[c];
      sum = group.sum(sum);
      if (group.isFirst()) y[i] = sum;
      return false;
    });
    value = team.sum(k, [&](int i) { return x[i] * y[i]; });
    team.forEach(k, [&](int i) { x[i] = y[i]; });
  }
  return value;
}

/// r [k, k] upper triangular from g [k, k]; g is scratch afterwards. x, y [k] scratch. All threads get the same info.
template <typename Team>
HEADSCOPE_HD TriangleInfo triangleOf(Team& team, double* g, int k, double* r, double* x, double* y) {
  TriangleInfo info{INFINITY, 0, 0, 0};
  const auto clear = [&] { team.forEach(k * k, [&](int e) { r[e] = 0; }); };
  if (team.any(k * k, [&](int e) { return !(g[e] - g[e] == 0); })) {
    info.state = 1;
    clear();
    return info;
  }
  const double largest = team.max(k, [&](int i) { return g[i * k + i]; });
  if (!(largest > 0)) {
    clear();
    return info;
  }
  // A semi-definite or noisy G is shifted by the least multiple of its rounding error that makes it definite.
  while (!tryTriangle(team, g, k, info.shift, r)) {
    team.barrier();
    info.shift = info.shift == 0 ? 2e-16 * largest * sqrt(static_cast<double>(k)) : 4 * info.shift;
    if (info.shift > largest) {
      info.state = 2;
      clear();
      return info;
    }
  }
  info.norm = sqrt(largestEigenvalue(team, g, k, x, y));
  if (info.shift == 0) info.condition = triangleCondition(team, r, k, g);
  return info;
}

}  // namespace headscope::gpu
