#pragma once
// ModelFacts: what there is to say about a model before anything is computed: sizes, storage, cache, what can be shown of it.
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/model/model.h"

namespace headscope::core {

struct ModelFacts {
  int64_t parameters = 0;                               // that the roles use
  uint64_t bytes = 0;                                   // of the files
  std::vector<std::pair<std::string, int64_t>> dtypes;  // elements by stored type, most first
  int64_t cacheNumbersPerToken = 0;                     // keys and values (MLA: latent and rotary key) of all layers
  int64_t cacheBytesPerToken = 0;                       // in the type that most weights have, at least 16 bit
  std::string cacheType;
  std::vector<int64_t> wholeLayers;  // whose attention weights are all there
  std::vector<std::string> missingTensors, missingFiles, notes;
  std::vector<std::string> supported, unsupported;  // sentences
};

ModelFacts factsOf(const Model& model);

/// Numbers that a token leaves in the cache of one layer: G k + G v, under MLA latent + rope.
int64_t cacheNumbersPerLayer(const ModelSpec& spec);

/// "learned", "rotary (llama3, base 500000, 64 of 128 dimensions)", ... for people.
std::string positionsText(const ModelSpec& spec);
/// "1 window of 4096 keys in 13 of 26 layers" or "".
std::string windowsText(const ModelSpec& spec);
std::string nameOf(Activation activation);

}  // namespace headscope::core
