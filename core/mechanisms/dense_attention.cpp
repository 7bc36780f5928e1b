// DenseAttention (andrewargatkiny/dense-attention) as a what-if on a softmax head: map = Q' K'^T, out = map V' with
// Q' = X' W_Q, K' = X' W_K, V' = X' W_V of X' = n^(-1/3) MaxNorm(x), x the block's normed input and n the tokens that a query
// can see (N, or the window of a local scheme). No softmax, no scale, no biases, no positions; scores are signed.
// Linear order: Q' (K'^T V'); quadratic order: (Q' K'^T) V'; the numbers are the same.
#include <algorithm>
#include <cmath>
#include <mutex>

#include "core/base/error.h"
#include "core/mechanisms/kinds.h"
#include "core/mechanisms/mask.h"
#include "core/mechanisms/products.h"

namespace headscope::core {
namespace {

constexpr int64_t kRows = 64;

enum class Scheme { Global, Chunk, Shifted, Sliding };

struct Settings {
  Scheme scheme = Scheme::Global;
  std::string order;  // auto, linear, quadratic
  int64_t window = 64;
  bool hasCosine = false;
  double base = 10000.0;
};

/// x / (max |x| + 1e-3) times factor, and cos(m base^(-(c mod n)/n)) of position m where asked, n the head width.
Matrix normedRows(ConstMatrixView x, int64_t first, int64_t count, double factor, const Settings& settings, int64_t headWidth) {
  Matrix out(count, x.cols);
  for (int64_t r = 0; r < count; ++r) {
    const float* row = x.row(first + r);
    float largest = 0;
    for (int64_t c = 0; c < x.cols; ++c) largest = std::max(largest, std::abs(row[c]));
    const double share = factor / (static_cast<double>(largest) + 1e-3);
    for (int64_t c = 0; c < x.cols; ++c) {
      double value = share * static_cast<double>(row[c]);
      if (settings.hasCosine) {
        const double theta = std::pow(settings.base, -static_cast<double>(c % headWidth) / static_cast<double>(headWidth));
        value *= std::cos(static_cast<double>(first + r) * theta);
      }
      out(r, c) = static_cast<float>(value);
    }
  }
  return out;
}

class DenseAttentionRun : public HeadRun {
 public:
  DenseAttentionRun(const HeadInput& input, Settings settings, Job& job) : settings_(std::move(settings)), isCausal_(input.isCausal) {
    const int64_t n = input.count();
    notes_ = {"a what-if: DenseAttention on a checkpoint trained with softmax", "signed and unnormalised"};
    if (settings_.scheme == Scheme::Sliding && !isCausal_) notes_.push_back("causal: hides later tokens, which this model sees");
    if (input.window > 0) notes_.push_back("the model's sliding window is left out");
    const int64_t seen = settings_.scheme == Scheme::Global ? n : std::min(n, settings_.window);
    const double factor = std::pow(static_cast<double>(seen), -1.0 / 3.0);
    query_ = Matrix(n, input.queryWeight.rows);
    key_ = Matrix(n, input.keyWeight.rows);
    value_ = Matrix(n, input.valueWeight.rows);
    Work unused;  // projections are every mechanism's, and counted for none
    for (int64_t first = 0; first < n; first += kRows) {
      job.checkpoint();
      const int64_t rows = std::min(kRows, n - first);
      const Matrix x = normedRows(input.normedInput, first, rows, factor, settings_, input.queryWeight.rows);
      productByTransposed(x, input.queryWeight, query_.view().rowsFrom(first, rows), 1.0f, 0.0f, unused);
      productByTransposed(x, input.keyWeight, key_.view().rowsFrom(first, rows), 1.0f, 0.0f, unused);
      productByTransposed(x, input.valueWeight, value_.view().rowsFrom(first, rows), 1.0f, 0.0f, unused);
    }
    const int64_t span = settings_.scheme == Scheme::Global ? n : settings_.window;
    isLinear_ = settings_.scheme != Scheme::Sliding &&
                (settings_.order == "linear" || (settings_.order == "auto" && query_.cols() <= std::min(n, span)));
  }

  void output(MatrixView out, Job& job) const override {
    Work work;
    double pairs = 0;
    const int64_t n = query_.rows();
    for (int64_t first = 0; first < n;) {
      const KeyRange window = windowOf(first);
      if (isLinear_) {
        linear(window, out, work, pairs, job);
      } else {
        quadratic(window, out, work, pairs, job);
      }
      first = window.end;
    }
    const std::lock_guard lock(mutex_);
    operations_ = work.operations;
    pairs_ = pairs;
  }

  void mapRows(int64_t first, int64_t count, MatrixView rows, Job& job) const override {
    job.checkpoint();
    Work unused;
    for (int64_t r = 0; r < count; ++r) std::fill_n(rows.row(r), rows.cols, 0.0f);
    KeyRange all{rows.cols, 0};
    for (int64_t r = 0; r < count; ++r) {
      all.first = std::min(all.first, seen(first + r).first);
      all.end = std::max(all.end, seen(first + r).end);
    }
    productByTransposed(query_.view().rowsFrom(first, count), key_.view().rowsFrom(all.first, all.end - all.first),
                        rows.colsFrom(all.first, all.end - all.first), 1.0f, 0.0f, unused);
    for (int64_t r = 0; r < count; ++r) cut(rows.row(r), 0, rows.cols, seen(first + r));
  }

  Cost cost() const override {
    const std::lock_guard lock(mutex_);
    const double n = static_cast<double>(query_.rows()), k = static_cast<double>(query_.cols()), v = static_cast<double>(value_.cols());
    Cost cost;
    cost.operations = operations_;
    cost.pairs = pairs_;
    cost.keptPairs = pairs_;
    cost.bytesMoved = 4.0 * n * (isLinear_ && !isCausal_ ? 2.0 * k + 2.0 * v : k + v + k + v);
    const double widest =
        static_cast<double>(settings_.scheme == Scheme::Global ? query_.rows() : std::min(query_.rows(), 2 * settings_.window + kRows));
    cost.bytesHeld = isLinear_ ? 4.0 * (k * v + (isCausal_ ? kRows * kRows : 0)) : 4.0 * kRows * widest;
    cost.formula = isLinear_ ? (isCausal_ ? "4 N k v + 2 N C (k + v), C = 64 rows a chunk" : "4 N k v")
                             : "P (2 k + 2 v), P pairs of whole row blocks: N^2, or about half where causal";
    cost.heldFormula = isLinear_ ? "4 k v, + 4 C^2 where causal" : "4 * 64 keys seen";
    return cost;
  }
  std::vector<std::string> notes() const override { return notes_; }

 private:
  /// The window that token `at` falls into: all tokens where the scheme is global or sliding.
  KeyRange windowOf(int64_t at) const {
    const int64_t n = query_.rows(), w = settings_.window;
    if (settings_.scheme == Scheme::Global || settings_.scheme == Scheme::Sliding) return {0, n};
    const int64_t shift = settings_.scheme == Scheme::Shifted ? w - w / 2 : 0;  // the first shifted window has w / 2 tokens
    const int64_t index = (at + shift) / w;
    return {std::max<int64_t>(0, index * w - shift), std::min(n, (index + 1) * w - shift)};
  }
  KeyRange seen(int64_t row) const {
    if (settings_.scheme == Scheme::Sliding) return {std::max<int64_t>(0, row + 1 - settings_.window), row + 1};
    const KeyRange window = windowOf(row);
    return {window.first, isCausal_ ? row + 1 : window.end};
  }
  static void cut(float* row, int64_t from, int64_t to, KeyRange keep) {
    std::fill(row, row + std::clamp(keep.first - from, int64_t{0}, to - from), 0.0f);
    std::fill(row + std::clamp(keep.end - from, int64_t{0}, to - from), row + (to - from), 0.0f);
  }

  void quadratic(KeyRange window, MatrixView out, Work& work, double& pairs, Job& job) const {
    Matrix scores;
    for (int64_t first = window.first; first < window.end; first += kRows) {
      job.checkpoint();
      const int64_t rows = std::min(kRows, window.end - first), low = seen(first).first, high = seen(first + rows - 1).end;
      if (scores.cols() < high - low) scores = Matrix(kRows, high - low);
      const MatrixView block{scores.data(), rows, high - low, scores.cols()};
      productByTransposed(query_.view().rowsFrom(first, rows), key_.view().rowsFrom(low, high - low), block, 1.0f, 0.0f, work);
      for (int64_t r = 0; r < rows; ++r) cut(block.row(r), low, high, seen(first + r));
      product(block, value_.view().rowsFrom(low, high - low), out.rowsFrom(first, rows), 1.0f, 0.0f, work);
      pairs += static_cast<double>(rows * (high - low));
    }
  }

  void linear(KeyRange window, MatrixView out, Work& work, double& pairs, Job& job) const {
    Matrix sum = Matrix::zeros(key_.cols(), value_.cols()), scores(kRows, kRows);  // K^T V [k, v], one chunk's triangle
    const auto absorb = [&](int64_t first, int64_t rows) {
      transposedProduct(key_.view().rowsFrom(first, rows), value_.view().rowsFrom(first, rows), sum.view(), 1.0f, 1.0f, work);
    };
    for (int64_t first = window.first; first < window.end && !isCausal_; first += kRows) absorb(first, std::min(kRows, window.end - first));
    for (int64_t first = window.first; first < window.end; first += kRows) {
      job.checkpoint();
      const int64_t rows = std::min(kRows, window.end - first);
      const MatrixView block = out.rowsFrom(first, rows);
      product(query_.view().rowsFrom(first, rows), sum, block, 1.0f, 0.0f, work);
      if (!isCausal_) continue;
      const MatrixView triangle{scores.data(), rows, rows, kRows};
      productByTransposed(query_.view().rowsFrom(first, rows), key_.view().rowsFrom(first, rows), triangle, 1.0f, 0.0f, work);
      for (int64_t r = 0; r < rows; ++r) std::fill(triangle.row(r) + r + 1, triangle.row(r) + rows, 0.0f);
      product(triangle, value_.view().rowsFrom(first, rows), block, 1.0f, 1.0f, work);
      pairs += static_cast<double>(rows * rows);
      absorb(first, rows);
    }
  }

  Settings settings_;
  bool isCausal_, isLinear_ = false;
  Matrix query_, key_, value_;  // Q' [N, k], K' [N, k], V' [N, v]
  std::vector<std::string> notes_;
  mutable std::mutex mutex_;
  mutable double operations_ = 0, pairs_ = 0;
};

class DenseAttentionMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  bool isNormalised() const override { return false; }
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job& job) const override {
    if (input.normedInput.data == nullptr || input.queryWeight.data == nullptr || input.keyWeight.data == nullptr ||
        input.valueWeight.data == nullptr) {
      throw Error("DenseAttention starts from the residual stream and this head's W_Q, W_K and W_V, which this model does not give",
                  "mechanism dense_attention");
    }
    Settings settings;
    const std::string& scheme = arguments().text("scheme");
    settings.scheme = scheme == "chunk"     ? Scheme::Chunk
                      : scheme == "shifted" ? Scheme::Shifted
                      : scheme == "sliding" ? Scheme::Sliding
                                            : Scheme::Global;
    settings.order = arguments().text("order");
    settings.window = arguments().integer("window");
    settings.hasCosine = arguments().text("relpe") == "cosine";
    settings.base = arguments().real("base");
    return std::make_unique<DenseAttentionRun>(input, settings, job);
  }
};

}  // namespace

MechanismKind denseAttentionKind() {
  return {"dense_attention",
          "no softmax: (X W_Q)(X W_K)^T (X W_V) of the max-normed input, a what-if",
          {Parameter::word("order", "auto", {"auto", "linear", "quadratic"}, "Q (K^T V), (Q K^T) V, or the cheaper of both"),
           Parameter::word("scheme", "global", {"global", "chunk", "shifted", "sliding"},
                           "all tokens, windows, windows shifted by half, or the last ones"),
           Parameter::integer("window", 64, 1, kLargestParameter, "tokens of a local scheme's window"),
           Parameter::word("relpe", "none", {"none", "cosine"}, "positions: none, or X times cos(m theta)"),
           Parameter::real("base", 10000.0, 1.0, 1e12, "of theta_i = base^(-i/n)")},
          [](const Arguments& a) { return std::make_unique<DenseAttentionMechanism>(a); }};
}

}  // namespace headscope::core
