#pragma once
// The registry's rows, one function a file that makes them. registry.cpp lists them; nothing else calls these.
#include <vector>

#include "core/mechanisms/mechanism_kind.h"

namespace headscope::core {

std::vector<MechanismKind> maskKinds();       // mask_patterns.cpp
std::vector<MechanismKind> selectionKinds();  // selection.cpp: topk, topp
MechanismKind linearKind();                   // linear.cpp
MechanismKind rfaKind();                      // rfa.cpp
MechanismKind performerKind();                // performer.cpp
MechanismKind linformerKind();                // linformer.cpp
MechanismKind nystromKind();                  // nystrom.cpp
MechanismKind denseAttentionKind();           // dense_attention.cpp
MechanismKind clusteredKind();                // clustered.cpp
MechanismKind sharedKvKind();                 // shared_kv.cpp
MechanismKind reuseKind();                    // reuse.cpp
std::vector<MechanismKind> positionKinds();   // positions.cpp: rope, alibi, nope
MechanismKind copeKind();                     // cope.cpp
MechanismKind offKind();                      // off.cpp

}  // namespace headscope::core
