#pragma once
// BiasShare: what of each head's E ||x W||^2 is the mean input's own: ||mu W||^2 / E ||x W||^2, with E ||x W||^2 = tr(W^T Sigma W) +
// ||mu W||^2. Near 1 a head reads the same of every token. Under latent attention W_QK and W_OV are those of the residual stream, the
// latent norms' division left out as in spectra.h.
// Costs, a head: its rows times the covariance's triangle, as many rows of it as are not zero (as many as a short prompt has tokens).
#include <string>
#include <vector>

#include "core/weights/head_weights.h"

namespace headscope::core {

class Job;
struct LayerInput;

struct BiasShare {
  std::string matrix;
  std::vector<double> heads;  // one a query head; a key/value head for W_K, W_V; NaN where weights are not finite
};

/// Of `matrices` those that have one: W_Q, W_K, W_V, W_QK, W_OV, under latent attention the last two. Empty: all of them.
std::vector<BiasShare> biasShares(const HeadWeights& weights, const LayerInput& input, const std::vector<std::string>& matrices,
                                  const Job& job);

}  // namespace headscope::core
