#include "core/weights/head_weights.h"

#include <cblas.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/mapped_file.h"
#include "core/base/parallel.h"
#include "core/checkpoint/stored_span.h"
#include "core/tensor/turn_over.h"

namespace headscope::core {
namespace {

constexpr int64_t kDecodeRows = 64;

/// y += up[first.., :] down[:, in..] and row scales, on rows [first, first + count) of a decoded map.
void mergeChange(const LinearChange& change, int64_t first, int64_t count, int64_t inFirst, MatrixView rows) {
  for (const LowRank& term : change.terms) {
    const int64_t r = term.down.rows();
    if (r == 0 || rows.cols == 0) continue;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(count), static_cast<int>(rows.cols), static_cast<int>(r), 1.0F,
                term.up.row(first), static_cast<int>(r), term.down.data() + inFirst, static_cast<int>(term.down.cols()), 1.0F, rows.data,
                static_cast<int>(rows.stride));
  }
  if (change.rowScale.empty()) return;
  for (int64_t r = 0; r < count; ++r) {
    const float scale = change.rowScale[static_cast<size_t>(first + r)];
    for (int64_t c = 0; c < rows.cols; ++c) rows(r, c) *= scale;
  }
}

/// The output map [d, H*v] as W_O [H*v, count] for model coordinates [first, first + count).
Matrix decodeTransposed(const Linear& linear, int64_t first, int64_t count, const std::vector<int64_t>* order, const Job* job) {
  const int64_t inputs = linear.inputs();
  Matrix out(inputs, count);
  parallelRanges((count + kDecodeRows - 1) / kDecodeRows, 1,
                 [&](int64_t begin, int64_t end) {
                   Matrix rows(kDecodeRows, inputs);
                   for (int64_t block = begin; block < end; ++block) {
                     const int64_t r0 = block * kDecodeRows, n = std::min(kDecodeRows, count - r0);
                     if (order == nullptr) {
                       decodeTile(linear, first + r0, n, 0, rows.view().rowsFrom(0, n));
                     } else {
                       for (int64_t r = 0; r < n; ++r)
                         decodeTile(linear, (*order)[static_cast<size_t>(first + r0 + r)], 1, 0, rows.view().rowsFrom(r, 1));
                     }
                     turnOver(rows.view().rowsFrom(0, n), out.data() + r0, count);
                   }
                 },
                 job);
  return out;
}

void scaleColumns(Matrix& m, const std::vector<float>& gain, int64_t first) {
  if (gain.empty() || m.size() == 0) return;
  parallelRanges(m.rows(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* row = m.row(r);
      for (int64_t c = 0; c < m.cols(); ++c) row[c] *= gain[static_cast<size_t>(first + c)];
    }
  });
}

void scaleRows(Matrix& m, const std::vector<float>& gain) {
  if (gain.empty()) return;
  for (int64_t r = 0; r < m.rows(); ++r) {
    const float g = gain[static_cast<size_t>(r) % gain.size()];
    for (int64_t c = 0; c < m.cols(); ++c) m(r, c) *= g;
  }
}

std::vector<float> rowMeans(const Matrix& m) {
  std::vector<float> means(static_cast<size_t>(m.rows()));
  parallelRanges(m.rows(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* row = m.row(r);
      double lanes[8] = {};  // side by side, so that the sum is not one chain
      int64_t c = 0;
      for (; c + 8 <= m.cols(); c += 8) {
        for (int64_t i = 0; i < 8; ++i) lanes[i] += row[c + i];
      }
      double sum = 0;
      for (; c < m.cols(); ++c) sum += row[c];
      for (const double lane : lanes) sum += lane;
      means[static_cast<size_t>(r)] = static_cast<float>(sum / static_cast<double>(m.cols()));
    }
  });
  return means;
}

void subtractMeans(Matrix& m, const std::vector<float>& means) {
  assert(static_cast<int64_t>(means.size()) == m.rows());
  parallelRanges(m.rows(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float mean = means[static_cast<size_t>(r)];
      float* row = m.row(r);
      for (int64_t c = 0; c < m.cols(); ++c) row[c] -= mean;
    }
  });
}

/// The published mistake: kv_b_proj's rows read as all keys, then all values. Rebuilds the stored order and cuts it so.
void splitByHalves(HeadWeights::Latent& latent, int64_t heads, int64_t nope, int64_t v) {
  const int64_t width = latent.keyUp.cols();
  Matrix stored(heads * (nope + v), width);
  for (int64_t h = 0; h < heads; ++h) {
    std::copy_n(latent.keyUp.row(h * nope), nope * width, stored.row(h * (nope + v)));
    std::copy_n(latent.valueUp.row(h * v), v * width, stored.row(h * (nope + v) + nope));
  }
  std::copy_n(stored.row(0), latent.keyUp.size(), latent.keyUp.data());
  std::copy_n(stored.row(heads * nope), latent.valueUp.size(), latent.valueUp.data());
}

struct Decoder {
  const Model& model;
  AttentionWeights attention;
  std::vector<float> gain;  // of the attention norm when folded, else empty
  int64_t first, count;     // of the model axis
  const Job* job;

  Matrix reading(const Linear& linear) const {
    Matrix m = decodeLinear(linear, first, count, job);
    scaleColumns(m, gain, first);
    return m;
  }
};

HeadWeights::Latent latentOf(const Decoder& from, const ModelSpec& spec, MlaSplit split, bool withUp) {
  const AttentionWeights& a = from.attention;
  HeadWeights::Latent out;
  const bool hasQueryLatent = !a.queryDown.empty();
  if (hasQueryLatent) out.queryDown = from.reading(a.queryDown);
  out.latentDown = from.reading(a.latentDown);
  out.ropeKey = from.reading(a.ropeKey);
  if (!hasQueryLatent) out.queryUp = from.reading(a.query.empty() ? a.queryUp : a.query);
  if (!withUp) return out;
  if (hasQueryLatent) {
    out.queryUp = decodeLinear(a.queryUp, 0, -1, from.job);
    scaleColumns(out.queryUp, a.queryLatentNorm.gain, 0);
  }
  out.keyUp = decodeLinear(a.keyUp, 0, -1, from.job);
  out.valueUp = decodeLinear(a.valueUp, 0, -1, from.job);
  if (split == MlaSplit::Halves) splitByHalves(out, spec.heads, spec.mla->nope, spec.valueWidth);
  scaleColumns(out.keyUp, a.latentNorm.gain, 0);
  scaleColumns(out.valueUp, a.latentNorm.gain, 0);
  return out;
}

/// TransformerLens: reading weights lose their mean over the model axis (after the gain), W_O its own.
void center(HeadWeights& w, const ModelAxis& axis) {
  if (axis.means != nullptr) {
    w.means = *axis.means;
  } else {
    w.means = {rowMeans(w.query), rowMeans(w.key), rowMeans(w.value), rowMeans(w.output)};
  }
  subtractMeans(w.query, w.means.query);
  subtractMeans(w.key, w.means.key);
  subtractMeans(w.value, w.means.value);
  subtractMeans(w.output, w.means.output);
}

}  // namespace

void decodeTile(const Linear& linear, int64_t firstRow, int64_t rows, int64_t firstIn, MatrixView target) {
  const LinearChange* change = linear.change.get();
  linear.weight.decodeTile(firstRow, rows, firstIn, target.cols, target.data, target.stride);
  if (change != nullptr) mergeChange(*change, firstRow, rows, firstIn, target);
}

Matrix decodeLinear(const Linear& linear, int64_t first, int64_t count, const Job* job) {
  if (count < 0) count = linear.inputs() - first;
  const int64_t rows = linear.outputs();
  Matrix out(rows, count);
  if (count == 0) return out;
  parallelRanges((rows + kDecodeRows - 1) / kDecodeRows, 1,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t block = begin; block < end; ++block) {
                     const int64_t r0 = block * kDecodeRows, n = std::min(kDecodeRows, rows - r0);
                     decodeTile(linear, r0, n, first, out.view().rowsFrom(r0, n));
                   }
                 },
                 job);
  return out;
}

void releaseAttention(const AttentionWeights& a) {
  for (const Linear* linear :
       {&a.query, &a.key, &a.value, &a.output, &a.queryDown, &a.queryUp, &a.latentDown, &a.ropeKey, &a.keyUp, &a.valueUp}) {
    const WeightView& w = linear->weight;
    if (!w.empty()) releasePages(storedSpan(w));
  }
}

std::string foldRefusal(const ModelSpec& spec) {
  if (spec.normPlacement == NormPlacement::AfterSum) {
    return "the norm follows the residual sum (post-norm), so what attention reads is already normed and its gain can't be folded into the "
           "weights";
  }
  return "";
}

Fold defaultFold(const ModelSpec& spec) { return foldRefusal(spec).empty() ? Fold::On : Fold::Off; }

HeadWeights headShapes(const Model& model, int64_t layer, Fold fold) {
  const ModelSpec& spec = model.spec();
  HeadWeights w;
  w.layer = layer;
  w.heads = spec.heads;
  w.kvHeads = spec.mla ? spec.heads : spec.kvHeads;
  w.keyWidth = spec.headWidth;
  w.valueWidth = spec.valueWidth;
  w.foldRefusal = foldRefusal(spec);
  if (fold == Fold::On && !w.foldRefusal.empty())
    throw Error("norms can't be folded: " + w.foldRefusal, model.name(), "use --fold-norms off");
  w.isFolded = fold == Fold::On;
  if (spec.mla) {
    w.nope = spec.mla->nope;
    w.rope = spec.mla->rope;
    w.keyWidth = w.nope + w.rope;
    return w;
  }
  const AttentionWeights a = model.attention(layer);
  w.queryBias = a.query.bias;
  w.keyBias = a.key.bias;
  w.valueBias = a.value.bias;
  return w;
}

HeadWeights headWeights(const Model& model, int64_t layer, Fold fold, MlaSplit split, const ModelAxis& axis, const Job* job) {
  const ModelSpec& spec = model.spec();
  HeadWeights w = headShapes(model, layer, fold);
  const int64_t count = axis.count < 0 ? spec.width - axis.first : axis.count;
  const bool centers = w.isFolded && spec.norm == NormKind::LayerNorm;
  assert(!centers || axis.means != nullptr || count == spec.width);
  const Decoder from{model, model.attention(layer), w.isFolded ? model.attentionNorm(layer).gain : std::vector<float>{}, axis.first, count,
                     job};
  const AttentionWeights& a = from.attention;
  if (axis.withOutput) w.output = decodeTransposed(a.output, axis.first, count, axis.outputOrder, job);
  if (spec.mla) {
    w.latent = latentOf(from, spec, split, axis.withUp);
    return w;
  }
  w.query = from.reading(a.query);
  w.key = from.reading(a.key);
  w.value = from.reading(a.value);
  if (centers) center(w, axis);
  scaleRows(w.query, a.queryNorm.gain);
  scaleRows(w.key, a.keyNorm.gain);
  return w;
}

}  // namespace headscope::core
