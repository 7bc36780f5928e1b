#pragma once
// Cholesky-QR2 (Yamamoto, Nakatsukasa, Yanagisawa & Fukaya 2015): the triangle of a Gram matrix (triangle.h) is off by the square of its
// condition. With Q = R^-T F, whose rows are nearly orthonormal, and R_2 the triangle of Q Q^T, R_2 R is the factor's triangle to rounding
// as Householder's is, while that condition is below about 1e7. Beyond, callers take Householder's route. In double, by one team.
#include "gpu/arithmetic/host_device.h"
#include "gpu/arithmetic/triangle.h"

namespace headscope::gpu {

/// Conditions between which a second triangle is worth its time, and can be had.
inline constexpr double kRoughCondition = 1e3, kWorstCondition = 1e7;
HEADSCOPE_HD bool wantsSecondTriangle(const TriangleInfo& info) {
  return info.state == 0 && info.shift == 0 && info.condition > kRoughCondition && info.condition < kWorstCondition;
}

/// f [k, m] becomes Q; r [k, k] from first to second triangle; g, second [k, k] scratch. False, and r as it was, where Q came out too far
/// from orthonormal. All threads of the team call it.
template <typename Team>
HEADSCOPE_HD bool secondTriangle(Team& team, double* f, int k, int m, double* r, double* g, double* second) {
  team.forEach(m, [&](int c) {  // R^T q = f, column by column
    for (int i = 0; i < k; ++i) {
      double sum = f[static_cast<long long>(i) * m + c];
      for (int j = 0; j < i; ++j) sum -= r[j * k + i] * f[static_cast<long long>(j) * m + c];
      f[static_cast<long long>(i) * m + c] = sum / r[i * k + i];
    }
  });
  team.forEachGroup(k * k, [&](auto group, int e) {
    const int i = e / k, j = e % k;
    if (j < i) return false;
    const double *a = f + static_cast<long long>(i) * m, *b = f + static_cast<long long>(j) * m;
    double sum = 0;
    for (int c = group.lane(); c < m; c += group.size()) sum += a[c] * b[c];
    sum = group.sum(sum);
    if (group.isFirst()) g[i * k + j] = g[j * k + i] = sum;
    return false;
  });
  const double apart = team.max(k * k, [&](int e) {
    const double off = g[e] - (e / k == e % k ? 1.0 : 0.0);
    return off < 0 ? -off : off;
  });
  if (!(apart * k < 0.5)) return false;  // the same for all threads; NaN too
  if (!tryTriangle(team, g, k, 0.0, second)) return false;
  team.barrier();
  team.forEach(k * k, [&](int e) {
    const int i = e / k, j = e % k;
    double sum = 0;
    for (int c = i; c <= j; ++c) sum += second[i * k + c] * r[c * k + j];
    g[e] = sum;
  });
  team.forEach(k * k, [&](int e) { r[e] = g[e]; });
  return true;
}

}  // namespace headscope::gpu
