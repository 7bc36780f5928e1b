#include "core/weights/lora_decompositions.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/backend/backend.h"

namespace headscope::core {
namespace {

constexpr double kEpsilons[] = {0.01, 0.001};

FactorCore completed(const FactorCore& core) { return core.triangle.rows > 0 ? core : factorCore(core.gram, core.width); }

}  // namespace

GramBasis gramBasis(const DoubleMatrix& g) {
  DoubleMatrix vectors;
  const std::vector<double> values = symmetricEigen(g, vectors);
  int64_t rank = 0;
  while (rank < g.rows && values[static_cast<size_t>(rank)] > 0 && values[static_cast<size_t>(rank)] > 1e-12 * values[0]) ++rank;
  GramBasis b{DoubleMatrix(rank, g.rows), DoubleMatrix(rank, g.rows)};
  for (int64_t r = 0; r < rank; ++r) {
    const double root = std::sqrt(values[static_cast<size_t>(r)]);
    for (int64_t c = 0; c < g.rows; ++c) b.turn(r, c) = vectors(r, c) / root, b.reverse(r, c) = vectors(r, c) * root;
  }
  return b;
}

std::vector<Spectrum> LoraDecompositions::fused(std::span<const CorePair> pairs) {
  if (step_ == Step::Here) return fusedHere(pairs);
  std::vector<Spectrum> spectra;
  for (const CorePair& p : pairs) spectra.push_back(fusedExactly(*p.left, *p.right));
  return spectra;
}

std::vector<Spectrum> LoraDecompositions::fusedHere(std::span<const CorePair> pairs) {
  std::vector<Spectrum> spectra = fusedFromGrams(pairs);
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (!needsHouseholder(spectra[i], kEpsilons)) continue;
    const FactorCore l = completed(*pairs[i].left), r = completed(*pairs[i].right);
    spectra[i] = fusedSpectrum(l, r, nullptr, CoreValues::Eigen);
    if (needsHouseholder(spectra[i], kEpsilons)) spectra[i] = fusedSpectrum(l, r);
  }
  return spectra;
}

Spectrum LoraDecompositions::fusedExactly(const FactorCore& first, const FactorCore& second, const DoubleMatrix* middle) {
  const FactorCore left = completed(first), right = completed(second);
  if (step_ == Step::Here || !left.isFinite || !right.isFinite) return fusedSpectrum(left, right, middle);
  // L^T M R = Q_l (R_l M R_r^T) Q_r^T
  Spectrum s;
  s.sigma = values(multiplyTransposed(middle != nullptr ? multiply(left.triangle, *middle) : left.triangle, right.triangle));
  s.sigma.resize(static_cast<size_t>(std::min(std::min(left.rank(), right.rank()), std::min(left.width, right.width))));
  if (step_ == Step::Read) s.noise = fusedNoise(s.largest(), left.condition, right.condition, left.norm, right.norm);
  return s;
}

SmallSvd LoraDecompositions::svd(DoubleMatrix core) {
  return step_ == Step::Here ? smallSvd(std::move(core)) : noted(std::move(core), true);
}

std::vector<double> LoraDecompositions::values(DoubleMatrix core) {
  return step_ == Step::Here ? singularValues(std::move(core)) : noted(std::move(core), false).sigma;
}

GramBasis LoraDecompositions::basis(const DoubleMatrix& gram) {
  if (step_ == Step::Read) return std::move(bases_[nextBasis_++]);
  GramBasis b = gramBasis(gram);
  if (step_ == Step::Note) bases_.push_back(b);
  return b;
}

SmallSvd LoraDecompositions::noted(DoubleMatrix core, bool withVectors) {
  if (step_ == Step::Read) return std::move(noted_[nextNoted_++].found);
  const int64_t rank = std::min(core.rows, core.cols);
  SmallSvd zeros{std::vector<double>(static_cast<size_t>(rank), 0.0), {}, {}};
  if (withVectors) zeros.left = DoubleMatrix(rank, core.rows), zeros.right = DoubleMatrix(rank, core.cols);
  noted_.push_back({std::move(core), withVectors, {}});
  return zeros;
}

void LoraDecompositions::compute(std::span<LoraDecompositions> all, Backend& backend, const Job& job) {
  for (const bool withVectors : {false, true}) {
    std::vector<DoubleMatrix> cores;
    std::vector<Noted*> from;
    for (LoraDecompositions& one : all) {
      for (Noted& n : one.noted_) {
        if (n.withVectors == withVectors) cores.push_back(std::move(n.core)), from.push_back(&n);
      }
    }
    if (cores.empty()) continue;
    std::vector<SmallSvd> found = backend.smallSvds(cores, withVectors, job);
    for (size_t i = 0; i < from.size(); ++i) from[i]->found = std::move(found[i]);
  }
  for (LoraDecompositions& one : all) one.step_ = Step::Read;
}

}  // namespace headscope::core
