#pragma once
// Descriptor: an open file of the system, closed with it; and the system's word for an error number.
#include <unistd.h>

#include <string>
#include <system_error>

namespace headscope::core {

struct Descriptor {
  int fd = -1;
  explicit Descriptor(int opened) : fd(opened) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

inline std::string systemMessage(int code) { return std::generic_category().message(code); }

}  // namespace headscope::core
