#include "core/base/parallel.h"

#include <cblas.h>
#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>

#include "core/base/error.h"
#include "core/base/job.h"

namespace headscope::core {
namespace {

std::atomic<int> configuredThreads{0};

tbb::task_arena& arena() {
  // Lives until the process ends: pool threads may still be parking while statics are destroyed.
  static auto* instance = [] {
    openblas_set_num_threads(1);
    return new tbb::task_arena(threadCount());
  }();
  return *instance;
}

}  // namespace

void setThreadCount(int count) {
  configuredThreads = std::max(0, count);
  arena().terminate();
  arena().initialize(threadCount());
}

int threadCount() {
  const int configured = configuredThreads;
  return configured > 0 ? configured : std::max(1, tbb::info::default_concurrency());
}

void parallelFor(int64_t count, const std::function<void(int64_t)>& body, const Job* job) {
  parallelRanges(
      count, 1,
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          if (job != nullptr) job->checkpoint();
          body(i);
        }
      },
      job);
}

void parallelRanges(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body, const Job* job) {
  if (count <= 0) return;
  if (job != nullptr) job->checkpoint();
  arena().execute([&] {
    tbb::parallel_for(tbb::blocked_range<int64_t>(0, count, std::max<int64_t>(1, grain)), [&](const tbb::blocked_range<int64_t>& r) {
      if (job != nullptr) job->checkpoint();
      body(r.begin(), r.end());
    });
  });
}

}  // namespace headscope::core
