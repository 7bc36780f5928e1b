#pragma once
// CompositionHeads: every head of a model as the two or three thin matrices that composition multiplies, small parts kept, wide
// parts decoded a strip of the model axis at a time.
//
// ||W_OV,1 X||_F with W_OV,1 = L^T O and L = Q_l R_V (thin QR): the writer is R_V O [v, d]. X = W_QK,2 = Q^T K: the reader of
// the query side is R_K Q, of the key side R_Q K, of the value side (X = W_OV,2) R_O V. Each is a small square or latent matrix
// ("turn") times rows that the checkpoint stores. The projection kernel takes orthonormal bases in their place: the turn is
// Lambda^(-1/2) E^T of the rows' Gram matrix.
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "core/weights/head_weights.h"

namespace headscope::core {

class Job;

enum class CompositionMetric { Frobenius, Kernel };
enum class CompositionKind { Query, Key, Value };

/// One thin matrix: turn * rows of a stored strip.
struct ThinHead {
  Matrix turn;           // [r, s]
  int64_t firstRow = 0;  // of the source's strip, s rows
  double norm = 0;       // Frobenius norm of W_OV or W_QK (Frobenius), or the rank (Kernel)
};

class CompositionHeads {
 public:
  /// layers: of the model, ascending; from here on they are counted 0, 1, ... Writers of all layers are kept, readers of those below
  /// `readerEnd` (default: all).
  CompositionHeads(const Model& model, Fold fold, CompositionMetric metric, std::vector<int64_t> layers, Job& job, int64_t readerEnd = -1);
  /// Readers of layers [first, end) in place of those there were: under latent attention a layer's take far more than its writers.
  void loadReaders(int64_t first, int64_t end, const Job& job);

  int64_t layers() const { return static_cast<int64_t>(layers_.size()); }
  int64_t heads() const { return heads_; }
  int64_t width() const { return width_; }
  const ThinHead& writer(int64_t layer, int64_t head) const {
    return layers_[static_cast<size_t>(layer)].writers[static_cast<size_t>(head)];
  }
  const ThinHead& reader(CompositionKind kind, int64_t layer, int64_t head) const {
    return layers_[static_cast<size_t>(layer)].readers[static_cast<size_t>(kind)][static_cast<size_t>(head)];
  }
  /// Rows of all thin matrices of one layer.
  int64_t writerRows(int64_t layer) const;
  int64_t readerRows(int64_t layer) const;

  /// One layer's thin matrices over model coordinates [first, first + count), in blocks of `side` coordinates: of each block the writers
  /// one below the other, then the readers of the three kinds, head after head. order: writers with their output coordinates permuted.
  struct Strip {
    Matrix writers;                 // [blocks * writerRows, side]
    std::array<Matrix, 3> readers;  // [blocks * readerRows of a kind, side]
  };
  Strip strip(int64_t layer, int64_t first, int64_t count, int64_t side, bool withReaders, const std::vector<int64_t>* order,
              const Job& job) const;

  /// Heads with NaN or infinite weights, and zero heads, by name.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  struct Layer {
    std::vector<ThinHead> writers;
    std::array<std::vector<ThinHead>, 3> readers;
    RowMeans means;
  };
  void prepare(int64_t layer, bool withWriters, bool withReaders, const Job& job);
  const Model& model_;
  std::vector<int64_t> numbers_;  // of the layers in the model
  Fold fold_;
  CompositionMetric metric_;
  int64_t heads_ = 0, width_ = 0;
  std::vector<Layer> layers_;
  std::vector<std::string> notes_;
};

}  // namespace headscope::core
