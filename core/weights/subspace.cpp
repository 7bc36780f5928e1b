#include "core/weights/subspace.h"

#include <algorithm>
#include <cmath>

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

SharedSubspace sharedSubspace(const HeadWeights& weights, SubspaceSide side, const Job& job) {
  const HeadStack stack = headStack(weights, side);
  SharedSubspace out;
  out.layer = weights.layer, out.side = side, out.heads = stack.heads;
  out.stackRows = stack.rows.rows, out.width = stack.rows.cols;

  std::vector<double> largest(static_cast<size_t>(stack.heads), 0.0);
  parallelFor(
      stack.heads,
      [&](int64_t h) {
        const Spectrum s = factorSpectrum(factorCore(stack.rows.rowsFrom(h * stack.perHead, stack.perHead)));
        largest[static_cast<size_t>(h)] = s.isFinite ? s.largest() : -1;
      },
      &job);
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

  // S = U s V^T. Energy of a head on direction i: of its rows of S V = U s, times its own s_1 squared for the stored matrix.
  const bool isWide = normed.rows() <= normed.cols();
  const int64_t p = std::min(normed.rows(), normed.cols());
  Matrix turned;
  if (!isWide) {
    turned = Matrix(normed.cols(), normed.rows());
    for (int64_t r = 0; r < normed.rows(); ++r) {
      for (int64_t c = 0; c < normed.cols(); ++c) turned(c, r) = normed(r, c);
    }
  }
  DoubleMatrix vectors;  // rows are U^T (wide) or V^T
  const std::vector<double> values = largeSymmetricEigen(gramTiled(isWide ? normed.view() : turned.view(), &job), vectors, job);
  out.sigma.resize(static_cast<size_t>(p));
  for (int64_t i = 0; i < p; ++i) out.sigma[static_cast<size_t>(i)] = std::sqrt(std::max(0.0, values[static_cast<size_t>(i)]));
  out.storedEnergy.assign(static_cast<size_t>(p), 0.0);
  out.headEnergy.assign(static_cast<size_t>(stack.heads), std::vector<double>(static_cast<size_t>(p), 0.0));
  parallelFor(
      stack.heads,
      [&](int64_t h) {
        std::vector<double>& energy = out.headEnergy[static_cast<size_t>(h)];
        if (largest[static_cast<size_t>(h)] <= 0) return;  // rounding is all there would be
        const ConstMatrixView rows = normed.view().rowsFrom(h * stack.perHead, stack.perHead);
        const DoubleMatrix on = isWide ? DoubleMatrix() : multiplyTransposed(DoubleMatrix::from(rows), vectors);  // [k, p]
        for (int64_t r = 0; r < stack.perHead; ++r) {
          for (int64_t i = 0; i < p; ++i) {
            const double at = isWide ? vectors(i, h * stack.perHead + r) * out.sigma[static_cast<size_t>(i)] : on(r, i);
            energy[static_cast<size_t>(i)] += at * at;
          }
        }
      },
      &job);
  for (int64_t h = 0; h < stack.heads; ++h) {
    const double s1 = std::max(0.0, largest[static_cast<size_t>(h)]);
    for (int64_t i = 0; i < p; ++i) {
      out.storedEnergy[static_cast<size_t>(i)] += s1 * s1 * out.headEnergy[static_cast<size_t>(h)][static_cast<size_t>(i)];
    }
  }
  return out;
}

}  // namespace headscope::core
