#pragma once
// Softmax attention under a Mask, block by block with the online softmax (Milakov & Gimelshein 2018; Dao 2022): 16 or 64
// rows at a time against panels of the keys that any of those rows sees. Keys that none of them sees are never read. A panel that is
// mostly seen is a matrix product; one that is mostly hidden is done pair by pair, so that scattered patterns save work too.
// Rows that see nothing give zeros and are listed. Memory: a block's scores and one row of indices, whatever N is.
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/job.h"
#include "core/mechanisms/mask.h"

namespace headscope::core {

/// What is added to the scaled score of a query and a key.
class ScoreBias {
 public:
  virtual ~ScoreBias() = default;
  /// scores[c] += bias(row, columns[c]).
  virtual void add(int64_t row, const int32_t* columns, int64_t count, float* scores) const = 0;
  /// Where the bias is -slope |i - j|: the slope.
  virtual std::optional<double> slope() const { return std::nullopt; }
};

struct SoftmaxHead {
  ConstMatrixView query;  // [M, k]; M rows of the mask
  ConstMatrixView key;    // [N, k]
  ConstMatrixView value;  // [N, v]
  double scale = 1.0, softcap = 0.0;
  std::shared_ptr<const Mask> mask;
  std::shared_ptr<const ScoreBias> bias;  // null: none
  std::shared_ptr<Backend> backend;       // a device that computes outputs where it can (softmax_elsewhere.h); null: here

  static SoftmaxHead of(const HeadInput& input, std::shared_ptr<const Mask> mask) {
    return {input.query, input.key, input.value, input.scale, input.softcap, std::move(mask), nullptr, input.backend};
  }
};

/// What one pass did.
struct SoftmaxTally {
  double pairs = 0;      // scores computed
  double keptPairs = 0;  // let through by the mask
  double selection = 0;  // operations of the mask's own choice
  double keyRows = 0;    // rows of K and V read, once a row block
  double rows = 0;       // query rows done
  std::vector<int64_t> emptyRows;
  /// Operations of a head of widths k and v: 2k + 2v + 4 a pair (scale, subtract, exponential, sum), v a row.
  double operations(int64_t k, int64_t v) const;
  double bytesMoved(int64_t k, int64_t v) const;
};

/// Bytes that one thread of softmaxAttention holds.
double softmaxBytesHeld(int64_t keys, int64_t k, int64_t v);

/// out [M, v].
SoftmaxTally softmaxAttention(const SoftmaxHead& head, MatrixView out, Job& job);

enum class RowScale { Probability, Log };
/// Rows [first, first + count) of the map, [count, N]: probabilities (hidden entries exactly 0), or their logarithms (hidden:
/// -infinity; rows that see nothing are all -infinity).
void softmaxRows(const SoftmaxHead& head, int64_t first, int64_t count, MatrixView rows, Job& job, RowScale scale = RowScale::Probability);

/// scores <- softcap tanh(scores / softcap), where there is one.
void applySoftcap(double softcap, float* scores, int64_t count);

}  // namespace headscope::core
