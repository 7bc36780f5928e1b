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

/// The matrix as both forms below work on it.
struct JacobiRows {
  double* x;  // [n, length], its rows
  double* y;  // [n, n], the rotations; or null
  int n, length;
  double tolerance;
};

/// Rows p and q, at `a` and `b`, made orthogonal by one group; true where they were not.
template <typename Group>
HEADSCOPE_HD bool turnRows(Group group, const JacobiRows& m, double* a, double* b, int p, int q) {
  double alpha = 0, beta = 0, gamma = 0;
  for (int i = group.lane(); i < m.length; i += group.size()) alpha += a[i] * a[i], beta += b[i] * b[i], gamma += a[i] * b[i];
  alpha = group.sum(alpha), beta = group.sum(beta), gamma = group.sum(gamma);
  const Rotation r = rotationFor(alpha, beta, gamma, m.tolerance);
  if (!r.isNeeded) return false;
  const auto turn = [&](double* u, double* v, int count) {
    for (int i = group.lane(); i < count; i += group.size()) {
      const double s = u[i], t = v[i];
      u[i] = r.cosine * s - r.sine * t;
      v[i] = r.sine * s + r.cosine * t;
    }
  };
  turn(a, b, m.length);
  if (m.y != nullptr) turn(m.y + p * m.n, m.y + q * m.n, m.n);
  return true;
}

/// One sweep over all pairs of rows; true where a pair was turned.
template <typename Team>
HEADSCOPE_HD bool sweepRows(Team& team, const JacobiRows& m) {
  const int even = m.n + (m.n & 1);  // with an odd number one row rests each round
  bool isAny = false;
  for (int round = 0; round < even - 1; ++round) {
    const bool isTurned = team.forEachGroup(even / 2, [&](auto group, int lane) {
      const RowPair pair = tournamentPair(even, round, lane);
      return pair.q < m.n && turnRows(group, m, m.x + pair.p * m.length, m.x + pair.q * m.length, pair.p, pair.q);
    });
    isAny = isAny || isTurned;
  }
  return isAny;
}

/// The same where only some rows fit in the team's own memory, `buffer` of `held` rows (two at least): blocks of half as many meet two by
/// two, every pair of their rows among themselves, before they go back.
template <typename Team>
HEADSCOPE_HD bool sweepBlocks(Team& team, const JacobiRows& m, double* buffer, int held) {
  const int size = held / 2, blocks = (m.n + size - 1) / size;
  bool isAny = false;
  for (int i = 0; i < blocks; ++i) {
    for (int j = i + 1; j < blocks; ++j) {
      const int first = i * size, second = j * size, others = m.n - second < size ? m.n - second : size, rows = size + others;
      const auto rowOf = [&](int r) { return r < size ? first + r : second + r - size; };
      team.forEach(rows * m.length, [&](int e) { buffer[e] = m.x[rowOf(e / m.length) * m.length + e % m.length]; });
      bool isTurned = false;
      const auto meet = [&](auto group, int p, int q) {
        return turnRows(group, m, buffer + p * m.length, buffer + q * m.length, rowOf(p), rowOf(q));
      };
      // Within a block once a sweep: where it first meets its neighbour
      const bool isWhole = j == i + 1 && (i % 2 == 0 || j == blocks - 1);
      const int even = rows + (rows & 1), rounds = isWhole ? even - 1 : size;
      for (int round = 0; round < rounds; ++round) {
        const bool isThis = team.forEachGroup(isWhole ? even / 2 : size, [&](auto group, int lane) {
          if (isWhole) {
            const RowPair pair = tournamentPair(even, round, lane);
            return pair.q < rows && meet(group, pair.p, pair.q);
          }
          const int other = (lane + round) % size;
          return other < others && meet(group, lane, size + other);
        });
        isTurned = isTurned || isThis;
      }
      if (isTurned) team.forEach(rows * m.length, [&](int e) { m.x[rowOf(e / m.length) * m.length + e % m.length] = buffer[e]; });
      isAny = isAny || isTurned;
    }
  }
  return isAny;
}

/// x [n, length] row-major, n <= length: on return its rows are orthogonal and sigma [n] their norms, in no order. y [n, n] or
/// null: the rotations, so that y (x as it was) = x as it is. False when it has not converged. All threads of the team call it.
/// Numbers that are not finite give sigma that is not, at once. buffer: memory of the team's own for `held` rows of x, where x itself is
/// further away; null: none.
template <typename Team>
HEADSCOPE_HD bool orthogonaliseRows(Team& team, double* x, int n, int length, double* y, double* sigma, double* buffer = nullptr,
                                    int held = 0) {
  // Powers of two keep squares inside the range of double.
  const double top = team.max(n * length, [&](int i) { return x[i] < 0 ? -x[i] : x[i]; });
  const int shift = top > 0 && top <= 1.7e308 ? ilogb(top) : 0;
  team.forEach(n * length, [&](int i) { x[i] = ldexp(x[i], -shift); });
  if (y != nullptr) team.forEach(n * n, [&](int i) { y[i] = i / n == i % n ? 1.0 : 0.0; });
  const JacobiRows rows{x, y, n, length, 2.2e-16 * (8 + sqrt(static_cast<double>(length)))};
  const bool isInBlocks = buffer != nullptr && held >= 2 && held < n + (n & 1);
  bool isDone = false;
  for (int sweep = 0; sweep < kMostSweeps && !isDone; ++sweep)
    isDone = !(isInBlocks ? sweepBlocks(team, rows, buffer, held) : sweepRows(team, rows));
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
