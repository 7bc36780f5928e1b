#pragma once
// Threads for the whole program: one pool, one setting. BLAS runs single-threaded inside it, so that work is split over
// heads, rows and tiles in one place and a cancelled job stops between pieces.
#include <cstdint>
#include <functional>

namespace headscope::core {

class Job;

/// Threads that parallelFor uses; 0 means all cores (default: 0). Also pins BLAS to one thread per caller.
void setThreadCount(int count);
int threadCount();

/// Calls body(i) for i in [0, count), in any order, on the pool. The first exception is rethrown here.
/// With a job: pieces not yet started are skipped once it is cancelled, and Cancelled is thrown.
/// Safe to nest. Costs about a microsecond a piece: give each piece at least 20 microseconds of work.
void parallelFor(int64_t count, const std::function<void(int64_t)>& body, const Job* job = nullptr);

/// The same over ranges: body(begin, end) with ranges of at least `grain` indices.
void parallelRanges(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& body, const Job* job = nullptr);

}  // namespace headscope::core
