#pragma once
// KeyClusters: the cluster side of the sparse V view: a head's keys in the plane of their two principal components, k-means
// centres, which clusters the selected query visits, and recall against share of keys read beside exact top-k and random.
// options.numbers: clusters (16), visit (4); options.words: on (keys, queries), fit (a text file on which the centres are
// fitted; default: this prompt).
#include "core/mechanisms/clustered.h"
#include "core/mechanisms/key_projection.h"
#include "views/view.h"

namespace headscope::views {

struct KeyClusters {
  core::HeadRef head;
  int64_t count = 0, query = 0, visit = 1, clusters = 1;
  std::string fit;  // the file whose keys the centres were fitted on; "" this prompt
  core::KeyProjection plane;
  std::vector<int32_t> owner;            // [N] cluster of each key
  std::vector<int32_t> order;            // clusters that hold a key the query may see, best first
  std::vector<float> weights;            // [N] the query's true attention
  std::vector<core::RecallPoint> curve;  // by visited clusters
};

std::string keyClustersKey(const ViewInput& input);
/// Throws Error where the file can't be read or the model has no tokenizer.
KeyClusters keyClusters(const ViewInput& input, core::Job& job);
/// Both pictures into the rectangle, and what it means for the caption.
std::string addKeyClusters(Figure& figure, const Rect& area, const KeyClusters& data, const ViewFrame& frame);

}  // namespace headscope::views
