#include "core/model/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "core/base/error.h"
#include "core/base/printable.h"

namespace headscope::core {
namespace {

constexpr size_t kLongest = 4096;
constexpr uint32_t kMostSteps = 200'000, kDeepest = 2'000, kMostHeapKib = 4096;

std::string messageOf(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

struct Pattern::Code {
  pcre2_code* code = nullptr;
  pcre2_match_context* limits = nullptr;
  ~Code() {
    pcre2_match_context_free(limits);
    pcre2_code_free(code);
  }
};

Pattern::Pattern(const std::string& expression, const std::string& where) : where_(where) {
  if (expression.size() > kLongest) throw Error("the expression is longer than " + std::to_string(kLongest) + " bytes", where);
  auto made = std::make_shared<Code>();
  int fault = 0;
  PCRE2_SIZE at = 0;
  made->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                             PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_UTF, &fault, &at, nullptr);
  if (made->code == nullptr) {
    throw Error("broken expression \"" + printable(expression, 80) + "\": " + messageOf(fault) + " at " + std::to_string(at), where);
  }
  made->limits = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(made->limits, kMostSteps);
  pcre2_set_depth_limit(made->limits, kDeepest);
  pcre2_set_heap_limit(made->limits, kMostHeapKib);
  code_ = std::move(made);
}

bool Pattern::matchesWhole(std::string_view text) const {
  pcre2_match_data* data = pcre2_match_data_create_from_pattern(code_->code, nullptr);
  const int result = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data, code_->limits);
  pcre2_match_data_free(data);
  if (result >= 0) return true;
  if (result == PCRE2_ERROR_NOMATCH) return false;
  throw Error("the expression can't be matched against \"" + printable(text, 80) + "\": " + messageOf(result), where_);
}

}  // namespace headscope::core
