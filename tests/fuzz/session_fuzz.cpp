// Sessions come out of other people's figures: any text is an Error or a session that writes and reads back to the same. Scenarios
// are made of sessions.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/session/scenario.h"
#include "core/session/session.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headscope::core;
  try {
    const Session session = parseSession({reinterpret_cast<const char*>(data), size}, "input");
    const std::string written = toJson(session);
    if (toJson(parseSession(written, "written")) != written) __builtin_trap();
  } catch (const Error&) {
  }
  try {
    parseScenario({reinterpret_cast<const char*>(data), size}, "input");
  } catch (const Error&) {
  }
  return 0;
}
