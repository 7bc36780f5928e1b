#pragma once
// LoraDecompositions: the small decompositions that one head's analysis asks for: made here at once, or on a device together with those
// of all heads. For the latter the analysis runs twice over: first every core is noted and answered with zeros, then the device's answers
// are read back in the same order. What the analysis asks for must therefore not depend on the answers.
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "core/weights/dense.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/spectrum.h"

namespace headscope::core {

class Backend;
class Job;

/// Orthonormal coordinates of a factor from its Gram matrix: turn F has orthonormal rows, F = turn^+ (turn F).
struct GramBasis {
  DoubleMatrix turn;     // Lambda^-1/2 E [r, k]
  DoubleMatrix reverse;  // Lambda^1/2 E [r, k]: F = reverse^T (turn F)
};
GramBasis gramBasis(const DoubleMatrix& gram);

class LoraDecompositions {
 public:
  /// From the squared cores; by a core's own decomposition where an effective rank would depend on that.
  std::vector<Spectrum> fused(std::span<const CorePair> pairs);
  /// The same of several heads' cores, made here.
  static std::vector<Spectrum> fusedHere(std::span<const CorePair> pairs);
  /// By the core's own decomposition.
  Spectrum fusedExactly(const FactorCore& left, const FactorCore& right, const DoubleMatrix* middle = nullptr);
  SmallSvd svd(DoubleMatrix core);
  std::vector<double> values(DoubleMatrix core);
  /// Made here in either case, once.
  GramBasis basis(const DoubleMatrix& gram);

  /// From now on cores are noted.
  void note() { step_ = Step::Note; }
  /// Everything that was noted by all of them, on the backend; from then on they answer.
  static void compute(std::span<LoraDecompositions> all, Backend& backend, const Job& job);

 private:
  enum class Step { Here, Note, Read };
  struct Noted {
    DoubleMatrix core;
    bool withVectors;
    SmallSvd found;
  };
  SmallSvd noted(DoubleMatrix core, bool withVectors);
  Step step_ = Step::Here;
  std::vector<Noted> noted_;
  std::vector<GramBasis> bases_;
  size_t nextNoted_ = 0, nextBasis_ = 0;
};

}  // namespace headscope::core
