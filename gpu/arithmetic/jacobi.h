#pragma once
// One-sided Jacobi (Hestenes 1958): rotates pairs of rows until all are orthogonal; the singular values are then the rows' norms.
// In double throughout: values are right to a few units of rounding of the largest, small ones relative to themselves.
#include <cmath>

#include "gpu/arithmetic/host_device.h"

namespace headscope::gpu {

struct Rotation {
  double cosine, sine;
  bool isNeeded;
};

/// The rotation that makes vectors p and q orthogonal, from alpha = |p|^2, beta = |q|^2, gamma = p.q. Not needed once
/// |gamma| <= tolerance sqrt(alpha beta), nor where a number is not finite.
HEADSCOPE_HD Rotation rotationFor(double alpha, double beta, double gamma, double tolerance) {
  const double bound = tolerance * sqrt(alpha) * sqrt(beta);
  const double size = gamma < 0 ? -gamma : gamma;
  if (!(size > bound) || size == 0) return {1, 0, false};
  const double zeta = (beta - alpha) / (2 * gamma);
  const double magnitude = zeta < 0 ? -zeta : zeta;
  // For huge zeta, zeta^2 would overflow: tan is then 1 / (2 zeta).
  const double tangent = (zeta < 0 ? -1.0 : 1.0) / (magnitude > 1e15 ? 2 * magnitude : magnitude + sqrt(1 + zeta * zeta));
  const double cosine = 1 / sqrt(1 + tangent * tangent);
  return {cosine, cosine * tangent, true};
}

/// The pair that lane `lane` of round `round` works on, in a round-robin tournament of n rows (n even): every pair meets
/// once in n - 1 rounds and no row is used twice in a round.
struct RowPair {
  int p, q;
};
HEADSCOPE_HD RowPair tournamentPair(int n, int round, int lane) {
  const int m = n - 1;
  const int a = lane == 0 ? n - 1 : (round + lane) % m;
  const int b = lane == 0 ? round % m : (round + m - lane) % m;
  return a < b ? RowPair{a, b} : RowPair{b, a};
}

inline constexpr int kMostSweeps = 48;

/// x [n, length] row-major, n <= length: on return its rows are orthogonal and sigma [n] their norms, in no order. y [n, n] or
/// null: the rotations, so that y (x as it was) = x as it is. False when it has not converged. All threads of the team call it.
/// Numbers that are not finite give sigma that is not, at once.
template <typename Team>
HEADSCOPE_HD bool orthogonaliseRows(Team& team, double* x, int n, int length, double* y, double* sigma) {
  // Powers of two keep squares inside the range of double.
  const double top = team.max(n * length, [&](int i) { return x[i] < 0 ? -x[i] : x[i]; });
  const int shift = top > 0 && top <= 1.7e308 ? ilogb(top) : 0;
  team.forEach(n * length, [&](int i) { x[i] = ldexp(x[i], -shift); });
  if (y != nullptr) team.forEach(n * n, [&](int i) { y[i] = i / n == i % n ? 1.0 : 0.0; });
  const int even = n + (n & 1);  // with an odd number one row rests each round
  const double tolerance = 2.2e-16 * (8 + sqrt(static_cast<double>(length)));
  bool isDone = false;
  for (int sweep = 0; sweep < kMostSweeps && !isDone; ++sweep) {
    isDone = true;
    for (int round = 0; round < even - 1; ++round) {
      const bool isTurned = team.forEachGroup(even / 2, [&](auto group, int lane) {
        const RowPair pair = tournamentPair(even, round, lane);
        if (pair.q >= n) return false;
        double *p = x + pair.p * length, *q = x + pair.q * length;
        double alpha = 0, beta = 0, gamma = 0;
        for (int i = group.lane(); i < length; i += group.size()) alpha += p[i] * p[i], beta += q[i] * q[i], gamma += p[i] * q[i];
        alpha = group.sum(alpha), beta = group.sum(beta), gamma = group.sum(gamma);
        const Rotation r = rotationFor(alpha, beta, gamma, tolerance);
        if (!r.isNeeded) return false;
        const auto turn = [&](double* a, double* b, int count) {
          for (int i = group.lane(); i < count; i += group.size()) {
            const double u = a[i], v = b[i];
            a[i] = r.cosine * u - r.sine * v;
            b[i] = r.sine * u + r.cosine * v;
          }
        };
        turn(p, q, length);
        if (y != nullptr) turn(y + pair.p * n, y + pair.q * n, n);
        return true;
      });
      if (isTurned) isDone = false;
    }
  }
  team.forEachGroup(n, [&](auto group, int row) {
    double squares = 0;
    for (int i = group.lane(); i < length; i += group.size()) squares += x[row * length + i] * x[row * length + i];
    squares = group.sum(squares);
    if (group.isFirst()) sigma[row] = ldexp(sqrt(squares), shift);
    return false;
  });
  team.forEach(n * length, [&](int i) { x[i] = ldexp(x[i], shift); });
  return isDone;
}

}  // namespace headscope::gpu
