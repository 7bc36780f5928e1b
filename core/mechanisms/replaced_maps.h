#pragma once
// ReplacedMaps: EffectiveMaps of heads that ran under mechanisms. A mechanism is bound to the trace's Q, K and V again when a head's map
// is asked for first, which costs what binding costs (features, landmarks, clusters); the last few bound heads are kept.
#include <map>
#include <memory>

#include "core/attention/effective_maps.h"
#include "core/attention/trace.h"
#include "core/mechanisms/mechanism.h"

namespace headscope::core {

/// Borrows the trace, which is to own it.
std::shared_ptr<const EffectiveMaps> replacedMaps(const Trace& trace, std::map<HeadRef, std::shared_ptr<const Mechanism>> mechanisms);

}  // namespace headscope::core
