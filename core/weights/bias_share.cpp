#include "core/weights/bias_share.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/base/parallel.h"
#include "core/weights/dense.h"
#include "core/weights/input_statistics.h"

namespace headscope::core {
namespace {

/// The input as a set of heads' rows reads it: mu and the covariance's triangle, both through what the heads share.
struct Reading {
  DoubleMatrix mean;    // [1, m]
  DoubleMatrix spread;  // [n, m], n the triangle's rows that are not zero
};

Reading readingOf(const LayerInput& input) {
  const DoubleMatrix& r = *input.triangle;
  int64_t rows = r.rows;
  while (rows > 0 && std::all_of(r.row(rows - 1), r.row(rows - 1) + r.cols, [](double v) { return v == 0; })) --rows;
  Reading out{DoubleMatrix(1, static_cast<int64_t>(input.mean.size())), DoubleMatrix(rows, r.cols)};
  out.mean.values = input.mean;
  std::copy_n(r.data(), out.spread.values.size(), out.spread.data());
  return out;
}

/// Through a shared projection W^T [m, d].
Reading through(const Reading& reading, const Matrix& down) {
  const DoubleMatrix w = DoubleMatrix::from(down);
  return {multiplyTransposed(reading.mean, w), multiplyTransposed(reading.spread, w)};
}

/// rows: W^T [k, m] of the factor that reads; other: Gram matrix of the other factor; empty: none.
double shareOf(const Reading& reading, ConstMatrixView rows, const DoubleMatrix& other) {
  const DoubleMatrix f = DoubleMatrix::from(rows), at = multiplyTransposed(reading.mean, f), spread = multiplyTransposed(reading.spread, f);
  const auto energy = [&](const DoubleMatrix& x) { return other.rows == 0 ? innerProduct(x, x) : innerProduct(multiply(x, other), x); };
  const double fixed = energy(at), all = fixed + energy(spread);
  return all > 0 || std::isnan(all) ? fixed / all : 0.0;
}

/// [W_UK,h^T 0; 0 I] J [..]^T with J the Gram matrix of the latent's and the rotary key's projections.
DoubleMatrix keyGram(const HeadWeights& w, int64_t head, const DoubleMatrix& joint) {
  const int64_t c = w.latent->latentDown.rows(), k = w.nope + w.rope;
  DoubleMatrix rows(k, c + w.rope);
  for (int64_t r = 0; r < w.nope; ++r) {
    const float* from = w.latent->keyUp.row(head * w.nope + r);
    std::copy_n(from, c, rows.row(r));
  }
  for (int64_t r = 0; r < w.rope; ++r) rows(w.nope + r, c + r) = 1;
  return multiplyTransposed(multiply(rows, joint), rows);
}

DoubleMatrix jointGram(const HeadWeights::Latent& l) {
  Matrix down(l.latentDown.rows() + l.ropeKey.rows(), l.latentDown.cols());
  std::copy_n(l.latentDown.data(), l.latentDown.size(), down.row(0));
  if (l.ropeKey.size() > 0) std::copy_n(l.ropeKey.data(), l.ropeKey.size(), down.row(l.latentDown.rows()));
  return gramTiled(down, nullptr);
}

}  // namespace

std::vector<BiasShare> biasShares(const HeadWeights& w, const LayerInput& input, const std::vector<std::string>& matrices, const Job& job) {
  std::vector<BiasShare> out;
  const Reading stream = readingOf(input);
  const auto isAsked = [&](const char* name) {
    return matrices.empty() || std::find(matrices.begin(), matrices.end(), name) != matrices.end();
  };
  const auto add = [&](const char* name, int64_t heads, const std::function<double(int64_t)>& share) {
    out.push_back({name, std::vector<double>(static_cast<size_t>(heads))});
    parallelFor(
        heads, [&](int64_t h) { out.back().heads[static_cast<size_t>(h)] = share(h); }, &job);
  };
  if (w.latent) {
    const HeadWeights::Latent& l = *w.latent;
    const int64_t k = w.nope + w.rope;
    if (isAsked("W_QK")) {
      const Reading query = l.queryDown.size() > 0 ? through(stream, l.queryDown) : stream;
      const DoubleMatrix joint = jointGram(l);
      add("W_QK", w.heads, [&](int64_t h) { return shareOf(query, l.queryUp.view().rowsFrom(h * k, k), keyGram(w, h, joint)); });
    }
    if (isAsked("W_OV")) {
      const Reading latent = through(stream, l.latentDown);
      add("W_OV", w.heads,
          [&](int64_t h) { return shareOf(latent, l.valueUp.view().rowsFrom(h * w.valueWidth, w.valueWidth), gram(w.outputOf(h))); });
    }
    return out;
  }
  const DoubleMatrix none;
  if (isAsked("W_Q")) add("W_Q", w.heads, [&](int64_t h) { return shareOf(stream, w.queryOf(h), none); });
  if (isAsked("W_K")) add("W_K", w.kvHeads, [&](int64_t g) { return shareOf(stream, w.keyOf(g), none); });
  if (isAsked("W_V")) add("W_V", w.kvHeads, [&](int64_t g) { return shareOf(stream, w.valueOf(g), none); });
  if (isAsked("W_QK")) add("W_QK", w.heads, [&](int64_t h) { return shareOf(stream, w.queryOf(h), gram(w.keyOf(w.kvHeadOf(h)))); });
  if (isAsked("W_OV")) add("W_OV", w.heads, [&](int64_t h) { return shareOf(stream, w.valueOf(w.kvHeadOf(h)), gram(w.outputOf(h))); });
  return out;
}

}  // namespace headscope::core
