#pragma once
// Mechanism: one way to attend, on one head's Q, K and V: dense, a mask, linear, random features, Linformer, Nystrom, ...
//
// Each kind is one line of the registry (registry.h). Bound to one head's input it yields output, rows of its effective map
// (what multiplies V) and its cost; none allocates N x N. A Mechanism is immutable and may be shared between threads; a
// HeadRun may be asked from several threads for mapRows, and by one at a time for output. Q and K come after positions.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/backend/masked_attention.h"
#include "core/backend/tile_request.h"
#include "core/base/job.h"
#include "core/model/model_spec.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

class Backend;

/// What a head reads: keys [N, k] and values [N, v].
struct KeyValue {
  ConstMatrixView key, value;
};

/// One head's inputs. Views and pointers borrow.
struct HeadInput {
  ConstMatrixView query;  // [N, k]
  ConstMatrixView key;    // [N, k]
  ConstMatrixView value;  // [N, v]
  double scale = 1.0;     // of q.k, as the model has it (1/sqrt(k) mostly)
  double softcap = 0.0;   // 0: none
  int64_t window = 0;     // the model's own sliding window; 0: none
  bool isCausal = true;   // of the model
  int64_t layer = 0, head = 0, heads = 1;
  std::shared_ptr<Backend> backend;  // a device that computes what it can of the output; null: the CPU's own way
  const RopeSpec* rope = nullptr;    // the model's rotation, to undo and replace it; null: the model has none
  int64_t ropeFirst = 0;             // the first rotated dimension of Q and K
  /// Keys and values that this head would read in an earlier layer; empty: unknown.
  std::function<KeyValue(int64_t layer)> keyValueOf;
  /// The same head's queries and keys on another text, on which clustered keys fit their centres; empty: on this one.
  ConstMatrixView fitQuery, fitKey;  // [M, k]
  // For mechanisms that start from the residual stream (DenseAttention); empty when unknown.
  ConstMatrixView normedInput;                          // x [N, d]
  ConstMatrixView queryWeight, keyWeight, valueWeight;  // W_Q^T [k, d], W_K^T [k, d], W_V^T [v, d]

  int64_t count() const { return query.rows; }
};

/// What was done, counted by the code that did it.
struct Cost {
  double operations = 0;    // floating-point operations: a multiply-add is 2, an exponential, sine or comparison of scores 1
  double bytesMoved = 0;    // float32 read from and written to Q, K, V, the output and stored state, each pass counted
  double bytesHeld = 0;     // largest working set of one thread beside Q, K, V and the output
  double pairs = 0;         // query-key weights computed; 0 where the mechanism computes none
  double keptPairs = 0;     // those that were let through
  std::string formula;      // operations, in N, k, v and the mechanism's parameters
  std::string heldFormula;  // bytesHeld, likewise
};

/// A mechanism bound to one head's input: may keep what it computed once (features, landmarks, clusters).
class HeadRun {
 public:
  virtual ~HeadRun() = default;
  /// out [N, v]. Throws Error where there is no output (CoPE without its table).
  virtual void output(MatrixView out, Job& job) const = 0;
  /// Rows [first, first + count) of the effective map, [count, N]: what multiplies V. Signed or unnormalised where the
  /// mechanism is. Zero where it does not attend.
  virtual void mapRows(int64_t first, int64_t count, MatrixView rows, Job& job) const = 0;
  /// Cells of the map, pooled by a device; none: mapRows is the way to them.
  virtual std::optional<Matrix> tile(const TileRequest& /*request*/, Job& /*job*/) const { return std::nullopt; }
  /// Where the map's rows are softmax of the input's own scores over some of the keys that the model lets a query see: the rows' sums by a
  /// device; none: mapRows is the way to what they tell.
  virtual std::optional<ChosenRows> rowSums(const HeadInput& /*input*/, Job& /*job*/) const { return std::nullopt; }
  /// Cost of the last output().
  virtual Cost cost() const = 0;
  /// Rows that the last output() left with nothing to attend to; their output is zero.
  virtual std::vector<int64_t> emptyRows() const { return {}; }
  /// What a reader has to know: "not causal: sees later tokens", "a what-if: ...", "window is wider than the prompt".
  virtual std::vector<std::string> notes() const { return {}; }
};

class Mechanism {
 public:
  virtual ~Mechanism() = default;
  virtual std::string name() const = 0;               // "local"
  virtual std::string spelled() const = 0;            // "local:window=64", parses back to the same
  virtual bool isCausal() const = 0;                  // on a causal model no query sees a later key
  virtual bool isNormalised() const { return true; }  // rows are non-negative and sum to 1
  virtual bool isRandom() const { return false; }     // depends on a seed
  /// The earlier layer whose keys and values it reads in `layer`; -1: none.
  virtual int64_t readsLayer(int64_t /*layer*/) const { return -1; }
  /// Throws Error where the mechanism can't stand in for this head (named reason).
  virtual std::unique_ptr<HeadRun> bind(const HeadInput& input, Job& job) const = 0;
};

}  // namespace headscope::core
