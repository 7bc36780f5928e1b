#pragma once
// Unicode normalization forms with alignment.
#include "core/tokenizer/tracked_text.h"

namespace headscope::core {

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };

/// Rewrites text in the form. The first character of a decomposition replaces the decomposed one and the others are inserted
/// after it; a composition replaces its first character and removes the rest.
void applyUnicodeForm(NormalText& text, UnicodeForm form);

}  // namespace headscope::core
