#include "core/weights/lora_sides.h"

#include <algorithm>
#include <cmath>

#include "core/base/job.h"
#include "core/base/parallel.h"

namespace headscope::core {
namespace {

void addTo(DoubleMatrix& a, const DoubleMatrix& b) {
  for (size_t i = 0; i < a.values.size(); ++i) a.values[i] += b.values[i];
}

const Linear& linearOf(const AttentionWeights& a, LoraSide::Kind kind) {
  switch (kind) {
    case LoraSide::Kind::Query:
      return a.query;
    case LoraSide::Kind::Key:
      return a.key;
    case LoraSide::Kind::Value:
      return a.value;
    case LoraSide::Kind::Output:
      return a.output;
  }
  return a.query;
}

const Matrix& stackOf(const HeadWeights& w, LoraSide::Kind kind) {
  switch (kind) {
    case LoraSide::Kind::Query:
      return w.query;
    case LoraSide::Kind::Key:
      return w.key;
    case LoraSide::Kind::Value:
      return w.value;
    case LoraSide::Kind::Output:
      return w.output;
  }
  return w.query;
}

void finish(HeadSide& h, const DoubleMatrix* sharedGram) {
  h.gram = gram(h.base);
  if (h.isChanged()) {
    h.cross = crossGram(h.directions, h.base);
    h.directionGram = sharedGram != nullptr ? *sharedGram : gram(h.directions);
    h.after = h.afterTimesBase();  // F F^T + C D F^T; its remaining terms are F D^T C^T + C D D^T C^T
    const DoubleMatrix turn = multiply(h.coefficients, h.cross);
    addTo(h.after, turn.transposed());
    addTo(h.after, multiplyTransposed(multiply(h.coefficients, h.directionGram), h.coefficients));
  } else {
    h.after = h.gram;
  }
  h.core = factorCore(h.gram, h.base.cols);
  h.coreAfter = factorCore(h.after, h.base.cols);
}

}  // namespace

double HeadSide::squaredChange() const {
  if (!isChanged()) return 0;
  return std::max(0.0, innerProduct(transposedMultiply(coefficients, coefficients), directionGram));
}

DoubleMatrix HeadSide::afterTimesBase() const {
  DoubleMatrix a = gram;
  if (isChanged()) addTo(a, multiply(coefficients, cross));
  return a;
}

double LoraSide::squaredChange() const {
  double sum = 0;
  for (const HeadSide& h : heads_) sum += h.squaredChange();
  return sum;
}

LoraSide::LoraSide(Kind kind, const HeadWeights& base, const HeadWeights& adapted, const AttentionWeights& before,
                   const AttentionWeights& after, const Job& job) {
  const Linear &l0 = linearOf(before, kind), &l1 = linearOf(after, kind);
  const Matrix &stack = stackOf(base, kind), &merged = stackOf(adapted, kind);
  const bool isQuery = kind == Kind::Query, isKey = kind == Kind::Key, isOutput = kind == Kind::Output;
  const std::vector<float>& gain = isQuery ? before.queryNorm.gain : isKey ? before.keyNorm.gain : std::vector<float>{};
  const std::vector<float>& newGain = isQuery ? after.queryNorm.gain : isKey ? after.keyNorm.gain : std::vector<float>{};
  width_ = isQuery || isKey ? base.keyWidth : base.valueWidth;
  const LinearChange* change = l1.change.get();
  const bool isSameBase = l0.weight.data == l1.weight.data && gain == newGain;
  const bool hasFactors = change != nullptr && !change->terms.empty();
  const bool hasScale = change != nullptr && !change->rowScale.empty();
  isChanged_ = !isSameBase || hasFactors || hasScale;
  isMerged_ = isChanged_ && (!isSameBase || hasScale);
  heads_.resize(static_cast<size_t>(stack.rows() / width_));
  for (int64_t h = 0; h < heads(); ++h) heads_[static_cast<size_t>(h)].base = stack.view().rowsFrom(h * width_, width_);
  if (isMerged_) {
    useDifference(stack, merged);
  } else if (isChanged_) {
    useFactors(*change, gain, isOutput);
  }
  const DoubleMatrix shared = isChanged_ && !isMerged_ ? gram(directions_) : DoubleMatrix();
  parallelFor(
      heads(), [&](int64_t h) { finish(heads_[static_cast<size_t>(h)], shared.rows > 0 ? &shared : nullptr); }, &job);
}

void LoraSide::useDifference(const Matrix& base, const Matrix& adapted) {
  directions_ = Matrix(base.rows(), base.cols());
  for (int64_t i = 0; i < base.size(); ++i) directions_.data()[i] = adapted.data()[i] - base.data()[i];
  for (int64_t h = 0; h < heads(); ++h) {
    HeadSide& side = heads_[static_cast<size_t>(h)];
    side.directions = directions_.view().rowsFrom(h * width_, width_);
    side.coefficients = DoubleMatrix::identity(width_);
  }
}

void LoraSide::useFactors(const LinearChange& change, const std::vector<float>& gain, bool isOutput) {
  int64_t r = 0;
  for (const LowRank& term : change.terms) r += term.down.rows();
  const LowRank& first = change.terms.front();
  const int64_t d = isOutput ? first.up.rows() : first.down.cols(), rows = isOutput ? first.down.cols() : first.up.rows();
  directions_ = Matrix(r, d);
  coefficients_ = Matrix(rows, r);
  int64_t at = 0;
  for (const LowRank& term : change.terms) {
    const int64_t n = term.down.rows();
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t c = 0; c < d; ++c) directions_(at + i, c) = isOutput ? term.up(c, i) : term.down(i, c);
      for (int64_t c = 0; c < rows; ++c) coefficients_(c, at + i) = isOutput ? term.down(i, c) : term.up(c, i);
    }
    at += n;
  }
  for (int64_t c = 0; !gain.empty() && c < rows; ++c) {
    for (int64_t i = 0; i < r; ++i) coefficients_(c, i) *= gain[static_cast<size_t>(c) % gain.size()];
  }
  for (int64_t h = 0; h < heads(); ++h) {
    HeadSide& side = heads_[static_cast<size_t>(h)];
    side.directions = directions_;
    side.coefficients = DoubleMatrix::from(coefficients_.view().rowsFrom(h * width_, width_));
  }
}

}  // namespace headscope::core
