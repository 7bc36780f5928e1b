#pragma once
// Job: the handle that a long computation and its owner share: cancel, progress, estimate.
//
// The owner keeps a shared_ptr<Job> and may call cancel() at any time from any thread; the computation takes a Job&,
// reports progress and calls checkpoint() between pieces of at most about 50 ms of work. All members are thread-safe.
// A computation that has no owner who would cancel it passes a fresh Job.
#include <atomic>
#include <chrono>
#include <mutex>
#include <string>

#include "core/base/pace.h"

namespace headscope::core {

class Job {
 public:
  explicit Job(std::string title = {}) : title_(std::move(title)), started_(std::chrono::steady_clock::now()) {}

  const std::string& title() const { return title_; }

  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  /// Throws Cancelled when the job was cancelled.
  void checkpoint() const;

  /// fraction in [0, 1] of the whole job; stage names what is being done now ("layer 3 of 12").
  void report(double fraction, std::string stage = {});
  double fraction() const { return fraction_.load(std::memory_order_relaxed); }
  std::string stage() const;

  double elapsedSeconds() const;
  /// Seconds left (pace.h); negative while unknown.
  double remainingSeconds() const;

 private:
  std::string title_;
  std::chrono::steady_clock::time_point started_;
  std::atomic<bool> cancelled_{false};
  std::atomic<double> fraction_{0.0};
  mutable std::mutex mutex_;
  std::string stage_;
  Pace pace_;
};

}  // namespace headscope::core
