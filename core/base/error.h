#pragma once
// Error: the one exception type that crosses module borders.
//
// It says what was wrong, where (file, tensor, field, offset) and, where it helps, what to do about it.
// Handle each error exactly once: pass it on or report it. A bug is an assert, never an Error.
#include <stdexcept>
#include <string>

namespace headscope::core {

class Error : public std::runtime_error {
 public:
  /// what: the fault in a sentence without a final stop. where: file, tensor or field ("" when none).
  /// hint: what the user can do about it ("" when nothing).
  explicit Error(std::string what, std::string where = {}, std::string hint = {});

  const std::string& fault() const { return fault_; }
  const std::string& where() const { return where_; }
  const std::string& hint() const { return hint_; }

  /// The same error seen from further out: `outer` is put before where().
  Error within(const std::string& outer) const;

 private:
  std::string fault_, where_, hint_;
};

/// Thrown by a computation whose Job was cancelled; not a failure and never shown as one.
class Cancelled : public std::exception {
 public:
  const char* what() const noexcept override { return "cancelled"; }
};

}  // namespace headscope::core
