#pragma once
// DeviceFault: an Error that is the device's and not the input's: memory short, or the device lost. What was computing may be
// computed elsewhere. After a lost device every number that lay on it is gone.
#include <string>

#include "core/base/error.h"

namespace headscope::core {

class DeviceFault : public Error {
 public:
  enum class Kind { OutOfMemory, Lost };
  DeviceFault(Kind kind, std::string what, std::string hint) : Error(std::move(what), "the compute device", std::move(hint)), kind_(kind) {}
  Kind kind() const { return kind_; }
  bool isLost() const { return kind_ == Kind::Lost; }

 private:
  Kind kind_;
};

}  // namespace headscope::core
