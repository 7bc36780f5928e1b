#pragma once
// Checkpoints of real shapes with random weights, written on the fly for benches.
#include <filesystem>
#include <memory>

#include "core/model/model.h"
#include "core/model/prompt.h"

namespace headscope::core {

/// GPT-2 small: 12 layers of 12 heads, width 768, 50,257 entries, float32. Writes about 500 MB.
std::shared_ptr<const Model> randomGpt2Small(const std::filesystem::path& folder);
/// The bundled model's shapes: Llama, 4 layers of 8 heads, width 256.
std::shared_ptr<const Model> randomTales(const std::filesystem::path& folder);
/// `count` tokens, always the same.
std::shared_ptr<const Prompt> randomPrompt(const ModelSpec& spec, int64_t count);

}  // namespace headscope::core
