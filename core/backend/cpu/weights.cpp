// Operations on weights: the core's own decompositions, heads side by side.
#include <algorithm>
#include <cmath>

#include "core/backend/cpu/cpu_backend.h"
#include "core/base/parallel.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/large_svd.h"
#include "core/weights/pair_sums.h"
#include "core/weights/subspace.h"
#include "core/weights/table_product.h"

namespace headscope::core {
namespace {

SpectraResult exactSpectra(const SpectraBatch& batch, const Job& job) {
  std::vector<DoubleMatrix> factors(batch.factors.size());
  std::vector<char> isFinite(batch.factors.size());
  parallelFor(
      static_cast<int64_t>(factors.size()),
      [&](int64_t i) {
        const auto at = static_cast<size_t>(i);
        const FactorRows& f = batch.factors[at];
        const DoubleMatrix rows = DoubleMatrix::from(f.rows);
        factors[at] = f.through != nullptr ? multiplyTransposed(rows, *f.through) : rows;
        isFinite[at] = std::all_of(factors[at].values.begin(), factors[at].values.end(), [](double v) { return std::isfinite(v); });
      },
      &job);
  SpectraResult out;
  out.isFinite.assign(isFinite.begin(), isFinite.end());
  out.spectra.resize(batch.products.size());
  parallelFor(
      static_cast<int64_t>(batch.products.size()),
      [&](int64_t i) {
        const SpectraBatch::Product& p = batch.products[static_cast<size_t>(i)];
        const DoubleMatrix& left = factors[static_cast<size_t>(p.left)];
        out.spectra[static_cast<size_t>(i)] =
            p.right < 0 ? householderSpectrum(left) : householderSpectrum(left, factors[static_cast<size_t>(p.right)], p.middle);
      },
      &job);
  return out;
}

}  // namespace

SpectraResult CpuBackend::spectra(const SpectraBatch& batch, const Job& job) {
  if (batch.route == SpectrumRoute::Householder) return exactSpectra(batch, job);
  std::vector<FactorCore> cores(batch.factors.size());
  parallelFor(
      static_cast<int64_t>(cores.size()),
      [&](int64_t i) {
        const FactorRows& f = batch.factors[static_cast<size_t>(i)];
        FactorCore& core = cores[static_cast<size_t>(i)];
        if (f.through == nullptr) {
          core = factorCore(f.rows);
        } else {
          const DoubleMatrix rows = multiplyTransposed(DoubleMatrix::from(f.rows), *f.through);
          core = factorCore(multiplyTransposed(rows, rows), f.rows.cols);
        }
      },
      &job);
  SpectraResult out;
  for (const FactorCore& core : cores) out.isFinite.push_back(core.isFinite);
  out.spectra.resize(batch.products.size());
  parallelFor(
      static_cast<int64_t>(batch.products.size()),
      [&](int64_t i) {
        const SpectraBatch::Product& p = batch.products[static_cast<size_t>(i)];
        const FactorCore& left = cores[static_cast<size_t>(p.left)];
        out.spectra[static_cast<size_t>(i)] =
            p.right < 0 ? factorSpectrum(left) : fusedSpectrum(left, cores[static_cast<size_t>(p.right)], p.middle);
      },
      &job);
  return out;
}

std::vector<DoubleMatrix> CpuBackend::innerProducts(std::span<const FactorPair> pairs, const Job& job) {
  std::vector<DoubleMatrix> out(pairs.size());
  parallelFor(
      static_cast<int64_t>(pairs.size()),
      [&](int64_t i) {
        const FactorPair& p = pairs[static_cast<size_t>(i)];
        const bool isGram = p.left.data == p.right.data && p.left.rows == p.right.rows && p.left.stride == p.right.stride;
        out[static_cast<size_t>(i)] = isGram ? gram(p.left) : crossGram(p.left, p.right);
      },
      &job);
  return out;
}

std::vector<SmallSvd> CpuBackend::smallSvds(std::span<const DoubleMatrix> cores, bool withVectors, const Job& job) {
  std::vector<SmallSvd> out(cores.size());
  parallelFor(
      static_cast<int64_t>(cores.size()),
      [&](int64_t i) {
        const DoubleMatrix& core = cores[static_cast<size_t>(i)];
        out[static_cast<size_t>(i)] = withVectors ? smallSvd(core) : SmallSvd{singularValues(core), {}, {}};
      },
      &job);
  return out;
}

std::vector<double> CpuBackend::wholeSpectrum(ConstMatrixView rows, SpectrumRoute route, const Job& job) {
  if (route == SpectrumRoute::Householder) return largeSingularValues(rows, job);
  std::vector<double> values = symmetricEigenvalues(gramTiled(rows, &job));
  values.resize(static_cast<size_t>(std::min(rows.rows, rows.cols)));
  for (double& v : values) v = v > 0 ? std::sqrt(v) : 0.0;
  return values;
}

StackDirections CpuBackend::stackDirections(ConstMatrixView stack, int64_t perHead, const Job& job) {
  return core::stackDirections(stack, perHead, job);
}

Matrix CpuBackend::tableProduct(ConstMatrixView x, const WeightView& table, const Job& job) { return core::tableProduct(x, table, job); }

void CpuBackend::addPairSums(const PairStrip& a, const PairStrip& b, const PairPlan& plan, std::span<double> sums, const Job& job) {
  core::addPairSums(a, b, plan, sums, job);
}

}  // namespace headscope::core
