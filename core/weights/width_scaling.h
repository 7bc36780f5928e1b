#pragma once
// WidthScaling: spectral norms of the attention maps of several checkpoints (a family of widths, or one model while it trains) against
// fan-in and fan-out, beside what two recipes predict once training has aligned weights with their inputs:
//   muP (Yang 2022), and Muon with updates scaled to it: ||W||_2 grows as sqrt(fan_out / fan_in), constant along a family of widths;
//   standard parametrisation with one Adam learning rate for all widths, full alignment (Everett 2024): the updates' entries keep
//   their size, so ||W||_2 grows as sqrt(fan_in fan_out), in proportion to the width.
// Costs a Krylov space of each map.
#include <string>
#include <vector>

#include "core/model/model.h"

namespace headscope::core {

class Backend;
class Job;

struct NormPoint {
  std::string model, matrix;  // "W_Q"
  int64_t layer = 0, width = 0, fanIn = 0, fanOut = 0;
  double spectral = 0, frobenius = 0;  // NaN where the map has NaN or infinite values
  double mup() const;                  // sqrt(fan_out / fan_in)
  double standard() const;             // sqrt(fan_in fan_out)
};

/// Every attention map of every layer; adapters merged. Throws Error as Model::attention; Cancelled. backend: a device for the products.
std::vector<NormPoint> normPoints(const Model& model, Job& job, Backend* backend = nullptr);

/// How one matrix' norm grows with the model's width: the slope of log(median norm over layers) against log(width).
struct WidthExponent {
  std::string matrix;
  int64_t widths = 0;            // distinct ones
  double fitted = 0;             // NaN with fewer than two
  double mup = 0, standard = 0;  // the same slope of the predictions
};
std::vector<WidthExponent> widthExponents(const std::vector<NormPoint>& points);

}  // namespace headscope::core
