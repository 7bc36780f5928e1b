#pragma once
// Compositions on their way to a file, part by part, where memory doesn't hold all pairs: q, k and v of 61 layers of 128 heads are
// 2.2 GB. What is held is one part (composition.h) and one row; the values wait in a nameless file beside the target, which takes
// as much room again until the target is whole.
#include <filesystem>
#include <iosfwd>

#include "core/weights/composition.h"

namespace headscope::core {

/// F.safetensors: q, k, v [L, H, L, H], with a null also null.q, ... and null_deviation.q, ...; metadata: expectation, layers. Returns
/// what eachCompositionPart returns. Throws as it does, and Error where the files can't be written.
Composition writeCompositionTensors(const std::filesystem::path& target, const Model& model, const CompositionOptions& options, Job& job);

/// F.csv: an edge a line: layer,head,to_layer,to_head,kind,value,baseline,excess, with a null also baseline_deviation. Ordered by part,
/// then by writing head.
Composition writeCompositionEdges(const std::filesystem::path& target, const Model& model, const CompositionOptions& options, Job& job);

}  // namespace headscope::core
