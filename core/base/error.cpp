#include "core/base/error.h"

namespace headscope::core {
namespace {

std::string sentence(const std::string& fault, const std::string& where, const std::string& hint) {
  std::string s;
  if (!where.empty()) s += where + ": ";
  s += fault;
  if (!hint.empty()) s += "; " + hint;
  return s;
}

}  // namespace

Error::Error(std::string fault, std::string where, std::string hint)
    : std::runtime_error(sentence(fault, where, hint)), fault_(std::move(fault)), where_(std::move(where)), hint_(std::move(hint)) {}

Error Error::within(const std::string& outer) const { return Error(fault_, where_.empty() ? outer : outer + ", " + where_, hint_); }

}  // namespace headscope::core
