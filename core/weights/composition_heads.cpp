#include "core/weights/composition_heads.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/layer_factors.h"

namespace headscope::core {
namespace {

/// Orthonormal basis of the rows whose Gram matrix is g, as a turn; directions below rounding are left out.
DoubleMatrix basisTurn(const DoubleMatrix& g) {
  DoubleMatrix vectors;
  const std::vector<double> values = symmetricEigen(g, vectors);
  int64_t rank = 0;
  while (rank < g.rows && values[static_cast<size_t>(rank)] > 1e-12 * std::max(values[0], 0.0) && values[static_cast<size_t>(rank)] > 0)
    ++rank;
  DoubleMatrix turn(rank, g.rows);
  for (int64_t r = 0; r < rank; ++r) {
    for (int64_t c = 0; c < g.rows; ++c) turn(r, c) = vectors(r, c) / std::sqrt(values[static_cast<size_t>(r)]);
  }
  return turn;
}

/// turn * [W_UK,h^T 0; 0 I] and the like: a turn of a latent factor, on the latent's rows.
Matrix turned(const DoubleMatrix& turn, ConstMatrixView rows) { return multiply(turn, DoubleMatrix::from(rows)).toFloat(); }

struct Sides {
  const FactorCore *query, *key, *value, *output;
};

}  // namespace

CompositionHeads::CompositionHeads(const Model& model, Fold fold, CompositionMetric metric, std::vector<int64_t> layers, Job& job,
                                   int64_t readerEnd)
    : model_(model),
      numbers_(std::move(layers)),
      fold_(fold),
      metric_(metric),
      heads_(model.spec().heads),
      width_(model.spec().width),
      layers_(numbers_.size()) {
  for (int64_t l = 0; l < this->layers(); ++l) {
    job.report(0.1 * static_cast<double>(l) / static_cast<double>(this->layers()),
               "reading layer " + std::to_string(numbers_[static_cast<size_t>(l)]));
    job.checkpoint();
    prepare(l, true, readerEnd < 0 || l < readerEnd, job);
  }
}

void CompositionHeads::loadReaders(int64_t first, int64_t end, const Job& job) {
  for (int64_t l = 0; l < layers(); ++l) {
    if (l < first || l >= end) layers_[static_cast<size_t>(l)].readers = {};
  }
  for (int64_t l = first; l < end; ++l) {
    job.checkpoint();
    if (layers_[static_cast<size_t>(l)].readers[0].empty()) prepare(l, false, true, job);
  }
}

void CompositionHeads::prepare(int64_t index, bool withWriters, bool withReaders, const Job& job) {
  const std::vector<MatrixPlan> plans = {{"W_QK", "Q", "K", {}}, {"W_OV", "V", "O", {}}};
  const int64_t number = numbers_[static_cast<size_t>(index)];
  const LayerFactors factors(model_, number, fold_, MlaSplit::Heads, plans, false, job, nullptr, false);
  const HeadWeights& w = factors.weights();
  const FactorSet &Q = factors.set("Q"), &K = factors.set("K"), &V = factors.set("V"), &O = factors.set("O");
  Layer& layer = layers_[static_cast<size_t>(index)];
  layer.means = w.means;
  if (withWriters) layer.writers.resize(static_cast<size_t>(heads_));
  for (auto& readers : layer.readers) readers.resize(withReaders ? static_cast<size_t>(heads_) : 0);
  // Where a head's stored rows lie in the strip's source, and what stands between them and the factor.
  const bool isLatent = w.latent.has_value(), hasQueryLatent = isLatent && w.latent->queryDown.size() > 0;
  parallelFor(
      heads_,
      [&](int64_t h) {
        const size_t s = static_cast<size_t>(h);
        const int64_t g = w.kvHeadOf(h);
        const auto at = [&](const FactorSet& set) -> const FactorCore& { return set.cores[static_cast<size_t>(factors.indexIn(set, h))]; };
        const Sides c{&at(Q), &at(K), &at(V), &at(O)};
        if (!c.query->isFinite || !c.key->isFinite || !c.value->isFinite || !c.output->isFinite) {
          if (withWriters) layer.writers[s].norm = std::numeric_limits<double>::quiet_NaN();
          for (auto& readers : layer.readers) {
            if (withReaders) readers[s].norm = std::numeric_limits<double>::quiet_NaN();
          }
          return;
        }
        const bool isKernel = metric_ == CompositionMetric::Kernel;
        const double qk = std::sqrt(std::max(0.0, innerProduct(c.query->gram, c.key->gram)));
        const double ov = std::sqrt(std::max(0.0, innerProduct(c.value->gram, c.output->gram)));
        const auto set = [&](ThinHead& head, const FactorCore& own, const FactorCore& other, double norm, const ConstMatrixView* latentRows,
                             int64_t firstRow) {
          const DoubleMatrix turn = isKernel ? basisTurn(own.gram) : other.triangle;
          head.norm = isKernel ? static_cast<double>(turn.rows) : norm;
          head.firstRow = firstRow;
          head.turn = latentRows != nullptr ? turned(turn, *latentRows) : turn.toFloat();
        };
        const auto rowsOf = [&](const FactorSet& f) { return f.rows[static_cast<size_t>(factors.indexIn(f, h))]; };
        const ConstMatrixView q = rowsOf(Q), k = rowsOf(K), v = rowsOf(V);
        if (withWriters) set(layer.writers[s], *c.output, *c.value, ov, nullptr, h * w.valueWidth);
        if (!withReaders) return;
        set(layer.readers[0][s], *c.query, *c.key, qk, hasQueryLatent ? &q : nullptr, hasQueryLatent ? 0 : h * w.keyWidth);
        set(layer.readers[1][s], *c.key, *c.query, qk, isLatent ? &k : nullptr, isLatent ? 0 : g * w.keyWidth);
        set(layer.readers[2][s], *c.value, *c.output, ov, isLatent ? &v : nullptr, isLatent ? 0 : g * w.valueWidth);
      },
      &job);
  if (withWriters) {
    for (const std::string& note : factors.notes()) notes_.push_back(note);
  }
  releaseAttention(model_.attention(number));
}

int64_t CompositionHeads::writerRows(int64_t layer) const {
  int64_t rows = 0;
  for (const ThinHead& head : layers_[static_cast<size_t>(layer)].writers) rows += head.turn.rows();
  return rows;
}

int64_t CompositionHeads::readerRows(int64_t layer) const {
  int64_t rows = 0;
  for (const auto& readers : layers_[static_cast<size_t>(layer)].readers) {
    for (const ThinHead& head : readers) rows += head.turn.rows();
  }
  return rows;
}

CompositionHeads::Strip CompositionHeads::strip(int64_t index, int64_t first, int64_t count, int64_t side, bool withReaders,
                                                const std::vector<int64_t>* order, const Job& job) const {
  const Layer& layer = layers_[static_cast<size_t>(index)];
  ModelAxis axis;
  axis.first = first, axis.count = count, axis.means = &layer.means, axis.outputOrder = order, axis.withUp = false;
  const int64_t number = numbers_[static_cast<size_t>(index)];
  const HeadWeights w = headWeights(model_, number, fold_, MlaSplit::Heads, axis, &job);
  releaseAttention(model_.attention(number));
  Matrix joint;  // [latentDown; ropeKey]
  if (w.latent) {
    joint = Matrix(w.latent->latentDown.rows() + w.latent->ropeKey.rows(), count);
    std::copy_n(w.latent->latentDown.data(), w.latent->latentDown.size(), joint.data());
    std::copy_n(w.latent->ropeKey.data(), w.latent->ropeKey.size(), joint.row(w.latent->latentDown.rows()));
  }
  const Matrix& query = !w.latent ? w.query : w.latent->queryDown.size() > 0 ? w.latent->queryDown : w.latent->queryUp;
  const Matrix &key = w.latent ? joint : w.key, &value = w.latent ? w.latent->latentDown : w.value;

  struct Piece {
    const ThinHead* head;
    const Matrix* source;
    float* target;      // of the first block
    int64_t nextBlock;  // numbers from block to block
  };
  std::vector<Piece> pieces;
  const int64_t blocks = (count + side - 1) / side;
  const auto collect = [&](const std::vector<ThinHead>& heads, const Matrix& source) {
    int64_t rows = 0;
    for (const ThinHead& head : heads) rows += head.turn.rows();
    Matrix out(blocks * rows, side);
    int64_t row = 0;
    for (const ThinHead& head : heads) {
      if (head.turn.rows() > 0) pieces.push_back({&head, &source, out.row(row), rows * side});
      row += head.turn.rows();
    }
    return out;
  };
  Strip strip;
  strip.writers = collect(layer.writers, w.output);
  if (withReaders) strip.readers = {collect(layer.readers[0], query), collect(layer.readers[1], key), collect(layer.readers[2], value)};
  parallelFor(
      static_cast<int64_t>(pieces.size()),
      [&](int64_t i) {
        const Piece& piece = pieces[static_cast<size_t>(i)];
        const Matrix& turn = piece.head->turn;
        for (int64_t b = 0; b < blocks; ++b) {
          const int64_t at = b * side;
          cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(turn.rows()),
                      static_cast<int>(std::min(side, count - at)), static_cast<int>(turn.cols()), 1.0F, turn.data(),
                      static_cast<int>(turn.cols()), piece.source->row(piece.head->firstRow) + at, static_cast<int>(count), 0.0F,
                      piece.target + b * piece.nextBlock, static_cast<int>(side));
        }
      },
      &job);
  return strip;
}

}  // namespace headscope::core
