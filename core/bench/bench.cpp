#include "core/bench/bench.h"

#include <cblas.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include "core/base/memory.h"
#include "core/base/parallel.h"
#include "core/base/stopwatch.h"

namespace headscope::core {
namespace {

double leastOf(int runs, const std::function<void()>& work, double (Stopwatch::*seconds)() const) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < runs; ++i) {
    const Stopwatch watch;
    work();
    best = std::min(best, (watch.*seconds)());
  }
  return best;
}

double heldBytes() { return static_cast<double>(anonymousBytes()); }

}  // namespace

double quickest(int runs, const std::function<void()>& work) { return leastOf(runs, work, &Stopwatch::wallSeconds); }
double thriftiest(int runs, const std::function<void()>& work) { return leastOf(runs, work, &Stopwatch::processorSeconds); }

SgemmRate measureSgemm() {
  constexpr int kSize = 1024;
  constexpr double kOperations = 2.0 * kSize * kSize * kSize;
  const int64_t threads = threadCount();
  std::vector<Matrix> matrices;
  for (int64_t i = 0; i < 3 * threads; ++i) {
    Matrix& m = matrices.emplace_back(kSize, kSize);
    std::fill_n(m.data(), m.size(), 0.5f);
  }
  const auto products = [&] {
    parallelFor(threads, [&](int64_t t) {
      const size_t at = static_cast<size_t>(3 * t);
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, kSize, kSize, kSize, 1.0f, matrices[at].data(), kSize, matrices[at + 1].data(),
                  kSize, 0.0f, matrices[at + 2].data(), kSize);
    });
  };
  constexpr int kRounds = 16;  // some 0.2 s: as long as what is measured against it, where a clock's short bursts do not count
  const auto rounds = [&] {
    for (int i = 0; i < kRounds; ++i) products();
  };
  const double giga = kOperations * kRounds * static_cast<double>(threads) / 1e9;
  return {giga / quickest(5, rounds), giga / thriftiest(3, rounds)};
}

std::string machineName() {
  std::ifstream info("/proc/cpuinfo");
  std::string name = "unknown processor";
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) {
      name = line.substr(line.find(':') + 2);
      break;
    }
  }
  return name + ", " + std::to_string(threadCount()) + " threads";
}

struct PeakMemory::State {
  double before = heldBytes();
  std::atomic<double> peak{0};
  std::atomic<bool> isDone{false};
  std::thread sampler;
};

PeakMemory::PeakMemory() {
  ::malloc_trim(0);  // what earlier work freed is given back first, or it would be taken again unseen
  state_ = std::make_unique<State>();
  state_->sampler = std::thread([s = state_.get()] {
    while (!s->isDone) {
      s->peak = std::max(s->peak.load(), heldBytes() - s->before);
      ::usleep(3000);
    }
  });
}

PeakMemory::~PeakMemory() {
  state_->isDone = true;
  state_->sampler.join();
}

double PeakMemory::peakBytes() const { return std::max(state_->peak.load(), heldBytes() - state_->before); }

}  // namespace headscope::core
