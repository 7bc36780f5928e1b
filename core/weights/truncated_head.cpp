#include "core/weights/truncated_head.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/mechanisms/layer_heads.h"
#include "core/mechanisms/mask.h"
#include "core/mechanisms/rotation.h"
#include "core/mechanisms/softmax_run.h"
#include "core/weights/factored_matrix.h"

namespace headscope::core {
namespace {

/// A head that attends as the model does, with its own queries and values in place of the trace's.
class TruncatedRun : public HeadRun {
 public:
  TruncatedRun(const HeadInput& input, Matrix query, Matrix value) : query_(std::move(query)), value_(std::move(value)) {
    HeadInput own = input;
    if (query_.size() > 0) own.query = query_;
    if (value_.size() > 0) own.value = value_;
    run_ = std::make_unique<SoftmaxRun>(SoftmaxHead::of(own, std::make_shared<PatternMask>(Visibility(own), nullptr)),
                                        std::vector<std::string>{}, "P (2 k + 2 v + 4) + N v, P visible pairs");
  }
  void output(MatrixView out, Job& job) const override { run_->output(out, job); }
  void mapRows(int64_t first, int64_t count, MatrixView rows, Job& job) const override { run_->mapRows(first, count, rows, job); }
  Cost cost() const override { return run_->cost(); }

 private:
  Matrix query_, value_;  // [N, k], [N, v]; empty: the trace's
  std::unique_ptr<SoftmaxRun> run_;
};

/// Gram matrix of two factors that read different inputs, one below the other.
DoubleMatrix diagonalBlocks(const DoubleMatrix& a, const DoubleMatrix& b) {
  DoubleMatrix out(a.rows + b.rows, a.rows + b.rows);
  for (int64_t i = 0; i < a.rows; ++i) std::copy_n(a.row(i), a.cols, out.row(i));
  for (int64_t i = 0; i < b.rows; ++i) std::copy_n(b.row(i), b.cols, out.row(a.rows + i) + a.rows);
  return out;
}

void requireFinite(const DoubleMatrix& gram, HeadRef head, const char* what) {
  if (std::all_of(gram.values.begin(), gram.values.end(), [](double v) { return std::isfinite(v); })) return;
  throw Error(
      std::string("NaN or infinite weights in ") + what + " of head " + std::to_string(head.layer) + "." + std::to_string(head.head), {},
      "the head can't be truncated");
}

/// bias + norm bias through unfolded rows [k, d].
std::vector<double> constantOf(const std::vector<float>& bias, int64_t first, ConstMatrixView rows, const std::vector<float>& normBias) {
  if (bias.empty() && normBias.empty()) return {};
  std::vector<double> out(static_cast<size_t>(rows.rows), 0.0);
  for (int64_t r = 0; r < rows.rows; ++r) {
    double& sum = out[static_cast<size_t>(r)];
    if (!bias.empty()) sum += bias[static_cast<size_t>(first + r)];
    for (int64_t c = 0; !normBias.empty() && c < rows.cols; ++c) sum += static_cast<double>(rows(r, c)) * normBias[static_cast<size_t>(c)];
  }
  return out;
}

Matrix copyOf(ConstMatrixView a) {
  Matrix m(a.rows, a.cols);
  for (int64_t r = 0; r < a.rows; ++r) std::copy_n(a.row(r), a.cols, m.row(r));
  return m;
}

}  // namespace

DoubleMatrix meanRotatedGram(const DoubleMatrix& gram, const RopeSpec& rope, int64_t first, const HeadInput& input, const Job& job) {
  const int64_t n = input.count(), k = gram.rows, pairs = rope.dims / 2;
  DoubleMatrix sum(k, k);
  double weights = 0;
  const int64_t reach = input.window > 0 ? std::min(n, input.window) : n;
  for (int64_t offset = input.isCausal ? 0 : 1 - reach; offset < reach; ++offset) {
    if (offset % 16 == 0) job.checkpoint();
    const double weight = static_cast<double>(n - std::abs(offset));
    DoubleMatrix g = gram;
    for (int64_t i = 0; i < pairs; ++i) {  // rows, then columns, of each rotated pair
      const double angle = static_cast<double>(offset) * rope.frequencies[static_cast<size_t>(i)], c = std::cos(angle), s = std::sin(angle);
      const int64_t a = first + (rope.isInterleaved ? 2 * i : i), b = first + (rope.isInterleaved ? 2 * i + 1 : i + pairs);
      for (int64_t j = 0; j < k; ++j) {
        const double p = g(a, j), q = g(b, j);
        g(a, j) = c * p + s * q, g(b, j) = c * q - s * p;
      }
    }
    for (int64_t j = 0; j < k; ++j) {
      for (int64_t i = 0; i < pairs; ++i) {
        const double angle = static_cast<double>(offset) * rope.frequencies[static_cast<size_t>(i)], c = std::cos(angle),
                     s = std::sin(angle);
        const int64_t a = first + (rope.isInterleaved ? 2 * i : i), b = first + (rope.isInterleaved ? 2 * i + 1 : i + pairs);
        const double p = g(j, a), q = g(j, b);
        g(j, a) = c * p + s * q, g(j, b) = c * q - s * p;
      }
    }
    for (size_t i = 0; i < sum.values.size(); ++i) sum.values[i] += weight * g.values[i];
    weights += weight;
  }
  const double square = rope.magnitude * rope.magnitude;  // of queries and keys each
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < k; ++j) {
      const auto isRotated = [&](int64_t at) { return at >= first && at < first + rope.dims; };
      sum(i, j) *= (isRotated(i) ? square : 1.0) * (isRotated(j) ? square : 1.0) / weights;
    }
  }
  return sum;
}

TruncatedHead::Cut TruncatedHead::cutFor(const DoubleMatrix& gram, const DoubleMatrix& otherGram) {
  // L^T C with T^T T = L L^T, C C^T = the other side's Gram matrix: T C = U S V^T, and projecting L^T on the first left singular
  // vectors is M = T^-1 U_r U_r^T T = C V_r S_r^-1 U_r^T T.
  const DoubleMatrix t = choleskyFactor(gram), c = choleskyFactor(otherGram).transposed();
  SmallSvd svd = smallSvd(multiply(t, c));
  Cut cut;
  cut.right = multiplyTransposed(svd.right, c);  // rows: C v_i
  cut.left = multiply(svd.left, t);              // rows: u_i^T T
  for (int64_t i = 0; i < cut.right.rows; ++i) {
    const double s = svd.sigma[static_cast<size_t>(i)];
    const double inverse = s > 1e-9 * svd.sigma[0] ? 1.0 / s : 0.0;  // below: rounding of the Gram matrices, nothing to keep
    for (int64_t j = 0; j < cut.right.cols; ++j) cut.right(i, j) *= inverse;
  }
  cut.sigma = std::move(svd.sigma);
  return cut;
}

TruncatedHead::TruncatedHead(std::shared_ptr<const Trace> trace, HeadRef head, Fold fold, Job& job)
    : trace_(std::move(trace)), head_(head) {
  const Model& model = trace_->model();
  const ModelSpec& spec = model.spec();
  if (head.layer < 0 || head.layer >= trace_->layersRun() || head.head < 0 || head.head >= spec.heads)
    throw Error("the prompt was not run through this head", std::to_string(head.layer) + "." + std::to_string(head.head));
  const AttentionRule& rule = trace_->rule(head.layer);
  input_ = headRules(spec, head);
  input_.scale = rule.scale, input_.softcap = rule.softcap, input_.window = rule.window, input_.isCausal = rule.isCausal;
  const int64_t held = rule.kvHeadOf(head.head);
  input_.query = trace_->query(head.layer, head.head), input_.key = trace_->key(head.layer, held);
  input_.value = trace_->value(head.layer, held);

  const HeadWeights w = headWeights(model, head.layer, fold, MlaSplit::Heads, {}, &job);
  const int64_t h = head.head, g = w.kvHeadOf(h);
  DoubleMatrix queryGram, keyGram, valueGram;
  if (w.latent) {
    const HeadWeights::Latent& l = *w.latent;
    queryGram = gram(l.queryUp.view().rowsFrom(h * w.keyWidth, w.keyWidth));
    keyGram = diagonalBlocks(gram(l.keyUp.view().rowsFrom(h * w.nope, w.nope)), gram(l.ropeKey));
    valueGram = gram(l.valueUp.view().rowsFrom(h * w.valueWidth, w.valueWidth));
  } else {
    queryGram = gram(w.queryOf(h)), keyGram = gram(w.keyOf(g)), valueGram = gram(w.valueOf(g));
  }
  const DoubleMatrix outputGram = gram(w.outputOf(h));
  requireFinite(queryGram, head, "W_Q"), requireFinite(keyGram, head, "W_K");
  requireFinite(valueGram, head, "W_V"), requireFinite(outputGram, head, "W_O");
  job.checkpoint();
  if (input_.rope != nullptr) {
    keyGram = meanRotatedGram(keyGram, *input_.rope, input_.ropeFirst, input_, job);
    unrotated_ = unrotated(input_.query, *input_.rope, input_.ropeFirst);
  }
  query_ = cutFor(queryGram, keyGram);
  value_ = cutFor(valueGram, outputGram);

  // Folded weights of a norm that centres differ from what the outputs and biases go through.
  const std::vector<float> normBias = fold == Fold::On ? model.attentionNorm(head.layer).bias : std::vector<float>{};
  const bool isPlain = fold == Fold::Off || spec.norm != NormKind::LayerNorm;
  const HeadWeights stored = isPlain ? HeadWeights{} : headWeights(model, head.layer, Fold::Off, MlaSplit::Heads, {}, &job);
  const HeadWeights& plain = isPlain ? w : stored;
  output_ = copyOf(plain.outputOf(h));
  if (!w.latent) {
    const bool hasHeadNorm = !model.attention(head.layer).queryNorm.empty();  // a bias is normed with the rest
    if (!hasHeadNorm) query_.constant = constantOf(plain.queryBias, h * w.keyWidth, plain.queryOf(h), normBias);
    value_.constant = constantOf(plain.valueBias, g * w.valueWidth, plain.valueOf(g), normBias);
  }
}

std::vector<double> TruncatedHead::weightErrors(Circuit circuit) const {
  const std::vector<double>& s = cutOf(circuit).sigma;
  std::vector<double> left(s.size() + 1, 0.0);
  for (size_t i = s.size(); i-- > 0;) left[i] = left[i + 1] + s[i] * s[i];
  const double total = left[0];
  for (double& e : left) e = total > 0 ? std::sqrt(e / total) : 0.0;
  return left;
}

Matrix TruncatedHead::cutRows(const Cut& cut, ConstMatrixView rows, int64_t rank) const {
  DoubleMatrix x = DoubleMatrix::from(rows);
  const auto shift = [&](DoubleMatrix& m, double sign) {
    for (int64_t r = 0; !cut.constant.empty() && r < m.rows; ++r) {
      for (int64_t c = 0; c < m.cols; ++c) m(r, c) += sign * cut.constant[static_cast<size_t>(c)];
    }
  };
  shift(x, -1);
  DoubleMatrix right(rank, cut.right.cols), left(rank, cut.left.cols);
  std::copy_n(cut.right.data(), right.values.size(), right.data());
  std::copy_n(cut.left.data(), left.values.size(), left.data());
  DoubleMatrix y = multiply(multiplyTransposed(x, right), left);
  shift(y, 1);
  return y.toFloat();
}

std::unique_ptr<HeadRun> TruncatedHead::run(int64_t queryKeyRank, int64_t valueOutputRank) const {
  if (queryKeyRank < 0 || valueOutputRank < 0) throw Error("a rank is below 0", std::to_string(std::min(queryKeyRank, valueOutputRank)));
  Matrix query, value;
  if (queryKeyRank < fullRank(Circuit::QK)) {
    query = cutRows(query_, unrotated_.size() > 0 ? unrotated_.view() : input_.query, queryKeyRank);
    if (input_.rope != nullptr) query = rotated(query, *input_.rope, input_.ropeFirst);
  }
  if (valueOutputRank < fullRank(Circuit::OV)) value = cutRows(value_, input_.value, valueOutputRank);
  return std::make_unique<TruncatedRun>(input_, std::move(query), std::move(value));
}

HeadErrors TruncatedHead::errors(const HeadRun& run, const ErrorOptions& options, Job& job) const {
  const HeadRun* runs[] = {&run};
  return headErrors(input_, runs, output_, options, job).front();
}

std::string TruncatedHead::definition(Circuit circuit) const {
  const bool isLatent = trace_->spec().mla.has_value();
  if (circuit == Circuit::OV) return isLatent ? "W_OV cut to rank r in latent coordinates" : "W_OV cut to rank r";
  if (input_.rope == nullptr) return "W_QK cut to rank r";
  return std::string("W_QK cut to rank r at every offset: the ") + (isLatent ? "query latent" : "query") +
         " read in r directions, the best on average over this prompt's offsets";
}

}  // namespace headscope::core
