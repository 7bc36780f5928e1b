#pragma once
// Rotary frequencies out of config.json, in old files' spelling (rope_theta, rope_scaling with "type" or "rope_type") and new ones'
// (rope_parameters, flat or one object per layer type).
// Sources: linear (Chen 2023), llama3 (Llama 3.1's release), YaRN (Peng 2023, with DeepSeek's mscale), each with the defaults and
// float32 roundings of Hugging Face's modeling_rope_utils.
#include <cstdint>
#include <string_view>

#include "core/model/config_reader.h"
#include "core/model/model_spec.h"

namespace headscope::core {

/// What a family fixes about its rotation.
struct RopeRequest {
  int64_t headDims = 0;  // of a head, or of its rotary part
  int64_t context = 0;   // max_position_embeddings
  double partial = 1.0;  // share of headDims when the config does not say (default: all)
  bool isPartialAllowed = false;
  std::string_view baseKey = "rope_theta";
  std::string_view partialKey = "partial_rotary_factor";
  bool isInterleaved = false;
};

/// Throws Error naming the field: kinds that are not supported (dynamic, longrope: frequencies that depend on the length of the
/// text), layer types with different rotations, numbers out of range.
RopeSpec ropeFromConfig(const ConfigReader& config, const RopeRequest& request);

/// Factor on the attention scale that DeepSeek's models take from their rotation: mscale(factor, mscale_all_dim)^2; 1 without.
double attentionScaleFromRope(const ConfigReader& config);

}  // namespace headscope::core
