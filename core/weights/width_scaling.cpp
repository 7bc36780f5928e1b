#include "core/weights/width_scaling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/base/job.h"
#include "core/weights/dense.h"
#include "core/weights/head_weights.h"
#include "core/weights/intruders.h"

namespace headscope::core {
namespace {

struct Role {
  const char* name;
  Linear AttentionWeights::*map;
};
constexpr Role kRoles[] = {{"W_Q", &AttentionWeights::query},        {"W_K", &AttentionWeights::key},
                           {"W_V", &AttentionWeights::value},        {"W_O", &AttentionWeights::output},
                           {"W_DQ", &AttentionWeights::queryDown},   {"W_UQ", &AttentionWeights::queryUp},
                           {"W_DKV", &AttentionWeights::latentDown}, {"W_KR", &AttentionWeights::ropeKey},
                           {"W_UK", &AttentionWeights::keyUp},       {"W_UV", &AttentionWeights::valueUp}};

double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

/// Slope of log y against log x by least squares.
double slopeOf(const std::vector<std::pair<double, double>>& points) {
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (const auto& [a, b] : points) {
    if (!(b > 0)) continue;
    const double u = std::log(a), v = std::log(b);
    n += 1, x += u, y += v, xx += u * u, xy += u * v;
  }
  const double spread = n * xx - x * x;
  return spread > 1e-12 * n * xx ? (n * xy - x * y) / spread : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

double NormPoint::mup() const { return std::sqrt(static_cast<double>(fanOut) / static_cast<double>(fanIn)); }
double NormPoint::standard() const { return std::sqrt(static_cast<double>(fanOut) * static_cast<double>(fanIn)); }

std::vector<NormPoint> normPoints(const Model& model, Job& job, Backend* backend) {
  std::vector<NormPoint> points;
  const int64_t layers = model.spec().layers;
  for (int64_t l = 0; l < layers; ++l) {
    job.report(static_cast<double>(l) / static_cast<double>(layers), model.name() + ", layer " + std::to_string(l));
    const AttentionWeights attention = model.attention(l);
    for (const Role& role : kRoles) {
      const Linear& linear = attention.*role.map;
      if (linear.empty()) continue;
      job.checkpoint();
      const Matrix w = decodeLinear(linear, 0, -1, &job);
      NormPoint p{model.name(), role.name, l, model.spec().width, w.cols(), w.rows()};
      p.frobenius = frobeniusNorm(w);
      p.spectral = std::isfinite(p.frobenius) ? spectralNorm(w, job, backend) : std::numeric_limits<double>::quiet_NaN();
      points.push_back(std::move(p));
    }
    releaseAttention(attention);
  }
  job.report(1.0);
  return points;
}

std::vector<WidthExponent> widthExponents(const std::vector<NormPoint>& points) {
  std::vector<WidthExponent> out;
  for (const Role& role : kRoles) {
    struct Sample {
      std::vector<double> spectral, mup, standard;
    };
    std::map<int64_t, Sample> byWidth;
    for (const NormPoint& p : points) {
      if (p.matrix != role.name) continue;
      Sample& s = byWidth[p.width];
      if (std::isfinite(p.spectral)) s.spectral.push_back(p.spectral);
      s.mup.push_back(p.mup()), s.standard.push_back(p.standard());
    }
    if (byWidth.empty()) continue;
    std::vector<std::pair<double, double>> spectral, mup, standard;
    for (const auto& [width, s] : byWidth) {
      const double x = static_cast<double>(width);
      spectral.emplace_back(x, median(s.spectral)), mup.emplace_back(x, median(s.mup)), standard.emplace_back(x, median(s.standard));
    }
    out.push_back({role.name, static_cast<int64_t>(byWidth.size()), slopeOf(spectral), slopeOf(mup), slopeOf(standard)});
  }
  return out;
}

}  // namespace headscope::core
