// Progress of a job on the terminal's standard error, and Ctrl+C as its cancel.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <optional>
#include <thread>

#include "app/cli/inputs.h"
#include "core/base/mapped_file.h"

namespace headscope::app {
namespace {

std::atomic<core::Job*> interruptedJob{nullptr};

/// The first Ctrl+C cancels the job; a second one ends the program as always.
void onInterrupt(int signal) {
  if (core::Job* job = interruptedJob.load()) job->cancel();
  std::signal(signal, SIG_DFL);
}

class InterruptCancels {
 public:
  explicit InterruptCancels(core::Job& job) {
    interruptedJob = &job;
    previous_ = std::signal(SIGINT, onInterrupt);
  }
  ~InterruptCancels() {
    std::signal(SIGINT, previous_ == SIG_ERR ? SIG_DFL : previous_);
    interruptedJob = nullptr;
  }
  InterruptCancels(const InterruptCancels&) = delete;
  InterruptCancels& operator=(const InterruptCancels&) = delete;

 private:
  void (*previous_)(int);
};

/// Repaints one line until it goes out of scope, then clears it. Jobs that end within half a second show nothing.
class ProgressLine {
 public:
  explicit ProgressLine(const core::Job& job) : job_(job), thread_([this] { run(); }) {}
  ~ProgressLine() {
    {
      std::lock_guard lock(mutex_);
      isDone_ = true;
    }
    wake_.notify_one();
    thread_.join();
    if (isShown_) std::fputs("\r\033[K", stderr);
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, std::chrono::milliseconds(isShown_ ? 100 : 500), [this] { return isDone_; })) show();
  }
  void show() {
    isShown_ = true;
    const double left = job_.remainingSeconds();
    std::fprintf(stderr, "\r\033[K%s  %3.0f %%  %s", job_.title().c_str(), 100 * job_.fraction(), job_.stage().c_str());
    if (left >= 1) std::fprintf(stderr, "  about %.0f s left", left);
    std::fflush(stderr);
  }

  const core::Job& job_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool isDone_ = false, isShown_ = false;
  std::thread thread_;
};

}  // namespace

void runWithProgress(const std::string& title, const CommonFlags& flags, const std::function<void(core::Job&)>& work) {
  core::Job job(title);
  const InterruptCancels interrupt(job);
  const core::CutWatch cuts;
  std::optional<ProgressLine> line;
  if (!flags.isQuiet && ::isatty(STDERR_FILENO) != 0) line.emplace(job);
  work(job);
  cuts.check();
}

}  // namespace headscope::app
