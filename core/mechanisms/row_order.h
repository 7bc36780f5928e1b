#pragma once
// The order of one row's values, by radix sort: rows are sorted by the thousand, and ties must fall the same way everywhere.
#include <cstdint>
#include <span>
#include <vector>

namespace headscope::core {

class RowOrder {
 public:
  /// Sorts: afterwards order() lists indices, equal values by index. -0 equals 0; NaN sorts to an end.
  void ascending(std::span<const float> values);
  void descending(std::span<const float> values);
  /// Index at place i.
  int32_t at(size_t i) const { return static_cast<int32_t>(keys_[i] & 0xFFFFFFFFu); }
  size_t size() const { return keys_.size(); }
  /// Ranks from 0 in the sorted order, ties averaged, [size].
  void tiedRanks(std::vector<float>& ranks) const;

 private:
  void sort(std::span<const float> values, uint32_t flip);
  template <int kBits>
  void passes();
  std::vector<uint64_t> keys_, scratch_;  // ordered bits of the value, then its index
};

}  // namespace headscope::core
