#include "core/weights/subspace.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>

#include "core/backend/backend.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/large_eigen.h"

namespace headscope::core {

HeadStack headStack(const HeadWeights& w, SubspaceSide side) {
  if (side == SubspaceSide::Output) return {w.output, w.heads, w.valueWidth};
  if (w.latent) {
    if (side == SubspaceSide::Query) return {w.latent->queryUp, w.heads, w.nope + w.rope};
    if (side == SubspaceSide::Key) return {w.latent->keyUp, w.heads, w.nope};
    return {w.latent->valueUp, w.heads, w.valueWidth};
  }
  if (side == SubspaceSide::Query) return {w.query, w.heads, w.keyWidth};
  if (side == SubspaceSide::Key) return {w.key, w.kvHeads, w.keyWidth};
  return {w.value, w.kvHeads, w.valueWidth};
}

namespace {

/// Share of the energy left after each of 0 .. p directions, as a relative norm.
std::vector<double> errorsOf(const std::vector<double>& energy) {
  std::vector<double> out(energy.size() + 1, 0.0);
  double left = 0;
  for (size_t i = energy.size(); i-- > 0;) {
    left += energy[i];
    out[i] = left;
  }
  const double total = out[0];
  for (double& e : out) e = total > 0 ? std::sqrt(e / total) : 0.0;
  return out;
}

}  // namespace

const char* nameOf(SubspaceSide side) {
  switch (side) {
    case SubspaceSide::Output:
      return "output";
    case SubspaceSide::Query:
      return "query";
    case SubspaceSide::Key:
      return "key";
    case SubspaceSide::Value:
      return "value";
  }
  return "";
}

double SharedSubspace::parametersSaved(int64_t rank) const { return 1.0 - static_cast<double>(rank) / breakEven(); }

std::vector<double> SharedSubspace::errors() const {
  std::vector<double> energy;
  for (const double s : sigma) energy.push_back(s * s);
  return errorsOf(energy);
}

std::vector<double> SharedSubspace::storedErrors() const { return errorsOf(storedEnergy); }

double SharedSubspace::headError(int64_t head, int64_t rank) const {
  const std::vector<double>& energy = headEnergy[static_cast<size_t>(head)];
  double left = 0, total = 0;
  for (size_t i = energy.size(); i-- > 0;) {
    total += energy[i];
    if (static_cast<int64_t>(i) >= rank) left += energy[i];
  }
  return total > 0 ? std::sqrt(left / total) : 0.0;
}

namespace {

/// energy[head][i] = ||S_h v_i||^2 for the rows v_i of `vectors` [p, d], by products of some heads with some directions.
void addHeadEnergies(const HeadStack& stack, const Matrix& vectors, std::vector<std::vector<double>>& energy, const Job& job) {
  constexpr int64_t kRows = 512, kDirections = 512;
  const int64_t p = vectors.rows(), group = std::max<int64_t>(1, kRows / std::max<int64_t>(1, stack.perHead));
  const int64_t groups = (stack.heads + group - 1) / group, across = (p + kDirections - 1) / kDirections;
  parallelFor(
      groups * across,
      [&](int64_t t) {
        const int64_t head = t / across * group, heads = std::min(group, stack.heads - head);
        const int64_t first = t % across * kDirections, count = std::min(kDirections, p - first);
        const ConstMatrixView rows = stack.rows.rowsFrom(head * stack.perHead, heads * stack.perHead);
        Matrix on(rows.rows, count);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(rows.rows), static_cast<int>(count),
                    static_cast<int>(rows.cols), 1.0F, rows.data, static_cast<int>(rows.stride), vectors.row(first),
                    static_cast<int>(vectors.cols()), 0.0F, on.data(), static_cast<int>(count));
        for (int64_t r = 0; r < rows.rows; ++r) {
          double* to = energy[static_cast<size_t>(head + r / stack.perHead)].data() + first;
          for (int64_t i = 0; i < count; ++i) to[i] += static_cast<double>(on(r, i)) * on(r, i);
        }
      },
      &job);
}

bool isElsewhere(const Backend* backend, Op op) { return backend != nullptr && backend->supports(op); }

/// Every head's largest singular value; -1 where it has NaN or infinite weights.
std::vector<double> largestValues(const HeadStack& stack, Backend* backend, const Job& job) {
  std::vector<Spectrum> spectra(static_cast<size_t>(stack.heads));
  const auto head = [&](int64_t h) { return stack.rows.rowsFrom(h * stack.perHead, stack.perHead); };
  if (isElsewhere(backend, Op::Spectra)) {
    SpectraBatch batch;
    for (int64_t h = 0; h < stack.heads; ++h) batch.factors.push_back({head(h), nullptr}), batch.products.push_back({h, -1, nullptr});
    spectra = backend->spectra(batch, job).spectra;
  } else {
    parallelFor(
        stack.heads, [&](int64_t h) { spectra[static_cast<size_t>(h)] = factorSpectrum(factorCore(head(h))); }, &job);
  }
  std::vector<double> largest;
  for (const Spectrum& s : spectra) largest.push_back(s.isFinite ? s.largest() : -1);
  return largest;
}

}  // namespace

StackDirections stackDirections(ConstMatrixView stack, int64_t perHead, const Job& job, const std::function<void(double)>& progress) {
  StackDirections out;
  if (stack.rows == 0 || stack.cols == 0) return out;
  // S = U s V^T. Energy of a head on direction i: of its rows of S V = U s.
  const bool isWide = stack.rows <= stack.cols;
  const int64_t p = std::min(stack.rows, stack.cols);
  Matrix turned;
  if (!isWide) {
    turned = Matrix(stack.cols, stack.rows);
    for (int64_t r = 0; r < stack.rows; ++r) {
      for (int64_t c = 0; c < stack.cols; ++c) turned(c, r) = stack(r, c);
    }
  }
  constexpr double kGram = 0.1, kEigen = 0.75;  // shares of the time
  const auto report = [&](double done) {
    if (progress) progress(done);
  };
  report(0);
  DoubleMatrix vectors;  // rows are U^T (wide) or V^T
  DoubleMatrix squared = gramTiled(isWide ? stack : turned.view(), &job);
  turned = {};
  report(kGram);
  const std::vector<double> values =
      largeSymmetricEigen(std::move(squared), vectors, job, [&](double done) { report(kGram + kEigen * done); });
  out.sigma.resize(static_cast<size_t>(p));
  for (int64_t i = 0; i < p; ++i) out.sigma[static_cast<size_t>(i)] = std::sqrt(std::max(0.0, values[static_cast<size_t>(i)]));
  const int64_t heads = stack.rows / perHead;
  out.energy.assign(static_cast<size_t>(heads), std::vector<double>(static_cast<size_t>(p), 0.0));
  if (isWide) {
    parallelFor(
        heads,
        [&](int64_t h) {
          std::vector<double>& energy = out.energy[static_cast<size_t>(h)];
          for (int64_t i = 0; i < p; ++i) {
            for (int64_t r = 0; r < perHead; ++r) {
              const double at = vectors(i, h * perHead + r) * out.sigma[static_cast<size_t>(i)];
              energy[static_cast<size_t>(i)] += at * at;
            }
          }
        },
        &job);
  } else {
    const Matrix narrow = vectors.toFloat();
    vectors = {};
    addHeadEnergies({stack, heads, perHead}, narrow, out.energy, job);
  }
  return out;
}

SharedSubspace sharedSubspace(const HeadWeights& weights, SubspaceSide side, const Job& job, const std::function<void(double)>& progress,
                              Backend* backend) {
  const HeadStack stack = headStack(weights, side);
  SharedSubspace out;
  out.layer = weights.layer, out.side = side, out.heads = stack.heads;
  out.stackRows = stack.rows.rows, out.width = stack.rows.cols;

  const std::vector<double> largest = largestValues(stack, backend, job);
  Matrix normed(stack.rows.rows, stack.rows.cols);
  for (int64_t h = 0; h < stack.heads; ++h) {
    const double s1 = largest[static_cast<size_t>(h)];
    if (s1 <= 0) {
      out.notes.push_back("layer " + std::to_string(out.layer) + ", " + nameOf(side) + " head " + std::to_string(h) +
                          (s1 < 0 ? ": NaN or infinite weights, left out" : ": all zero"));
    }
    const float factor = s1 > 0 ? static_cast<float>(1.0 / s1) : 0.0F;
    for (int64_t r = h * stack.perHead; r < (h + 1) * stack.perHead; ++r) {
      for (int64_t c = 0; c < normed.cols(); ++c) normed(r, c) = factor == 0 ? 0.0F : stack.rows(r, c) * factor;
    }
  }

  StackDirections found = isElsewhere(backend, Op::StackDirections) ? backend->stackDirections(normed, stack.perHead, job)
                                                                    : stackDirections(normed, stack.perHead, job, progress);
  const int64_t p = static_cast<int64_t>(found.sigma.size());
  out.sigma = std::move(found.sigma), out.headEnergy = std::move(found.energy);
  out.headEnergy.resize(static_cast<size_t>(stack.heads));
  out.storedEnergy.assign(static_cast<size_t>(p), 0.0);
  for (int64_t h = 0; h < stack.heads; ++h) {  // of a zero head rounding is all there would be
    if (largest[static_cast<size_t>(h)] <= 0)
      std::fill(out.headEnergy[static_cast<size_t>(h)].begin(), out.headEnergy[static_cast<size_t>(h)].end(), 0.0);
  }
  for (int64_t h = 0; h < stack.heads; ++h) {
    const double s1 = std::max(0.0, largest[static_cast<size_t>(h)]);
    for (int64_t i = 0; i < p; ++i) {
      out.storedEnergy[static_cast<size_t>(i)] += s1 * s1 * out.headEnergy[static_cast<size_t>(h)][static_cast<size_t>(i)];
    }
  }
  return out;
}

}  // namespace headscope::core
