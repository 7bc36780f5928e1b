#include "core/weights/spectrum.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace headscope::core {
namespace {

bool allFinite(std::span<const double> sigma) {
  return std::all_of(sigma.begin(), sigma.end(), [](double s) { return std::isfinite(s); });
}

double energy(std::span<const double> sigma) {
  double sum = 0;
  for (size_t i = sigma.size(); i-- > 0;) sum += sigma[i] * sigma[i];  // small ones first
  return sum;
}

}  // namespace

int64_t Spectrum::signal() const {
  return std::count_if(sigma.begin(), sigma.end(), [this](double s) { return s > noise; });
}

int64_t effectiveRank(std::span<const double> sigma, double epsilon) {
  if (!allFinite(sigma)) return -1;
  const double total = energy(sigma);
  if (total <= 0) return 0;
  // Summed from the small end: the tail that may be dropped.
  double tail = 0;
  int64_t r = static_cast<int64_t>(sigma.size());
  while (r > 0) {
    const double s = sigma[static_cast<size_t>(r - 1)];
    tail += s * s;
    if (tail > epsilon * total) break;
    --r;
  }
  return r;
}

bool rankDependsOnNoise(const Spectrum& spectrum, double epsilon) {
  if (!spectrum.isFinite || spectrum.noise <= 0) return false;
  const double total = energy(spectrum.sigma);
  if (total <= 0) return false;
  double low = 0, high = 0;
  int64_t rLow = -1, rHigh = -1;  // ranks when every value of the tail is as small, and as large, as noise allows
  for (int64_t r = spectrum.count(); r > 0; --r) {
    const double s = spectrum.sigma[static_cast<size_t>(r - 1)];
    const double under = std::max(0.0, s - spectrum.noise), over = s + spectrum.noise;
    low += under * under;
    high += over * over;
    if (rHigh < 0 && high > epsilon * total) rHigh = r;
    if (rLow < 0 && low > epsilon * total) rLow = r;
  }
  return rLow != rHigh;
}

RankMeasures rankMeasures(std::span<const double> sigma) {
  RankMeasures m;
  m.effectiveAt1Percent = effectiveRank(sigma, 0.01);
  m.effectiveAt01Percent = effectiveRank(sigma, 0.001);
  if (!allFinite(sigma)) {
    m.stable = m.entropy = m.participation = m.frobenius = std::numeric_limits<double>::quiet_NaN();
    return m;
  }
  const double largest = sigma.empty() ? 0 : sigma.front();
  if (largest <= 0) return m;
  double s1 = 0, s2 = 0, s4 = 0, entropy = 0;
  for (double s : sigma) {
    const double t = s / largest;
    s1 += t, s2 += t * t, s4 += t * t * t * t;
  }
  for (double s : sigma) {
    const double p = s / largest / s1;
    if (p > 0) entropy -= p * std::log(p);
  }
  m.stable = s2;
  m.entropy = std::exp(entropy);
  m.participation = s2 * s2 / s4;
  m.frobenius = largest * std::sqrt(s2);
  return m;
}

std::vector<int64_t> nearEqualGroups(std::span<const double> sigma, double tolerance) {
  std::vector<int64_t> groups(sigma.size(), 0);
  for (size_t i = 1; i < sigma.size(); ++i) {
    const bool isNear = sigma[i - 1] - sigma[i] <= tolerance * sigma[0];
    groups[i] = groups[i - 1] + (isNear ? 0 : 1);
  }
  return groups;
}

PowerLaw fitPowerLaw(std::span<const double> sigma) {
  PowerLaw best;
  std::vector<double> x;  // eigenvalues, ascending
  for (double s : sigma) {
    if (std::isfinite(s) && s > 0) x.push_back(s * s);
  }
  std::sort(x.begin(), x.end());
  const size_t n = x.size();
  if (n < 10) return best;
  best.distance = std::numeric_limits<double>::infinity();
  best.xmax = x.back();
  double logSum = 0;  // of x[i..]
  for (double v : x) logSum += std::log(v);
  for (size_t i = 0; i + 5 <= n; ++i) {  // at least five values in the tail
    const double tail = static_cast<double>(n - i), spread = logSum - tail * std::log(x[i]);
    logSum -= std::log(x[i]);
    if (spread <= 0) continue;
    const double alpha = 1.0 + tail / spread;
    double distance = 0;
    for (size_t j = i; j < n; ++j) {
      const double model = 1.0 - std::pow(x[j] / x[i], 1.0 - alpha);
      distance = std::max(
          {distance, std::abs(model - static_cast<double>(j - i) / tail), std::abs(model - static_cast<double>(j - i + 1) / tail)});
    }
    if (distance < best.distance) {
      best = {alpha, x[i], x.back(), distance, static_cast<int64_t>(n - i), true};
    }
  }
  return best;
}

}  // namespace headscope::core
