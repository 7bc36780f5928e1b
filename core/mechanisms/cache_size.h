#pragma once
// Cache sizes: what keys and values of one token cost in memory, layer by layer, as the model has it and under what-ifs: MHA,
// GQA, MQA, MLA, shared K/V, cross-layer reuse, windows. Numbers are counted, bytes are numbers times the dtype's size.
#include <cstdint>
#include <string>
#include <vector>

#include "core/model/model_spec.h"

namespace headscope::core {

struct CacheScheme {
  std::string name;                // "model", "mha", "gqa", "mqa", "mla", "shared_kv", "reuse", "window", ...
  std::string title;               // "GQA, 8 key/value heads"
  std::vector<double> numbers;     // [L] held a token
  std::vector<int64_t> window;     // [L] tokens that are kept; 0: all
  double numbersPerToken() const;  // of the whole model
};

struct CacheDType {
  std::string name;  // "bf16"
  double bytes;      // a number
};
const std::vector<CacheDType>& cacheDTypes();

struct CacheWhatIfs {
  int64_t groups = 0;               // GQA's key/value heads; 0: H / 8, at least 1
  int64_t latent = 512, rope = 64;  // MLA's numbers a token (DeepSeek-V2's)
  int64_t window = 4096;            // of the windowed what-if
  int64_t reuseEvery = 2;           // layers that share one layer's keys and values
};

/// The model's own cache first, then the what-ifs on its shapes. Empty for a model without layers.
std::vector<CacheScheme> cacheSchemes(const ModelSpec& spec, const CacheWhatIfs& options);

/// Bytes of layer `layer`, or of all layers (-1), after `context` tokens.
double cacheBytes(const CacheScheme& scheme, int64_t context, double bytesPerNumber, int64_t layer = -1);

}  // namespace headscope::core
