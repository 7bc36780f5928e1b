#include "core/base/job.h"

#include <algorithm>

#include "core/base/error.h"

namespace headscope::core {

void Job::checkpoint() const {
  if (cancelled()) throw Cancelled();
}

void Job::report(double fraction, std::string stage) {
  const double done = std::clamp(fraction, 0.0, 1.0), now = elapsedSeconds();
  fraction_.store(done, std::memory_order_relaxed);
  std::lock_guard lock(mutex_);
  pace_.add(now, done);
  stage_ = std::move(stage);
}

std::string Job::stage() const {
  std::lock_guard lock(mutex_);
  return stage_;
}

double Job::elapsedSeconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count(); }

double Job::remainingSeconds() const {
  const double now = elapsedSeconds();
  std::lock_guard lock(mutex_);
  return pace_.secondsLeft(now);
}

}  // namespace headscope::core
