#pragma once
// One-sided Jacobi (Hestenes 1958; de Rijk 1989 for the order): rotates pairs of columns until all are orthogonal; the singular
// values are then the columns' norms. Works on small cores that fit in shared memory.
#include <cmath>

#include "gpu/arithmetic/host_device.h"

namespace headscope::gpu {

template <typename T>
struct Rotation {
  T cosine, sine;
  bool isNeeded;
};

/// The rotation that makes columns p and q orthogonal, from alpha = |p|^2, beta = |q|^2, gamma = p.q. Not needed once
/// |gamma| <= tolerance sqrt(alpha beta).
template <typename T>
HEADSCOPE_HD Rotation<T> rotationFor(T alpha, T beta, T gamma, T tolerance) {
  const T bound = tolerance * sqrt(alpha) * sqrt(beta);
  const T size = gamma < T(0) ? -gamma : gamma;
  if (!(size > bound) || size == T(0)) return {T(1), T(0), false};
  const T zeta = (beta - alpha) / (T(2) * gamma);
  const T magnitude = zeta < T(0) ? -zeta : zeta;
  // For huge zeta, zeta^2 would overflow: tan is then 1 / (2 zeta).
  const T tangent = (zeta < T(0) ? T(-1) : T(1)) / (magnitude > T(1e15) ? T(2) * magnitude : magnitude + sqrt(T(1) + zeta * zeta));
  const T cosine = T(1) / sqrt(T(1) + tangent * tangent);
  return {cosine, cosine * tangent, true};
}

/// The pair that lane `lane` of round `round` works on, in a round-robin tournament of n columns (n even): every pair meets
/// once in n - 1 rounds and no column is used twice in a round.
struct ColumnPair {
  int p, q;
};
HEADSCOPE_HD ColumnPair tournamentPair(int n, int round, int lane) {
  const int m = n - 1;
  const int a = lane == 0 ? n - 1 : (round + lane) % m;
  const int b = lane == 0 ? round % m : (round + m - lane) % m;
  return a < b ? ColumnPair{a, b} : ColumnPair{b, a};
}

}  // namespace headscope::gpu
