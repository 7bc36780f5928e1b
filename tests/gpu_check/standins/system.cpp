// What core asks of TBB, utf8proc and PCRE2, for the check on machines without them: threads of the standard library, ASCII names,
// std::regex for the patterns of adapters.
#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <regex>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/base/printable.h"
#include "core/model/pattern.h"

namespace headscope::core {

void setThreadCount(int) {}
int threadCount() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

void parallelFor(int64_t count, const std::function<void(int64_t)>& body, const Job* job) {
  thread_local bool isInside = false;  // nested loops run where they are
  std::atomic<int64_t> next{0};
  std::exception_ptr first;
  std::mutex mutex;
  const auto work = [&](bool isNested) {
    const bool was = isInside;
    isInside = true;
    try {
      for (int64_t i = next++; i < count; i = next++) {
        if (job != nullptr) job->checkpoint();
        body(i);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!first) first = std::current_exception();
      next = count;
    }
    isInside = isNested ? was : false;
  };
  if (job != nullptr) job->checkpoint();
  std::vector<std::thread> threads;
  for (int64_t t = 1; !isInside && t < std::min<int64_t>(threadCount(), count); ++t) threads.emplace_back(work, false);
  work(isInside);
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

void parallelRanges(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body, const Job* job) {
  const int64_t step = std::max<int64_t>(1, grain);
  parallelFor((count + step - 1) / step, [&](int64_t i) { body(i * step, std::min(count, (i + 1) * step)); }, job);
}

std::string printable(std::string_view text, size_t limit) {
  std::string out;
  for (const char c : text.substr(0, limit)) out += c >= 32 && c < 127 ? c : '?';
  return out;
}

struct Pattern::Code {
  std::regex expression;
};
Pattern::Pattern(const std::string& expression, const std::string& where) : where_(where) {
  try {
    code_ = std::make_shared<const Code>(Code{std::regex(expression)});
  } catch (const std::regex_error& e) {
    throw Error("broken expression: " + std::string(e.what()), where);
  }
}
bool Pattern::matchesWhole(std::string_view text) const { return std::regex_match(text.begin(), text.end(), code_->expression); }

}  // namespace headscope::core
