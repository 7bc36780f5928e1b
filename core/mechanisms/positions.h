#pragma once
// Positions on the same head: queries and keys before rotation, and ALiBi's slopes.
#include "core/mechanisms/mechanism.h"

namespace headscope::core {

/// ALiBi's slope of head h of H (Press 2022): 2^(-8 (h+1)/H); for H not a power of two the slopes of the largest power n below
/// H, then every other slope of 2n heads.
double alibiSlope(int64_t head, int64_t heads);

/// Q and K without the model's rotation. Copies; notes say what could not be taken off (learned positions).
struct Unplaced {
  Matrix query, key;  // [N, k]
};
Unplaced withoutRotation(const HeadInput& input);

}  // namespace headscope::core
