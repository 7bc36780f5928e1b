#define PCRE2_CODE_UNIT_WIDTH 8
#include "core/tokenizer/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <chrono>

#include "core/base/error.h"
#include "core/tokenizer/regex_syntax.h"
#include "core/tokenizer/unicode.h"

namespace headscope::core {
namespace {

constexpr size_t kLongestPattern = 1 << 16;
constexpr uint32_t kMatchLimit = 10'000'000;  // backtracking steps from one starting place
constexpr uint32_t kHeapLimitKib = 64 * 1024;
constexpr size_t kJitStackBytes = 32 * 1024 * 1024;
constexpr double kSearchSeconds = 5.0;  // one search in one subject; ordinary ones take microseconds

std::string shown(const std::string& pattern) { return pattern.size() <= 200 ? pattern : pattern.substr(0, 200) + "..."; }

std::string messageOf(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Regex::Code {
  std::string pattern, where;
  pcre2_code* compiled = nullptr;
  ~Code() { pcre2_code_free(compiled); }
};

struct Regex::Matcher::State {
  const Code& code;
  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
  explicit State(const Code& c)
      : code(c),
        data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr)) {
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKib);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~State() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  bool find(std::string_view subject, size_t from, Job& job, size_t& begin, size_t& end);
};

Regex::Regex(std::string pattern, std::string where) : code_(std::make_unique<Code>()) {
  code_->pattern = std::move(pattern);
  code_->where = std::move(where);
  if (code_->pattern.size() > kLongestPattern) throw Error("the regular expression is longer than 65,536 bytes", code_->where);
  if (!isValidUtf8(code_->pattern)) throw Error("the regular expression is not valid UTF-8", code_->where);
  const std::string translated = pcreFromOniguruma(code_->pattern, code_->where);
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  int fault = 0;
  PCRE2_SIZE at = 0;
  code_->compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT, &fault, &at, context);
  pcre2_compile_context_free(context);
  if (code_->compiled == nullptr) {
    throw Error("the regular expression " + shown(code_->pattern) + " can't be used: " + messageOf(fault), code_->where);
  }
  pcre2_jit_compile(code_->compiled, PCRE2_JIT_COMPLETE);  // where it fails, matching goes on without it
}

Regex Regex::ofLiteral(std::string_view literal, std::string where) {
  std::string pattern;
  for (const char c : literal) {
    if (c == '\n') {
      pattern += "\\n";
      continue;
    }
    if (static_cast<uint8_t>(c) < 0x80 && isPunctuation(static_cast<char32_t>(c))) pattern.push_back('\\');
    pattern.push_back(c);
  }
  return Regex(std::move(pattern), std::move(where));
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

const std::string& Regex::pattern() const { return code_->pattern; }

Regex::Matcher::Matcher(const Regex& regex) : state_(std::make_unique<State>(*regex.code_)) {}
Regex::Matcher::~Matcher() = default;
Regex::Matcher::Matcher(Matcher&&) noexcept = default;
Regex::Matcher& Regex::Matcher::operator=(Matcher&&) noexcept = default;

/// Searches window by window of starting places: PCRE2 bounds the work from one place, the clock bounds their sum.
bool Regex::Matcher::State::find(std::string_view subject, size_t from, Job& job, size_t& begin, size_t& end) {
  const auto subjectBytes = reinterpret_cast<PCRE2_SPTR>(subject.data());
  const size_t window = std::clamp<size_t>((size_t{1} << 22) / (subject.size() - from + 1), 16, 1 << 16);
  std::chrono::steady_clock::time_point started;
  bool isFirstWindow = true;
  for (size_t start = from; start <= subject.size();) {
    size_t limit = std::min(subject.size(), start + window);
    while (limit < subject.size() && isUtf8Continuation(subject[limit])) ++limit;
    pcre2_set_offset_limit(context, limit);
    const int found = pcre2_match(code.compiled, subjectBytes, subject.size(), start, PCRE2_NO_UTF_CHECK, data, context);
    if (found >= 0) {
      const PCRE2_SIZE* pair = pcre2_get_ovector_pointer(data);
      begin = pair[0];
      end = std::max(pair[1], pair[0]);
      return true;
    }
    if (found != PCRE2_ERROR_NOMATCH) {
      throw Error("the regular expression " + shown(code.pattern) + " gives up on this text: " + messageOf(found), code.where,
                  "the pattern backtracks too much; the text can't be split with it");
    }
    if (limit == subject.size()) return false;
    start = limit;
    job.checkpoint();
    const auto now = std::chrono::steady_clock::now();
    if (isFirstWindow) started = now;
    isFirstWindow = false;
    if (std::chrono::duration<double>(now - started).count() > kSearchSeconds) {
      throw Error("the regular expression " + shown(code.pattern) + " takes too long on this text", code.where,
                  "the pattern backtracks too much; the text can't be split with it");
    }
  }
  return false;
}

void Regex::Matcher::forEachPart(std::string_view subject, Job& job, const std::function<void(size_t, size_t, bool)>& part) {
  if (subject.empty()) return part(0, 0, false);
  size_t done = 0, from = 0, lastEnd = subject.size() + 1;
  int untilCheck = 256;
  while (from <= subject.size()) {
    size_t begin = 0, end = 0;
    if (!state_->find(subject, from, job, begin, end)) break;
    if (begin == end && end == lastEnd) {  // an empty match where the last one ended: move on by a character
      from += from < subject.size() ? utf8Length(subject[from]) : 1;
      continue;
    }
    from = lastEnd = end;
    if (done != begin) part(done, begin, false);
    part(begin, end, true);
    done = end;
    if (--untilCheck == 0) {
      job.checkpoint();
      untilCheck = 256;
    }
  }
  if (done != subject.size()) part(done, subject.size(), false);
}

}  // namespace headscope::core
