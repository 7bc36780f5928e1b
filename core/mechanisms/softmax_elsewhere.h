#pragma once
// Softmax attention under a Mask on a device: the mask's ranges are listed here, some thousand rows at a time, and a backend's
// maskedAttention does the rest. Top-k, top-p and clusters, which choose by scores that they have then, don't come here.
#include "core/mechanisms/softmax_attention.h"

namespace headscope::core {

/// True where the head's backend can: it has the operation, the head is no wider than kWidestMaskedHead, and the bias is linear or none.
bool canAttendElsewhere(const SoftmaxHead& head);
/// As softmaxAttention. The tally's pairs are those that the device computed.
SoftmaxTally attendElsewhere(const SoftmaxHead& head, MatrixView out, Job& job);

}  // namespace headscope::core
