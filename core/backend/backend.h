#pragma once
// Backend: where numbers are computed. Some thirty coarse operations, most over opaque buffers; the forward pass, tiles and
// head scores are written once against it. The CPU implementation (cpu/cpu_backend.h) is the reference; a GPU's yields the same
// numbers within the tolerance of tests/support/op_cases.h.
//
// Order of use: allocate or upload, operations, download. Operations may run ahead of the caller; download, hostData and every
// operation that returns numbers wait for what they need. Thread-safe: the window asks for tiles while a pass runs.
// Weights are given as they are stored (WeightView into mapped files) and stay so; a backend that keeps copies of them
// on a device keys them by place and drops them with the owner that keepWeights() names.
// Errors: DeviceFault when the device's memory is short or it is lost; Cancelled when the job was. Shapes that don't agree are bugs.
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/backend/attention_rule.h"
#include "core/backend/masked_attention.h"
#include "core/backend/tensor.h"
#include "core/backend/tile_request.h"
#include "core/backend/weight_ops.h"
#include "core/base/job.h"
#include "core/model/model.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

enum class Op {
  Embed,
  Linear,
  Norm,
  Rope,
  Activate,
  Gate,
  Add,
  Scale,
  Softcap,
  CopyHeads,
  GatherRows,
  ScatterRows,
  RowNorms,
  Attention,
  MapTile,
  ColumnMass,
  PatternSums,
  KeysNeeded,
  LogitSummary,
  Spectra,
  InnerProducts,
  SmallSvds,
  WholeSpectrum,
  PairSums,
  MaskedAttention,
  StackDirections,
  SquareProduct,
  TableProduct,
  ChosenAttention,
  ChosenTile
};
inline constexpr int kOpCount = static_cast<int>(Op::ChosenTile) + 1;
std::string_view nameOf(Op op);  // "attention"

/// How products are computed. Float32 is the reference; the others are a device's, shown wherever the device is named, and less
/// exact: Tf32 keeps 10 bits of each factor, Bf16 keeps 7 (sums stay float32 in both).
enum class Precision { Float32, Tf32, Bf16 };
std::string_view nameOf(Precision precision);  // "float32"

/// Whether an operation's result replaces what `out` holds or is added to it.
enum class Into { Replace, Add };

struct NormRule {
  NormKind kind = NormKind::RmsNorm;
  double eps = 1e-5;
  int64_t groups = 1;  // each row is `groups` vectors of equal width, normed apart (heads)
};

/// Which dimensions of which heads turn: head h's dimensions [offset, offset + spec.dims) of [N, heads * headWidth].
struct RopeRule {
  int64_t heads = 1, headWidth = 0, offset = 0;
  int64_t firstPosition = 0;  // of row 0
  bool isInverse = false;     // turns back, exactly
};

/// Keys listed per row: row r (of query firstRow + r) lists cols[starts[r]] .. cols[starts[r + 1] - 1], ascending.
struct RowPattern {
  int64_t firstRow = 0;
  std::vector<int64_t> starts;  // [rows + 1]
  std::vector<int32_t> cols;
  int64_t rows() const { return static_cast<int64_t>(starts.size()) - 1; }
};

/// Keys needed per row to reach each share of the mass.
struct KeysNeeded {
  Matrix plain;     // [H * shares, N], head-major: row h * shares + s
  Matrix weighted;  // the same with weights A[i, j] * keyWeights[h, j], normalised by row; empty when not asked for
};

/// What a row of logits says without keeping it.
struct LogitSummary {
  std::vector<double> logSumExp;  // [N]
  std::vector<float> target;      // [N] logit of the row's target id
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;    // "cpu", "cuda"
  virtual std::string device() const = 0;  // for people: "2 threads, AVX-512"
  /// Card, driver and plug-in: what results of a self-test are kept by.
  virtual std::string identity() const { return device(); }
  /// Why this backend and no better one was taken ("" when it is the best or the one asked for), and what a device failed at.
  std::string reason() const {
    std::lock_guard lock(reasonMutex_);
    return reason_;
  }
  void setReason(std::string reason) {
    std::lock_guard lock(reasonMutex_);
    reason_ = std::move(reason);
  }
  /// True where the backend has the operation. All but those on weights are always had.
  virtual bool supports(Op op) const = 0;
  virtual Precision precision() const { return Precision::Float32; }
  /// Throws Error where the device can't. Takes effect for operations that begin afterwards.
  virtual void setPrecision(Precision precision);
  /// True where float32 products with weights stored as bf16 are sums of bf16 products of exact parts. They are Float32 as long as the
  /// device adds as finely as float32 does, which its self-test finds out: one that fails is told to leave them.
  virtual bool splitsProducts() const { return false; }
  virtual void leaveSplitProducts() {}

  // Memory
  /// Uninitialised [rows, cols].
  virtual Tensor allocate(int64_t rows, int64_t cols) = 0;
  virtual void write(ConstMatrixView from, const Tensor& to) = 0;
  virtual void read(const Tensor& from, MatrixView to) = 0;
  virtual void copy(const Tensor& from, const Tensor& to) = 0;
  /// The numbers where the host can read them, or nullptr when they lie elsewhere.
  virtual const float* hostData(const Tensor& tensor) const = 0;
  Tensor upload(ConstMatrixView from);
  Matrix download(const Tensor& from);
  /// Weights that come now are valid as long as `owner` lives.
  virtual void keepWeights(std::shared_ptr<const void> owner) { (void)owner; }
  /// True where expectWeights() is worth the caller's while.
  virtual bool fetchesWeights() const { return false; }
  /// Weights that come soon, in this order: a device may fetch them while it computes.
  virtual void expectWeights(std::span<const WeightView> weights) { (void)weights; }
  /// Gives back memory that holds copies of the host's numbers, which come again when they are used; true where there was any.
  virtual bool dropCopies() { return false; }

  // Layers. x [N, in], out [N, out]; out may be x where an operation says "in place"
  /// out[n] = scale * table row ids[n]; ids are checked by the caller.
  virtual void embed(const WeightView& table, std::span<const int32_t> ids, float scale, Into into, const Tensor& out, Job& job) = 0;
  /// out = x W^T + bias with the adapter's change, if any, as factors beside W.
  virtual void linear(const Tensor& x, const Linear& weights, Into into, const Tensor& out, Job& job) = 0;
  /// LayerNorm or RMSNorm of each group of each row; in place allowed. weights.gain [cols / groups].
  virtual void norm(const Tensor& x, const NormRule& rule, const NormWeights& weights, const Tensor& out, Job& job) = 0;
  /// Rotary positions, in place.
  virtual void rope(const Tensor& x, const RopeRule& rule, const RopeSpec& spec, Job& job) = 0;
  /// x = f(x), in place.
  virtual void activate(const Tensor& x, Activation activation, Job& job) = 0;
  /// x = f(gate) * x, in place.
  virtual void gate(const Tensor& x, const Tensor& gate, Activation activation, Job& job) = 0;
  /// x += y.
  virtual void add(const Tensor& x, const Tensor& y, Job& job) = 0;
  /// x *= factor.
  virtual void scale(const Tensor& x, float factor, Job& job) = 0;
  /// x = cap * tanh(x / cap), in place.
  virtual void softcap(const Tensor& x, float cap, Job& job) = 0;
  /// For every target head h: to[:, h * toWidth + toOffset ..+ width] = from[:, (h mod fromHeads) * width ..+ width].
  /// from [N, fromHeads * width], to [N, heads * toWidth].
  virtual void copyHeads(const Tensor& from, int64_t fromHeads, const Tensor& to, int64_t heads, int64_t toOffset, Job& job) = 0;
  /// out[r] = x[rows[r]].
  virtual void gatherRows(const Tensor& x, std::span<const int32_t> rows, const Tensor& out, Job& job) = 0;
  /// out[rows[r]] += weights[r] * x[r]; rows are distinct.
  virtual void scatterRows(const Tensor& x, std::span<const int32_t> rows, std::span<const float> weights, const Tensor& out, Job& job) = 0;
  /// Euclidean norm of each row, [N].
  virtual std::vector<float> rowNorms(const Tensor& x, Job& job) = 0;

  // Attention
  /// out [N, H*v] = A V for all heads, and the statistics of every row (allocated here).
  virtual AttentionStatistics attention(const AttentionInput& input, const Tensor& out, Job& job) = 0;
  /// Cells [rows, cols] of one head's map; masked entries are exactly 0.
  virtual Matrix mapTile(const AttentionInput& input, const AttentionStatistics& rows, int64_t head, const TileRequest& request,
                         Job& job) = 0;
  /// Mass each key receives over all queries, [N].
  virtual std::vector<float> columnMass(const AttentionInput& input, const AttentionStatistics& rows, int64_t head, Job& job) = 0;
  /// Sum over the listed keys of A[i, j], [H, pattern.rows()]. Masked entries count 0.
  virtual Matrix patternSums(const AttentionInput& input, const AttentionStatistics& rows, const RowPattern& pattern, Job& job) = 0;
  /// Smallest number of keys whose weights reach share - 1e-9 of a row, at most N, for every head, share and row.
  /// keyWeights [H, N] or null. shares ascending.
  virtual KeysNeeded keysNeeded(const AttentionInput& input, const AttentionStatistics& rows, const Matrix* keyWeights,
                                std::span<const double> shares, Job& job) = 0;
  /// Of softcapped logits x W^T + bias (softcap 0: none): log-sum-exp and the logit of targets[n] (-1: none, NaN) per row,
  /// in tiles of the vocabulary: [N, vocabulary] is never held.
  virtual LogitSummary logitSummary(const Tensor& x, const Linear& unembedding, double softcap, std::span<const int32_t> targets,
                                    Job& job) = 0;

  // Weights: factors in host memory, results in double (weight_ops.h). A backend may lack them: ask supports().
  virtual SpectraResult spectra(const SpectraBatch& batch, const Job& job);
  /// A B^T of every pair, accumulated in double.
  virtual std::vector<DoubleMatrix> innerProducts(std::span<const FactorPair> pairs, const Job& job);
  /// SVDs of small matrices, any side up to some hundreds; without vectors left and right are empty. With them, vectors of
  /// values that are zero may be zero.
  virtual std::vector<SmallSvd> smallSvds(std::span<const DoubleMatrix> cores, bool withVectors, const Job& job);
  /// Singular values, descending, of one large matrix [k, m], k <= m: min(k, m) of them, from its Gram matrix or by its own
  /// decomposition (SpectrumRoute::Householder).
  virtual std::vector<double> wholeSpectrum(ConstMatrixView rows, SpectrumRoute route, const Job& job);
  /// sums [a.writers, a.readers] += for every pair of the plan's groups <W_w^T W_w, X_r^T X_r> over the model coordinates
  /// (column of a) x (column of b): twice where the strips differ, once (both triangles) where b is a.
  virtual void addPairSums(const PairStrip& a, const PairStrip& b, const PairPlan& plan, std::span<double> sums, const Job& job);

  /// All singular values of a stack of heads [heads * perHead, d], and every head's energy on each direction.
  virtual StackDirections stackDirections(ConstMatrixView stack, int64_t perHead, const Job& job);
  /// out = x W W^T with x and out [b, rows], w [rows, cols]: a step of iterations on W W^T. In float32 whatever the precision.
  virtual void squareProduct(const Tensor& x, const Tensor& w, const Tensor& out, const Job& job);
  /// x W^T [n, table.outputs()] for a few rows x and a large stored table. In float32 whatever the precision.
  virtual Matrix tableProduct(ConstMatrixView x, const WeightView& table, const Job& job);

  // Mechanisms: host memory in and out. A backend may lack it: ask supports().
  /// out [M, v] = softmax attention of one head over the keys listed for each of its rows.
  virtual MaskedRows maskedAttention(const MaskedHead& head, const RangeList& seen, MatrixView out, const Job& job);
  /// The same where each row's scores choose among the keys it sees; out [M, v], or without columns: the rows' sums alone. The scores of
  /// a block of rows are computed whole.
  virtual ChosenRows chosenAttention(const MaskedHead& head, const KeyChoice& choice, MatrixView out, const Job& job);
  /// Cells of that head's map [N, N], of which the queries are the rows of the tile: from request.firstRow << request.level on.
  virtual Matrix chosenTile(const MaskedHead& head, const KeyChoice& choice, const TileRequest& request, const Job& job);

 private:
  mutable std::mutex reasonMutex_;
  std::string reason_;
};

/// "auto", "cpu" or "cuda". auto takes the best there is and says in reason() why it is not a better one; a device asked for
/// by name that can't be had is an Error with the reason, and so is a precision on a device asked for that has only float32.
std::shared_ptr<Backend> openBackend(const std::string& device, Precision precision = Precision::Float32);

}  // namespace headscope::core
