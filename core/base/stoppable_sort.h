#pragma once
// std::stable_sort that a job stops: millions of entries take seconds, in one call that nothing else can end. Throws Cancelled out of the
// comparisons, after which the range holds the same entries or copies of some of them in no order: leave it alone.
#include <algorithm>
#include <cstdint>

#include "core/base/job.h"

namespace headscope::core {

template <typename Iterator, typename Less>
void stoppableSort(Iterator first, Iterator last, Less less, const Job& job) {
  constexpr int64_t kComparisons = 1 << 15;  // between looks: a millisecond where each waits for memory
  int64_t done = 0;
  std::stable_sort(first, last, [&](const auto& a, const auto& b) {
    if (++done % kComparisons == 0) job.checkpoint();
    return less(a, b);
  });
}

}  // namespace headscope::core
