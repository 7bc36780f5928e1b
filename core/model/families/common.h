#pragma once
// What several families share: limits on sizes, the language head, checks that every config goes through.
#include "core/model/families/family.h"

namespace headscope::core {

inline constexpr int64_t kMostLayers = 4096, kMostHeads = 1 << 16, kMostWidth = 1 << 20, kMostEntries = int64_t{1} << 28,
                         kLongestContext = int64_t{1} << 40;

/// The spec's layers filled with one rule each: no window, no experts, this intermediate width and attention scale.
void fillLayers(ModelSpec& spec, int64_t intermediate, double attentionScale);

/// tie_word_embeddings, which a nested config may leave to the one around it.
bool isTiedByConfig(const ConfigReader& config, bool fallback);

/// Refuses, by name, quantisations other than float8 blocks, and reads their block size.
void readQuantisation(ModelSpec& spec, const ConfigReader& config);

/// Whether a causal model has its unembedding: tied, in the files, or promised by the class that config.json names; notes on task heads.
void completeLanguageHead(ModelSpec& spec, const RoleReader& reader, std::string_view headModule);

/// "layers.3." for ("layers.", 3).
std::string layerName(std::string_view stem, int64_t layer);

/// Refuses settings of a flag that are on.
void refuseIfOn(const ConfigReader& config, std::initializer_list<std::string_view> keys, const std::string& why = {});

/// Windows of layers by "layer_types"; false when the config has none. `window` is what "sliding_attention" means.
bool windowsFromLayerTypes(ModelSpec& spec, const ConfigReader& config, int64_t window);

}  // namespace headscope::core
