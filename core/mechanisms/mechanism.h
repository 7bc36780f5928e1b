#pragma once
// Mechanism: one way to attend, on one head's Q, K and V: dense, a mask, linear, random features, Linformer, Nystrom, ...
//
// Each is one file with one registry line (registry.h). It yields output, tiles of its effective map (what multiplies V), and
// its cost; none allocates N x N. Immutable; run() is const and thread-safe. Q and K come after positions.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/job.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

/// One head's inputs. Views borrow.
struct HeadInput {
  ConstMatrixView query;  // [N, k]
  ConstMatrixView key;    // [N, k]
  ConstMatrixView value;  // [N, v]
  double scale = 1.0;     // of q.k, as the model has it (1/sqrt(k) mostly)
  double softcap = 0.0;   // 0: none
  int64_t window = 0;     // the model's own sliding window; 0: none
  bool isCausal = true;   // of the model
  int64_t layer = 0, head = 0, heads = 1;
  // For mechanisms that start from the residual stream (DenseAttention); empty when unknown
  ConstMatrixView normedInput;                          // x [N, d]
  ConstMatrixView queryWeight, keyWeight, valueWeight;  // W_Q^T [k, d], W_K^T, W_V^T
  // For position mechanisms: the same before rotation, and the model's frequencies; empty when the model has no RoPE
  ConstMatrixView queryUnrotated, keyUnrotated;
};

/// What was done, counted by the code that did it.
struct Cost {
  double operations = 0;  // floating-point operations (a multiply-add is 2, an exponential 1)
  double bytesMoved = 0;  // read and written at least once, float32
  double bytesHeld = 0;   // largest working set beside Q, K, V and the output; for caches: state per head
  std::string formula;    // in N, k, v and the mechanism's own parameters: "2 N w (k + v)"
};

/// A mechanism bound to one head's input: may keep what it computed once (features, landmarks, clusters).
class HeadRun {
 public:
  virtual ~HeadRun() = default;
  /// out [N, v].
  virtual void output(MatrixView out, Job& job) const = 0;
  /// Rows [first, first + count) of the effective map, [count, N]: what multiplies V. Signed or unnormalised where the
  /// mechanism is. Zero where it does not attend.
  virtual void mapRows(int64_t first, int64_t count, MatrixView rows, Job& job) const = 0;
  /// Cost of output(), from counters (valid after it ran) or exact counting.
  virtual Cost cost() const = 0;
  /// Work and memory of the softmax-dense way are separate: see registry "causal" / "dense".
  virtual std::vector<std::string> notes() const { return {}; }  // "not causal", "a what-if: no trained e", ...
};

class Mechanism {
 public:
  virtual ~Mechanism() = default;
  virtual std::string name() const = 0;               // "local"
  virtual std::string spelled() const = 0;            // "local:window=64", parses back to the same
  virtual bool isCausal() const = 0;                  // keeps j <= i whatever the model
  virtual bool isNormalised() const { return true; }  // rows are non-negative and sum to 1
  virtual std::unique_ptr<HeadRun> bind(const HeadInput& input, Job& job) const = 0;
};

}  // namespace headscope::core
