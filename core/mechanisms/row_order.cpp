#include "core/mechanisms/row_order.h"

#include <bit>

namespace headscope::core {

void RowOrder::ascending(std::span<const float> values) { sort(values, 0); }
void RowOrder::descending(std::span<const float> values) { sort(values, 0xFFFFFFFFu); }

template <int kBits>
void RowOrder::passes() {
  constexpr uint32_t kDigits = 1u << kBits;
  for (int shift = 32; shift < 64; shift += kBits) {
    uint32_t begin[kDigits + 1] = {};
    for (const uint64_t k : keys_) ++begin[((k >> shift) & (kDigits - 1)) + 1];
    for (uint32_t d = 0; d < kDigits; ++d) begin[d + 1] += begin[d];
    for (const uint64_t k : keys_) scratch_[begin[(k >> shift) & (kDigits - 1)]++] = k;
    keys_.swap(scratch_);
  }
}

void RowOrder::sort(std::span<const float> values, uint32_t flip) {
  keys_.resize(values.size());
  scratch_.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t bits = std::bit_cast<uint32_t>(values[i] == 0.0f ? 0.0f : values[i]);
    bits = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;  // unsigned order is the floats' order
    keys_[i] = (static_cast<uint64_t>(bits ^ flip) << 32) | i;
  }
  if (values.size() < 1024) {
    passes<8>();
  } else {
    passes<11>();
  }
}

void RowOrder::tiedRanks(std::vector<float>& ranks) const {
  ranks.resize(keys_.size());
  for (size_t first = 0; first < keys_.size();) {
    size_t last = first + 1;
    while (last < keys_.size() && (keys_[last] >> 32) == (keys_[first] >> 32)) ++last;
    const float rank = 0.5f * static_cast<float>(first + last - 1);
    for (size_t i = first; i < last; ++i) ranks[static_cast<size_t>(at(i))] = rank;
    first = last;
  }
}

}  // namespace headscope::core
