#include "core/weights/lora_sides.h"

#include <algorithm>
#include <cmath>

#include "core/backend/backend.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/tensor/turn_over.h"
#include "core/weights/head_grams.h"
#include "core/weights/small_product.h"

namespace headscope::core {
namespace {

void addTo(DoubleMatrix& a, const DoubleMatrix& b) {
  for (size_t i = 0; i < a.values.size(); ++i) a.values[i] += b.values[i];
}

/// One side of a model's layer as headGrams wants it; nothing is folded.
HeadMap mapOf(const AttentionWeights& a, const ModelSpec& spec, LoraSide::Kind kind) {
  switch (kind) {
    case LoraSide::Kind::Query:
      return {&a.query, false, spec.heads, spec.headWidth, nullptr, &a.queryNorm.gain, false};
    case LoraSide::Kind::Key:
      return {&a.key, false, spec.kvHeads, spec.headWidth, nullptr, &a.keyNorm.gain, false};
    case LoraSide::Kind::Value:
      return {&a.value, false, spec.kvHeads, spec.valueWidth, nullptr, nullptr, false};
    case LoraSide::Kind::Output:
      break;
  }
  return {&a.output, true, spec.heads, spec.valueWidth, nullptr, nullptr, false};
}

Matrix transposed(const Matrix& a) {
  Matrix t(a.cols(), a.rows());
  turnOver(a, t.data(), t.cols());
  return t;
}

/// Every head's rows, decoded side by side; with `change` also what it makes of each head.
struct RowsOfHeads {
  std::vector<Matrix> base, change;
  RowsOfHeads(const HeadMap& map, const Job& job, const std::function<Matrix(int64_t)>& changeOf = {})
      : base(static_cast<size_t>(map.heads)), change(changeOf ? base.size() : 0) {
    parallelFor(
        map.heads,
        [&](int64_t h) {
          base[static_cast<size_t>(h)] = headRows(map, h);
          if (changeOf) change[static_cast<size_t>(h)] = changeOf(h);
        },
        &job);
  }
};

/// headGrams by a backend's products.
HeadGrams gramsOn(Backend& backend, const HeadMap& map, const Job& job, const Matrix* directions) {
  const RowsOfHeads rows(map, job);
  std::vector<FactorPair> pairs;
  for (const Matrix& base : rows.base) {
    pairs.push_back({base, base});
    if (directions != nullptr) pairs.push_back({*directions, base});
  }
  HeadGrams out;
  for (DoubleMatrix& product : backend.innerProducts(pairs, job)) {
    const bool isCross = directions != nullptr && out.cross.size() < out.gram.size();
    (isCross ? out.cross : out.gram).push_back(std::move(product));
  }
  return out;
}

}  // namespace

StackedTerms stackTerms(const LinearChange* change) {
  StackedTerms out;
  if (change == nullptr || change->terms.empty()) return out;
  int64_t r = 0;
  for (const LowRank& term : change->terms) r += term.down.rows();
  const int64_t in = change->terms.front().down.cols(), rows = change->terms.front().up.rows();
  out.down = Matrix(r, in);
  out.up = Matrix(rows, r);
  int64_t at = 0;
  for (const LowRank& term : change->terms) {
    const int64_t n = term.down.rows();
    std::copy_n(term.down.data(), term.down.size(), out.down.row(at));
    for (int64_t c = 0; c < rows; ++c) std::copy_n(term.up.row(c), n, out.up.row(c) + at);
    at += n;
  }
  return out;
}

void HeadSide::finish() {
  if (isChanged()) {
    // (F + C D)(F + C D)^T = F F^T + C H + (C H)^T with H = D F^T + D D^T C^T / 2
    const DoubleMatrix own = multiply(coefficients, directionGram);
    squaredChange = std::max(0.0, innerProduct(own, coefficients));
    DoubleMatrix half = own.transposed(), after = gram;
    for (size_t i = 0; i < half.values.size(); ++i) half.values[i] = cross.values[i] + half.values[i] / 2;
    addWithTranspose(coefficients, half, after);
    changedCore = gramCore(std::move(after), depth);
  }
  core = gramCore(std::move(gram), depth);
  gram = {};
}

HeadSide HeadSide::turned(const DoubleMatrix& m) const {
  HeadSide out;
  out.width = width, out.depth = depth;
  out.coefficients = isChanged() ? multiply(m, coefficients) : coefficients;
  out.gram = multiplyTransposed(multiply(m, core.gram), m);
  if (isChanged()) out.cross = multiplyTransposed(cross, m);
  out.directionGram = directionGram;
  out.finish();
  return out;
}

DoubleMatrix HeadSide::afterTimesBase() const {
  DoubleMatrix a = core.gram;
  if (isChanged()) addTo(a, multiply(coefficients, cross));
  return a;
}

double LoraSide::squaredChange() const {
  double sum = 0;
  for (const HeadSide& h : heads_) sum += h.squaredChange;
  return sum;
}

LoraSide::LoraSide(Kind kind, std::shared_ptr<const LoraMaps> maps, const Job& job, Backend* backend) {
  if (maps->spec.mla && kind != Kind::Output) {
    LatentSide side = latentSide(kind, std::move(maps), job, backend);
    isChanged_ = side.isChanged;
    heads_ = std::move(side.heads);
    stacksOf_ = std::move(side.stacksOf);
  } else {
    readStored(kind, std::move(maps), job, backend);
  }
  parallelFor(
      heads(), [&](int64_t h) { heads_[static_cast<size_t>(h)].finish(); }, &job);
}

void LoraSide::readStored(Kind kind, std::shared_ptr<const LoraMaps> stored, const Job& job, Backend* backend) {
  const HeadMap map = mapOf(stored->before, stored->spec, kind), merged = mapOf(stored->after, stored->spec, kind);
  const LinearChange* change = merged.linear->change.get();
  const bool isSameBase =
      map.linear->weight.data == merged.linear->weight.data && (map.headGain == nullptr || *map.headGain == *merged.headGain);
  const bool hasScale = change != nullptr && !change->rowScale.empty();
  const bool isMerged = !isSameBase || hasScale;
  isChanged_ = isMerged || (change != nullptr && !change->terms.empty());
  const int64_t k = map.width, d = map.depth();
  heads_.resize(static_cast<size_t>(map.heads));
  for (HeadSide& h : heads_) h.width = k, h.depth = d, h.coefficients = DoubleMatrix(k, 0);
  const auto difference = [stored, kind](int64_t h) {
    Matrix rows = headRows(mapOf(stored->after, stored->spec, kind), h);
    const Matrix old = headRows(mapOf(stored->before, stored->spec, kind), h);
    for (int64_t i = 0; i < rows.size(); ++i) rows.data()[i] -= old.data()[i];
    return rows;
  };
  const auto directions = std::make_shared<Matrix>();  // D [r, d]; empty where rows are merged
  stacksOf_ = [stored, kind, isMerged, difference, directions](int64_t h) {
    return HeadStacks{DoubleMatrix::from(headRows(mapOf(stored->before, stored->spec, kind), h)),
                      DoubleMatrix::from(isMerged ? difference(h).view() : directions->view())};
  };
  if (isMerged && backend != nullptr) {
    const RowsOfHeads rows(map, job, difference);
    std::vector<FactorPair> pairs;
    for (size_t h = 0; h < heads_.size(); ++h) {
      for (const FactorPair& p :
           {FactorPair{rows.base[h], rows.base[h]}, FactorPair{rows.change[h], rows.base[h]}, FactorPair{rows.change[h], rows.change[h]}})
        pairs.push_back(p);
    }
    std::vector<DoubleMatrix> products = backend->innerProducts(pairs, job);
    for (size_t h = 0; h < heads_.size(); ++h) {
      HeadSide& side = heads_[h];
      side.coefficients = DoubleMatrix::identity(k);
      side.gram = std::move(products[3 * h]), side.cross = std::move(products[3 * h + 1]);
      side.directionGram = std::move(products[3 * h + 2]);
    }
    return;
  }
  if (isMerged) {
    parallelFor(
        heads(),
        [&](int64_t h) {
          HeadSide& side = heads_[static_cast<size_t>(h)];
          const Matrix rows = headRows(map, h), changed = difference(h);
          side.coefficients = DoubleMatrix::identity(k);
          side.gram = core::gram(rows), side.cross = crossGram(changed, rows), side.directionGram = core::gram(changed);
        },
        &job);
    return;
  }
  StackedTerms terms = stackTerms(change);
  Matrix coefficients;  // [heads * k, r]
  if (isChanged_) {
    *directions = map.isOutput ? transposed(terms.up) : std::move(terms.down);
    coefficients = map.isOutput ? transposed(terms.down) : std::move(terms.up);
  }
  const Matrix* changed = isChanged_ ? directions.get() : nullptr;
  HeadGrams grams = backend != nullptr ? gramsOn(*backend, map, job, changed) : headGrams(map, job, changed);
  const DoubleMatrix shared = core::gram(*directions);
  const bool hasGain = map.headGain != nullptr && !map.headGain->empty();
  parallelFor(heads(), [&](int64_t h) {
    const size_t s = static_cast<size_t>(h);
    HeadSide& side = heads_[s];
    side.gram = std::move(grams.gram[s]);
    if (!isChanged_) return;
    side.cross = std::move(grams.cross[s]);
    side.directionGram = shared;
    side.coefficients = DoubleMatrix::from(coefficients.view().rowsFrom(h * k, k));
    for (int64_t i = 0; hasGain && i < k; ++i) {
      for (int64_t j = 0; j < side.rank(); ++j) side.coefficients(i, j) *= static_cast<double>((*map.headGain)[static_cast<size_t>(i)]);
    }
  });
}

}  // namespace headscope::core
