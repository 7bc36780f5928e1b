#pragma once
// EffectiveScores: head scores (head_scores.h) of one head from the rows of its map, whatever the map comes from: for heads that ran
// under another mechanism, whose statistics a backend does not know. Costs the map's rows and, with keys, a sort of each.
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/attention/attention_map.h"
#include "core/attention/repeats.h"

namespace headscope::core {

/// By name, as HeadScores has them; of a signed map entropy, distance and keys are NaN: they are defined for weights that sum to 1.
/// written: ||v_j W_O|| [N], for keys.P and weighted_keys.P; empty: neither.
std::map<std::string, double> effectiveScores(const AttentionMap& map, const Repeats& repeats, std::span<const float> written, Job& job);

/// Entropy in bits of each row, [N].
std::vector<float> effectiveEntropy(const AttentionMap& map, Job& job);

}  // namespace headscope::core
