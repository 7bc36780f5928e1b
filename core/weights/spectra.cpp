#include "core/weights/spectra.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "core/backend/backend.h"
#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/content_hash.h"
#include "core/weights/input_statistics.h"
#include "core/weights/large_eigen.h"
#include "core/weights/large_svd.h"
#include "core/weights/layer_factors.h"

namespace headscope::core {
namespace {

struct WholePlan {
  std::string name;
  Matrix HeadWeights::*standard = nullptr;
  Matrix HeadWeights::Latent::*latent = nullptr;
  bool isDefault = false;
};

std::vector<WholePlan> wholePlans(const ModelSpec& spec) {
  using W = HeadWeights;
  using L = HeadWeights::Latent;
  if (!spec.mla) {
    return {{"whole_W_Q", &W::query}, {"whole_W_K", &W::key}, {"whole_W_V", &W::value}, {"whole_W_O", &W::output}};
  }
  std::vector<WholePlan> plans;
  if (spec.mla->queryRank > 0) plans.push_back({"W_DQ", nullptr, &L::queryDown, true});
  plans.push_back({"W_DKV", nullptr, &L::latentDown, true});
  plans.push_back({"W_KR", nullptr, &L::ropeKey, true});
  plans.push_back({"whole_W_UQ", nullptr, &L::queryUp});
  plans.push_back({"whole_W_UK", nullptr, &L::keyUp});
  plans.push_back({"whole_W_UV", nullptr, &L::valueUp});
  plans.push_back({"whole_W_O", &W::output, nullptr});
  return plans;
}

template <typename Plan>
std::vector<Plan> chosen(std::vector<Plan> plans, const std::vector<std::string>& names, bool (*isDefault)(const Plan&)) {
  std::erase_if(
      plans, [&](const Plan& p) { return names.empty() ? !isDefault(p) : std::find(names.begin(), names.end(), p.name) == names.end(); });
  return plans;
}

void checkNames(const ModelSpec& spec, const SpectraOptions& options) {
  const auto known = spectraNames(spec, options.offsets);
  for (const std::string& name : options.matrices) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string list;
    for (const std::string& k : known) list += (list.empty() ? "" : ", ") + k;
    throw Error("no matrix of this name in a " + spec.familyTitle + " model", name, "known here: " + list);
  }
}

/// Transposed where it is taller than wide: the Gram matrix is of the short side.
Spectrum wholeSpectrum(const Matrix& m, SpectrumRoute route, Backend* backend, const Job& job) {
  Matrix turned;
  ConstMatrixView view = m;
  if (m.rows() > m.cols()) {
    turned = Matrix(m.cols(), m.rows());
    for (int64_t r = 0; r < m.rows(); ++r) {
      for (int64_t c = 0; c < m.cols(); ++c) turned(c, r) = m(r, c);
    }
    view = turned;
  }
  const bool isFinite = std::all_of(m.data(), m.data() + m.size(), [](float v) { return std::isfinite(v); });
  if (route == SpectrumRoute::Householder) {
    if (!isFinite) return householderSpectrum(view);  // NaN all over
    Spectrum s;
    s.route = SpectrumRoute::Householder;
    s.sigma = backend != nullptr && backend->supports(Op::WholeSpectrum) ? backend->wholeSpectrum(view, route, job)
                                                                         : largeSingularValues(view, job);
    s.noise = 8 * std::numeric_limits<double>::epsilon() * s.largest();
    return s;
  }
  if (backend != nullptr && backend->supports(Op::WholeSpectrum) && isFinite) {
    Spectrum s;
    s.sigma = backend->wholeSpectrum(view, route, job);
    s.noise = factorNoise(s.largest(), s.sigma.empty() ? 0 : s.sigma.back());
    return s;
  }
  FactorCore core;
  core.width = view.cols;
  core.gram = gramTiled(view, &job);
  core.isFinite = std::all_of(core.gram.values.begin(), core.gram.values.end(), [](double v) { return std::isfinite(v); });
  if (!core.isFinite) return factorSpectrum(core);
  const int64_t count = std::min(view.rows, view.cols);
  return spectrumOfSquares(largeSymmetricEigenvalues(std::move(core.gram), job), count);
}

constexpr int64_t kTogether = 8;  // heads, at most: their values are found side by side

/// Heads of one matrix that are taken together.
struct Piece {
  size_t matrix;
  int64_t head, count = 1;
};

}  // namespace

const MatrixSpectra* LayerSpectra::find(const std::string& name) const {
  const auto it = std::find_if(matrices.begin(), matrices.end(), [&](const MatrixSpectra& m) { return m.name == name; });
  return it == matrices.end() ? nullptr : &*it;
}

std::vector<std::string> spectraNames(const ModelSpec& spec, const std::vector<int64_t>& offsets) {
  std::vector<std::string> names;
  for (const MatrixPlan& p : matrixPlans(spec, offsets)) names.push_back(p.name);
  for (const WholePlan& p : wholePlans(spec)) names.push_back(p.name);
  return names;
}

namespace {

/// The pieces' spectra on a backend, into out; returns notes on factors that are not finite.
std::vector<std::string> spectraOn(Backend& backend, const LayerFactors& factors, const std::vector<MatrixPlan>& plans,
                                   const std::vector<std::unique_ptr<const DoubleMatrix>>& middles, const std::vector<Piece>& pieces,
                                   SpectrumRoute route, LayerSpectra& out, const Job& job) {
  SpectraBatch batch;
  batch.route = route;
  std::vector<std::string> named;  // a note for every factor
  std::map<std::pair<std::string, int64_t>, int64_t> known;
  const auto factor = [&](const std::string& name, int64_t head) {
    const FactorSet& set = factors.set(name);
    const auto [at, isNew] = known.try_emplace({name, head}, static_cast<int64_t>(batch.factors.size()));
    if (isNew) {
      batch.factors.push_back({set.rows[static_cast<size_t>(head)], set.through.get()});
      named.push_back(LayerFactors::note(set, head));
    }
    return at->second;
  };
  for (const Piece& piece : pieces) {
    const MatrixPlan& plan = plans[piece.matrix];
    const bool isAlone = plan.right.empty();
    const int64_t left = factor(plan.left, isAlone ? piece.head : factors.indexIn(factors.set(plan.left), piece.head));
    const int64_t right = isAlone ? -1 : factor(plan.right, factors.indexIn(factors.set(plan.right), piece.head));
    batch.products.push_back({left, right, middles[piece.matrix].get()});
  }
  SpectraResult result = backend.spectra(batch, job);
  for (size_t i = 0; i < pieces.size(); ++i)
    out.matrices[pieces[i].matrix].heads[static_cast<size_t>(pieces[i].head)] = std::move(result.spectra[i]);
  std::set<std::string> notes;
  for (size_t i = 0; i < named.size(); ++i) {
    if (!result.isFinite[i]) notes.insert(named[i]);
  }
  return {notes.begin(), notes.end()};
}

LayerSpectra spectraThrough(const Model& model, int64_t layer, const SpectraOptions& options, const LayerInput* input, const Job& job) {
  checkNames(model.spec(), options);
  const auto plans =
      chosen<MatrixPlan>(matrixPlans(model.spec(), options.offsets), options.matrices, [](const MatrixPlan&) { return true; });
  const auto wholes = chosen<WholePlan>(wholePlans(model.spec()), options.matrices, [](const WholePlan& p) { return p.isDefault; });
  const bool isExact = options.route == SpectrumRoute::Householder;
  Backend* backend = options.backend.get();
  const bool isElsewhere = backend != nullptr && backend->supports(Op::Spectra);
  const bool hasWholeMaps = std::any_of(wholes.begin(), wholes.end(), [](const WholePlan& p) { return p.standard != nullptr; });
  const LayerFactors factors(model, layer, options.fold, options.split, plans, isExact, job, input, isElsewhere || hasWholeMaps,
                             !isElsewhere);

  LayerSpectra out;
  out.layer = layer;
  std::vector<std::unique_ptr<const DoubleMatrix>> middles;
  std::vector<Piece> pieces;
  for (size_t i = 0; i < wholes.size(); ++i) pieces.push_back({plans.size() + i, 0});  // the longest pieces first
  for (const MatrixPlan& plan : plans) {
    const int64_t heads = factors.headsOf(plan), step = isExact ? 1 : std::clamp<int64_t>(heads / (2 * threadCount()), 1, kTogether);
    for (int64_t h = 0; !isElsewhere && h < heads; h += step) pieces.push_back({out.matrices.size(), h, std::min(step, heads - h)});
    out.matrices.push_back({plan.name, std::vector<Spectrum>(static_cast<size_t>(factors.headsOf(plan))), false, {}});
    middles.push_back(factors.middle(plan));
  }
  for (const WholePlan& whole : wholes) out.matrices.push_back({whole.name, std::vector<Spectrum>(1), true, {}});

  std::mutex mutex;
  std::vector<Piece> coarse;  // pieces that the Gram route can't settle
  parallelFor(
      static_cast<int64_t>(pieces.size()),
      [&](int64_t i) {
        const auto [m, first, count] = pieces[static_cast<size_t>(i)];
        Spectrum& target = out.matrices[m].heads[static_cast<size_t>(first)];
        if (m >= plans.size()) {
          const WholePlan& whole = wholes[m - plans.size()];
          const HeadWeights& w = factors.weights();
          target = wholeSpectrum(whole.latent != nullptr ? (*w.latent).*whole.latent : w.*whole.standard, options.route, backend, job);
          // Gains were folded into these in float32.
          if (isExact && (w.isFolded || w.latent)) target.noise += 6e-8 * target.largest();
          out.matrices[m].tail = fitPowerLaw(target.sigma);
          return;
        }
        if (isExact) {
          target = factors.exactSpectrum(plans[m], first, middles[m].get());
          return;
        }
        std::vector<Spectrum> found = factors.gramSpectra(plans[m], first, count, middles[m].get());
        for (int64_t h = 0; h < count; ++h) {
          Spectrum& own = out.matrices[m].heads[static_cast<size_t>(first + h)] = std::move(found[static_cast<size_t>(h)]);
          if (!needsHouseholder(own, options.epsilons)) continue;
          std::lock_guard lock(mutex);
          coarse.push_back({m, first + h});
        }
      },
      &job);

  std::vector<std::string> notes;
  if (isElsewhere) {
    std::vector<Piece> all;
    for (size_t m = 0; m < plans.size(); ++m) {
      for (size_t h = 0; h < out.matrices[m].heads.size(); ++h) all.push_back({m, static_cast<int64_t>(h)});
    }
    notes = spectraOn(*backend, factors, plans, middles, all, options.route, out, job);
    std::copy_if(all.begin(), all.end(), std::back_inserter(coarse), [&](const Piece& p) {
      return !isExact && needsHouseholder(out.matrices[p.matrix].heads[static_cast<size_t>(p.head)], options.epsilons);
    });
  }

  std::optional<LayerFactors> exactFactors;
  const bool needsRows = std::any_of(coarse.begin(), coarse.end(), [&](const Piece& p) {
    const MatrixPlan& plan = plans[p.matrix];
    return !factors.hasRows(plan) || factors.set(plan.left).through || (!plan.right.empty() && factors.set(plan.right).through);
  });
  if (needsRows) exactFactors.emplace(model, layer, options.fold, options.split, plans, true, job, input);
  const LayerFactors& source = exactFactors ? *exactFactors : factors;
  if (isElsewhere && !coarse.empty()) {
    spectraOn(*backend, source, plans, middles, coarse, SpectrumRoute::Householder, out, job);
  } else {
    parallelFor(
        static_cast<int64_t>(coarse.size()),
        [&](int64_t i) {
          const auto [m, head, count] = coarse[static_cast<size_t>(i)];
          out.matrices[m].heads[static_cast<size_t>(head)] = source.exactSpectrum(plans[m], head, middles[m].get());
        },
        &job);
  }

  out.notes = isElsewhere ? std::move(notes) : factors.notes();
  return out;
}

}  // namespace

LayerSpectra layerSpectra(const Model& model, int64_t layer, const SpectraOptions& options, const Job& job) {
  return spectraThrough(model, layer, options, nullptr, job);
}

LayerSpectra weightedLayerSpectra(const Model& model, int64_t layer, const SpectraOptions& options, const LayerInput& input, const Job& job,
                                  std::vector<BiasShare>* shares) {
  if (options.fold == Fold::On) throw Error("weighted spectra take the norm's gain from the input: norms are not folded", model.name());
  if (shares != nullptr) *shares = biasShares(headWeights(model, layer, Fold::Off, options.split, {}, &job), input, options.matrices, job);
  return spectraThrough(model, layer, options, &input, job);
}

void eachLayerSpectra(const Model& model, const SpectraOptions& options, const DiskCache& cache, Job& job,
                      const std::function<void(LayerSpectra)>& done) {
  const ModelSpec& spec = model.spec();
  checkNames(spec, options);
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    job.report(static_cast<double>(layer) / static_cast<double>(spec.layers),
               "layer " + std::to_string(layer + 1) + " of " + std::to_string(spec.layers));
    job.checkpoint();
    std::string key;
    LayerSpectra spectra;
    if (cache.isOn()) {
      ContentHash hash = ContentHash::ofResult("spectra");
      addAttention(hash, model.attention(layer));
      if (options.fold == Fold::On) hash.add(model.attentionNorm(layer).gain);
      hash.add(static_cast<int>(options.fold)), hash.add(static_cast<int>(options.split)), hash.add(static_cast<int>(options.route));
      for (const int64_t n : {spec.heads, spec.kvHeads, spec.headWidth, spec.valueWidth, layer}) hash.add(n);
      for (const std::string& name : options.matrices) hash.add(std::string_view(name));
      hash.add(options.offsets), hash.add(options.epsilons), hash.add(spec.rope.frequencies), hash.add(spec.rope.isInterleaved);
      key = hash.text();
      const auto kept = cache.read(key);
      if (kept && parseSpectra(*kept, spectra) && spectra.layer == layer) {
        spectra.isFromCache = true;
        releaseAttention(model.attention(layer));  // which the key has read
        done(std::move(spectra));
        continue;
      }
    }
    spectra = layerSpectra(model, layer, options, job);
    if (cache.isOn()) cache.write(key, packSpectra(spectra));
    releaseAttention(model.attention(layer));
    done(std::move(spectra));
  }
  job.report(1.0);
}

}  // namespace headscope::core
