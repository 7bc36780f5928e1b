#pragma once
// PythonPeer: the thin-QR route as one would write it in PyTorch, or NumPy where that is missing, timed in the same run as ours by
// whatever `python3` the PATH has. Random factors from memory, so that reading a checkpoint is not counted. A machine without either
// library has no times, and the result's note says so.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/bench/bench.h"

namespace headscope::core {

/// `count` products L^T R of factors L [k, m] and R [k, n]: thin QR of both in a batch, then the singular values of R_L R_R^T.
struct PeerSpectra {
  int64_t count = 0, k = 0, m = 0, n = 0;
};

class PythonPeer {
 public:
  /// scratch: where the script is written. Nothing is run yet.
  explicit PythonPeer(std::filesystem::path scratch) : scratch_(std::move(scratch)) {}

  /// Adds the best of three to `result.more` as thin_qr_torch_s or thin_qr_numpy_s, times `scale` (for a part of the whole), or to its
  /// note why there is no time.
  void addSpectra(BenchResult& result, const std::vector<PeerSpectra>& products, double scale = 1) const;
  /// The same for Q-, K- and V-composition: R_V (O Q) R_K^T of folded factors, one product for a layer and all later ones, a norm a tile.
  void addComposition(BenchResult& result, int64_t layers, int64_t heads, int64_t k, int64_t d) const;

 private:
  void run(BenchResult& result, const std::string& arguments, double scale) const;
  std::filesystem::path scratch_;
};

/// What a run of the script printed: adds its times times `scale`; false where it is no answer. For tests too.
bool takePeerAnswer(const std::string& answer, double scale, BenchResult& result);

}  // namespace headscope::core
