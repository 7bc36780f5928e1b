#include "core/base/job.h"

#include <algorithm>

#include "core/base/error.h"

namespace headscope::core {

void Job::checkpoint() const {
  if (cancelled()) throw Cancelled();
}

void Job::report(double fraction, std::string stage) {
  fraction_.store(std::clamp(fraction, 0.0, 1.0), std::memory_order_relaxed);
  std::lock_guard lock(mutex_);
  stage_ = std::move(stage);
}

std::string Job::stage() const {
  std::lock_guard lock(mutex_);
  return stage_;
}

double Job::elapsedSeconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count(); }

double Job::remainingSeconds() const {
  const double f = fraction();
  return f < 0.01 ? -1.0 : elapsedSeconds() * (1.0 - f) / f;
}

}  // namespace headscope::core
