#pragma once
// Stopwatch: wall seconds, and processor seconds of all of the program's threads, which other programs on the machine do not change.
#include <time.h>

namespace headscope::core {

class Stopwatch {
 public:
  double wallSeconds() const { return now(CLOCK_MONOTONIC) - wall_; }
  double processorSeconds() const { return now(CLOCK_PROCESS_CPUTIME_ID) - processor_; }

 private:
  static double now(clockid_t clock) {
    timespec t{};
    ::clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }
  double wall_ = now(CLOCK_MONOTONIC), processor_ = now(CLOCK_PROCESS_CPUTIME_ID);
};

}  // namespace headscope::core
