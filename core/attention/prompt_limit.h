#pragma once
// How many tokens a prompt may have: what learned positions allow, or, where positions are computed, as many as are sensible.
#include <algorithm>
#include <cstdint>

#include "core/model/model_spec.h"

namespace headscope::core {

/// Tokens that a prompt of text is cut to. A trace of the bundled model at this length takes about 2 GB.
inline constexpr int64_t kMostPromptTokens = 65536;

inline int64_t promptLimit(const ModelSpec& spec) {
  return spec.positions == PositionKind::Learned ? spec.context : std::max(kMostPromptTokens, spec.context);
}

/// True where the model runs further than it was trained to: positions are computed, not learned, and pass its context.
inline bool isBeyondContext(const ModelSpec& spec, int64_t tokens) {
  return spec.positions == PositionKind::Rope && spec.context > 0 && tokens > spec.context;
}

}  // namespace headscope::core
