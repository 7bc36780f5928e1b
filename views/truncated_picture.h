#pragma once
// The prompt's map of one head beside the map it would have with W_QK and W_OV cut to a rank, and how far map and output are off:
// part of the spectra view.
#include <string>
#include <vector>

#include "core/tensor/matrix.h"
#include "views/map_image.h"
#include "views/value_scale.h"
#include "views/view.h"

namespace headscope::views {

struct TruncatedData : ViewData {
  core::HeadRef head;
  std::string modelName, refusal, definition;
  int64_t queryKeyRank = 0, valueOutputRank = 0, queryKeyFull = 0, valueOutputFull = 0, count = 0;
  core::Matrix truth, cut;                                // [cells, cells] pooled, the largest weight of each
  std::vector<float> rowKl;                               // [N] nats
  std::vector<double> rowOutput;                          // [N] ||out_i - true_i|| / ||true_i||, through W_O
  std::vector<double> queryKeyErrors, valueOutputErrors;  // of the weights, by rank 0 .. full
  double output = 0, meanKl = 0, meanCosine = 0;
  MapImageCache caches[2];
};

std::shared_ptr<const ViewData> computeTruncated(const ViewInput& input, core::Job& job);
Figure drawTruncated(const ViewInput& input, const TruncatedData& data, const ViewFrame& frame, const Rect& area);

/// Ranks that the options ask for: numbers rank_qk, rank_ov; unset: a quarter of the head's width.
int64_t truncatedRank(const ViewInput& input, bool ov);

}  // namespace headscope::views
