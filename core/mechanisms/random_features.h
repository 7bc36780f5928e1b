#pragma once
// Random features of queries and keys: RFA's sines and cosines (Peng 2021) and Performer's positive ones (Choromanski 2021).
#include <cstdint>
#include <memory>

#include "core/mechanisms/feature_attention.h"

namespace headscope::core {

/// [rows, k], every entry N(0, 1).
Matrix gaussianRows(int64_t rows, int64_t k, uint64_t seed);
/// [rows, k]: blocks of k orthogonal rows (Gram-Schmidt on Gaussian blocks, in double), each with the norm of an independent
/// Gaussian row, so that every row alone is N(0, I).
Matrix orthogonalRows(int64_t rows, int64_t k, uint64_t seed);

/// phi(x) = sqrt(1/D) [sin(w x), cos(w x)] of x / |x|; w [D, k]. 2 D features.
std::shared_ptr<const FeatureMap> rfaFeatures(Matrix w);
/// log phi(x) = w x' - |x'|^2 / 2 - log(m) / 2 with x' = sqrt(scale) x; w [m, k]. m features, logarithmic.
std::shared_ptr<const FeatureMap> performerFeatures(Matrix w, double scale);

/// What the registry's rfa and performer bind, with given features.
std::unique_ptr<HeadRun> rfaRun(const HeadInput& input, Matrix w);
std::unique_ptr<HeadRun> performerRun(const HeadInput& input, Matrix w);

}  // namespace headscope::core
