#pragma once
// Benches: what ./dev bench times. Each is a function that yields results, with the naive way or the floor beside it in the same
// run, and one line in app/cli/bench_registry.cpp. Times are the best of several; scratch files go to the context's folder.
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/backend/backend.h"

namespace headscope::core {

struct BenchContext {
  std::shared_ptr<Backend> backend;
  double sgemmGflops = 0;              // of all threads together, measured just before
  double sgemmPerProcessorSecond = 0;  // GFLOP in one processor second
  std::filesystem::path scratch;       // an empty folder, removed afterwards
};

struct BenchResult {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  std::string bench;
  double ours = kNone, naive = kNone;  // seconds
  double floor = kNone;                // seconds that the products alone take at the measured SGEMM rate
  double limit = kNone;                // seconds that the project allows itself on this machine
  std::string note;                    // why there is no time, or what to know about it; "" nothing
  std::map<std::string, double> more;  // other figures by name, units in the name ("extra_mb")
};

using BenchFunction = std::vector<BenchResult> (*)(BenchContext& context);

struct Bench {
  const char* name;
  const char* what;
  BenchFunction run;
  bool isLong = false;  // minutes: run only when asked for by name (default: with all others)
};

// Tools for benches

/// Wall seconds of the quickest of `runs` calls.
double quickest(int runs, const std::function<void()>& work);
/// Processor seconds of all threads in the thriftiest of `runs` calls: what to read on a machine that others use too.
double thriftiest(int runs, const std::function<void()>& work);
/// SGEMM rate of this machine, all threads at once, in GFLOP/s: products of 1024 x 1024 x 1024 for about a second, the best fifth of
/// it.
/// perProcessorSecond: of one processor second instead, the same on a machine that others use too.
struct SgemmRate {
  double gflops = 0, perProcessorSecond = 0;
};
SgemmRate measureSgemm();
/// "Intel(R) Xeon(R) Processor, 2 threads".
std::string machineName();

/// Largest anonymous memory (not mapped files) while it lives, beyond what there was at its start, in bytes.
class PeakMemory {
 public:
  PeakMemory();
  ~PeakMemory();
  PeakMemory(const PeakMemory&) = delete;
  PeakMemory& operator=(const PeakMemory&) = delete;
  double peakBytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace headscope::core
