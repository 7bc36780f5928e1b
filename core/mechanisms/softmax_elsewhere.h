#pragma once
// Softmax attention under a Mask on a device: the mask's ranges are listed here, some thousand rows at a time, and a backend's
// maskedAttention does the rest. Where rows choose among their keys by score, and for maps and sums of rows, the device has the scores of
// whole blocks of rows.
#include "core/mechanisms/softmax_attention.h"

namespace headscope::core {

/// True where the head's backend can: it has the operation, the head is no wider than kWidestMaskedHead, and the bias is linear or none.
bool canAttendElsewhere(const SoftmaxHead& head);
/// As softmaxAttention. The tally's pairs are those that the device computed.
SoftmaxTally attendElsewhere(const SoftmaxHead& head, MatrixView out, Job& job);

/// The same with keys and mass of `rule` over what the head's mask lets a row see; out without columns: the rows' sums alone.
bool canChooseElsewhere(const SoftmaxHead& head);
ChosenRows chooseElsewhere(const SoftmaxHead& head, const KeyChoice& rule, MatrixView out, Job& job);
Matrix tileElsewhere(const SoftmaxHead& head, const KeyChoice& rule, const TileRequest& request, Job& job);
/// True where every row sees only keys that `outer` lets it see.
bool isWithin(const Mask& mask, const Visibility& outer, Job& job);

}  // namespace headscope::core
