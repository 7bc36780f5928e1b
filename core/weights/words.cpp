#include "core/weights/words.h"

#include <cblas.h>

#include <algorithm>

#include "core/backend/backend.h"
#include "core/base/error.h"
#include "core/base/job.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/table_product.h"

namespace headscope::core {
namespace {

Matrix product(ConstMatrixView a, ConstMatrixView b) {  // [m, k] [k, n]
  Matrix c = Matrix::zeros(a.rows, b.cols);
  if (c.size() == 0 || a.cols == 0) return c;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(a.rows), static_cast<int>(b.cols), static_cast<int>(a.cols), 1.0F,
              a.data, static_cast<int>(a.stride), b.data, static_cast<int>(b.stride), 0.0F, c.data(), static_cast<int>(c.cols()));
  return c;
}

Matrix copyOf(ConstMatrixView a) {
  Matrix m(a.rows, a.cols);
  for (int64_t r = 0; r < a.rows; ++r) std::copy_n(a.row(r), a.cols, m.row(r));
  return m;
}

/// Scores of every vocabulary row on every direction, [directions, vocabulary].
Matrix scoresOf(const WeightView& table, const Matrix& directions, Backend* backend, const Job& job) {
  return backend != nullptr && backend->supports(Op::TableProduct) ? backend->tableProduct(directions, table, job)
                                                                   : tableProduct(directions, table, job);
}

std::vector<WordScore> strongest(const Matrix& scores, int64_t direction, int64_t top, bool isPositive) {
  std::vector<WordScore> all;
  all.reserve(static_cast<size_t>(scores.cols()));
  for (int64_t i = 0; i < scores.cols(); ++i) all.push_back({static_cast<int32_t>(i), scores(direction, i)});
  const auto count = std::min<int64_t>(top, static_cast<int64_t>(all.size()));
  std::partial_sort(all.begin(), all.begin() + count, all.end(), [&](const WordScore& a, const WordScore& b) {
    return a.score != b.score ? (isPositive ? a.score > b.score : a.score < b.score) : a.id < b.id;
  });
  all.resize(static_cast<size_t>(count));
  return all;
}

}  // namespace

HeadFactors residualFactors(const HeadWeights& w, int64_t h, Circuit circuit) {
  const int64_t g = w.kvHeadOf(h);
  if (!w.latent) {
    if (circuit == Circuit::QK) return {copyOf(w.queryOf(h)), copyOf(w.keyOf(g))};
    return {copyOf(w.valueOf(g)), copyOf(w.outputOf(h))};
  }
  const HeadWeights::Latent& l = *w.latent;
  if (circuit == Circuit::OV)
    return {product(l.valueUp.view().rowsFrom(h * w.valueWidth, w.valueWidth), l.latentDown), copyOf(w.outputOf(h))};
  const int64_t k = w.nope + w.rope;
  const ConstMatrixView up = l.queryUp.view().rowsFrom(h * k, k);
  const Matrix nope = product(l.keyUp.view().rowsFrom(h * w.nope, w.nope), l.latentDown);
  HeadFactors out{l.queryDown.size() > 0 ? product(up, l.queryDown) : copyOf(up), Matrix(k, l.latentDown.cols())};
  std::copy_n(nope.data(), nope.size(), out.right.row(0));
  if (w.rope > 0) std::copy_n(l.ropeKey.data(), l.ropeKey.size(), out.right.row(w.nope));
  return out;
}

HeadWords headWords(const Model& model, HeadRef ref, Circuit circuit, int64_t directions, int64_t top, const Job& job, Backend* backend) {
  const ModelSpec& spec = model.spec();
  if (spec.input != InputKind::Tokens) throw Error("the model reads images: it has no vocabulary", model.name());
  const EmbeddingWeights embedding = model.embedding();
  const Fold fold = defaultFold(spec);
  const HeadWeights weights = headWeights(model, ref.layer, fold, MlaSplit::Heads, {}, &job);
  const HeadFactors factors = residualFactors(weights, ref.head, circuit);
  for (const Matrix* f : {&factors.left, &factors.right}) {
    if (!std::all_of(f->data(), f->data() + f->size(), [](float v) { return std::isfinite(v); }))
      throw Error(std::string("NaN or infinite weights in ") + (circuit == Circuit::QK ? "W_QK" : "W_OV") + " of head " +
                      std::to_string(ref.layer) + "." + std::to_string(ref.head),
                  {}, "its directions are not numbers");
  }
  SingularVectors vectors = FactoredMatrix(factors.left, factors.right).vectors(directions);

  HeadWords out;
  out.circuit = circuit;
  out.isFolded = fold == Fold::On;
  const Matrix read = scoresOf(embedding.tokens, vectors.left, backend, job);
  WeightView table = embedding.tokens;
  HeadWeightsOnTop last;
  if (circuit == Circuit::OV) {
    last = model.head();
    out.isUnembedded = !last.unembedding.empty() && last.transform.empty() && last.unembedding.outputs() == spec.vocabulary;
    if (out.isUnembedded) {
      table = last.unembedding.weight;
      for (int64_t i = 0; out.isFolded && !last.finalNorm.empty() && i < vectors.right.rows(); ++i) {
        for (int64_t c = 0; c < vectors.right.cols(); ++c) vectors.right(i, c) *= last.finalNorm.gain[static_cast<size_t>(c)];
      }
    }
  }
  const Matrix written = scoresOf(table, vectors.right, backend, job);
  for (int64_t i = 0; i < static_cast<int64_t>(vectors.sigma.size()); ++i) {
    const size_t s = static_cast<size_t>(i);
    out.directions.push_back({vectors.sigma[s], vectors.groups[s], strongest(read, i, top, true), strongest(read, i, top, false),
                              strongest(written, i, top, true), strongest(written, i, top, false)});
  }
  return out;
}

}  // namespace headscope::core
