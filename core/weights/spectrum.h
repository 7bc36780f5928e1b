#pragma once
// Spectrum: the singular values of one matrix, how far down they are signal, and the scalars drawn from them.
//
// Values below `noise` are rounding, not weights: show and count only the first signal(). Energies are summed in double.
// Sources: effective rank at an energy (shared-subspaces 2025), stable rank and entropy rank (Roy & Vetterli 2007),
// participation ratio. A zero matrix has rank 0 by every measure; one with NaN or infinite entries has isFinite == false and
// NaN measures.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace headscope::core {

/// How singular values are found. Gram: factor Gram matrices accumulated in double, values right to 1e-6 of the largest.
/// Householder: thin QR in double, right to about 1e-14 of the largest, some ten times slower.
enum class SpectrumRoute { Gram, Householder };

struct Spectrum {
  std::vector<double> sigma;  // descending; all NaN when the matrix is not finite
  double noise = 0;           // absolute error bound of every value
  SpectrumRoute route = SpectrumRoute::Gram;
  bool isFinite = true;

  int64_t count() const { return static_cast<int64_t>(sigma.size()); }
  int64_t signal() const;  // values above noise
  double largest() const { return sigma.empty() ? 0.0 : sigma.front(); }
};

/// Smallest r with sum of the first r squares >= (1 - epsilon) of all; 0 for a zero matrix, -1 when not finite.
int64_t effectiveRank(std::span<const double> sigma, double epsilon);
/// True when values that are off by up to `noise` could give another effective rank.
bool rankDependsOnNoise(const Spectrum& spectrum, double epsilon);

/// Error bounds of the Gram route, for every implementation of it. kGramError: of the squared norm, what accumulating and
/// factoring a Gram matrix in double leaves.
inline constexpr double kGramError = 8 * std::numeric_limits<double>::epsilon();
/// Of a factor's own values. shift: what was added to the Gram matrix's diagonal.
inline double factorNoise(double largest, double smallest, double shift = 0) {
  const double error = std::max(kGramError * largest * largest, shift);
  return error > 0 ? std::min(std::sqrt(error), smallest > 0 ? error / smallest : std::sqrt(error)) : 0;
}
/// Of a product's: conditions and norms are those of the two factors.
inline double fusedNoise(double largest, double leftCondition, double rightCondition, double leftNorm, double rightNorm) {
  const double relative = kGramError * (leftCondition * leftCondition + rightCondition * rightCondition);
  const double absolute = 2 * std::sqrt(kGramError) * leftNorm * rightNorm;
  return std::min(absolute, relative * largest) + 4 * std::numeric_limits<double>::epsilon() * leftNorm * rightNorm;
}

struct RankMeasures {
  int64_t effectiveAt1Percent = 0, effectiveAt01Percent = 0;  // epsilon 0.01 and 0.001
  double stable = 0;                                          // sum s^2 / s_1^2
  double entropy = 0;                                         // exp(-sum p ln p), p = s / sum s
  double participation = 0;                                   // (sum s^2)^2 / sum s^4
  double frobenius = 0;
};
RankMeasures rankMeasures(std::span<const double> sigma);

/// Group index of each value: neighbours closer than tolerance times the largest share one (default: what is printed). The
/// singular vectors inside a group are any basis of it.
std::vector<int64_t> nearEqualGroups(std::span<const double> sigma, double tolerance = 1e-5);

/// Power-law fit to the eigenvalues s^2 of a whole matrix (Clauset, Shalizi, Newman 2009, as WeightWatcher uses it): the
/// lower end xmin that minimises the Kolmogorov-Smirnov distance, alpha by maximum likelihood above it.
struct PowerLaw {
  double alpha = 0, xmin = 0, xmax = 0, distance = 0;
  int64_t tail = 0;       // eigenvalues above xmin
  bool isFitted = false;  // false: fewer than 10 positive values
};
PowerLaw fitPowerLaw(std::span<const double> sigma);

}  // namespace headscope::core
