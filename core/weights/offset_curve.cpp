#include "core/weights/offset_curve.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/layer_factors.h"

namespace headscope::core {

std::vector<int64_t> sampledOffsets(int64_t last, int64_t most) {
  std::vector<int64_t> offsets;
  if (last < 0 || most < 1) return offsets;
  if (last < most) {
    for (int64_t n = 0; n <= last; ++n) offsets.push_back(n);
    return offsets;
  }
  // n(i) = a (e^(b i) - 1) from 0 to last: the first step is 1, so b solves (e^(b (most - 1)) - 1) / (e^b - 1) = last.
  double low = 0, high = 50;
  for (int step = 0; step < 200; ++step) {
    const double b = (low + high) / 2;
    (std::expm1(b * static_cast<double>(most - 1)) / std::expm1(b) > static_cast<double>(last) ? high : low) = b;
  }
  for (int64_t i = 0; i < most; ++i) {
    const auto n = static_cast<int64_t>(std::llround(std::expm1(high * static_cast<double>(i)) / std::expm1(high)));
    if (offsets.empty() || n > offsets.back()) offsets.push_back(std::min(n, last));
  }
  if (offsets.back() != last) offsets.back() = last;
  return offsets;
}

std::vector<OffsetCurve> offsetCurves(const Model& model, int64_t layer, const OffsetOptions& options, Job& job,
                                      const std::function<void(const std::vector<OffsetCurve>&)>& found) {
  const ModelSpec& spec = model.spec();
  std::vector<int64_t> offsets = options.offsets;
  std::sort(offsets.begin(), offsets.end());
  offsets.erase(std::unique(offsets.begin(), offsets.end()), offsets.end());
  if (offsets.empty()) offsets = {0};
  std::vector<MatrixPlan> plans;
  for (MatrixPlan& plan : matrixPlans(spec, offsets)) {
    if (plan.offset && plan.name.starts_with(options.matrix + "@")) plans.push_back(std::move(plan));
  }
  if (plans.empty()) throw Error("no matrix of this name depends on an offset", options.matrix, spec.mla ? "W_QK or W_QK_rope" : "W_QK");
  std::vector<int64_t> heads = options.heads;
  for (int64_t h = 0; options.heads.empty() && h < spec.heads; ++h) heads.push_back(h);
  for (const int64_t h : heads) {
    if (h < 0 || h >= spec.heads) throw Error("no head " + std::to_string(h), "layer " + std::to_string(layer));
  }
  job.report(0, "factors of layer " + std::to_string(layer));
  const LayerFactors factors(model, layer, options.fold, MlaSplit::Heads, plans, false, job, nullptr, false);
  std::optional<LayerFactors> exact;  // made when the Gram route can't settle a rank
  std::vector<OffsetCurve> curves;
  for (const int64_t h : heads) curves.push_back({layer, h, {}});
  constexpr double kEpsilons[] = {0.01, 0.001};
  // Several offsets at a time where the heads alone are too few for the pool.
  const int64_t H = static_cast<int64_t>(heads.size()), group = std::max<int64_t>(1, 16 / std::max<int64_t>(1, H));
  for (size_t first = 0; first < plans.size(); first += static_cast<size_t>(group)) {
    const int64_t count = std::min<int64_t>(group, static_cast<int64_t>(plans.size() - first));
    std::vector<Spectrum> spectra(static_cast<size_t>(count * H));
    parallelFor(
        count * H,
        [&](int64_t i) {
          const MatrixPlan& plan = plans[first + static_cast<size_t>(i / H)];
          spectra[static_cast<size_t>(i)] =
              std::move(factors.gramSpectra(plan, heads[static_cast<size_t>(i % H)], 1, factors.middle(plan).get()).front());
        },
        &job);
    for (int64_t i = 0; i < count * H; ++i) {
      const MatrixPlan& plan = plans[first + static_cast<size_t>(i / H)];
      Spectrum& s = spectra[static_cast<size_t>(i)];
      if (needsHouseholder(s, kEpsilons)) {
        if (!exact && (!factors.hasRows(plan) || factors.set(plan.left).through || factors.set(plan.right).through))
          exact.emplace(model, layer, options.fold, MlaSplit::Heads, plans, true, job);
        s = (exact ? *exact : factors).exactSpectrum(plan, heads[static_cast<size_t>(i % H)], factors.middle(plan).get());
        job.checkpoint();
      }
      curves[static_cast<size_t>(i % H)].points.push_back({*plan.offset, s.isFinite, rankMeasures(s.sigma)});
    }
    job.report(static_cast<double>(first + static_cast<size_t>(count)) / static_cast<double>(plans.size()),
               "offset " + std::to_string(*plans[first].offset));
    if (found) found(curves);
  }
  return curves;
}

}  // namespace headscope::core
