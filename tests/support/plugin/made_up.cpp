// Plug-ins that look like the CUDA one and are not, for tests of how the program takes them; which one by a compile definition:
//   MADE_UP_REASON         finds no card, with the words of HEADSCOPE_TEST_REASON
//   MADE_UP_OTHER_VERSION  of another version of the interface
//   MADE_UP_NO_FUNCTIONS   a library with nothing of a plug-in
//   MADE_UP_CARD           the CPU in the part of a card; HEADSCOPE_TEST_FAULT "memory" or "lost": fails at its tenth product
#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/backend/cuda_plugin.h"
#ifdef MADE_UP_CARD
#include "tests/core/backend/fake_device.h"
#endif

#ifdef MADE_UP_NO_FUNCTIONS
extern "C" int headscopeMadeUp() { return 1; }
#else

#ifdef MADE_UP_CARD
namespace {

class FailingCard : public headscope::tests::FakeDevice {
 public:
  void linear(const headscope::core::Tensor& x, const headscope::core::Linear& w, headscope::core::Into into,
              const headscope::core::Tensor& out, headscope::core::Job& job) override {
    const char* fault = std::getenv("HEADSCOPE_TEST_FAULT");
    if (fault != nullptr && ++products_ == 10) failAfter(0, std::string(fault) == "lost" ? Kind::Lost : Kind::OutOfMemory);
    FakeDevice::linear(x, w, into, out, job);
  }

 private:
  int products_ = 0;
};

}  // namespace
#endif

extern "C" __attribute__((visibility("default"))) const char* headscopePluginVersion() {
#ifdef MADE_UP_OTHER_VERSION
  return "headscope-backend-0";
#else
  return headscope::core::kPluginVersion;
#endif
}

extern "C" __attribute__((visibility("default"))) headscope::core::Backend* headscopeCreateBackend(char* reason, size_t capacity) {
#ifdef MADE_UP_CARD
  (void)reason, (void)capacity;
  return new FailingCard();
#else
  const char* words = std::getenv("HEADSCOPE_TEST_REASON");
  std::snprintf(reason, capacity, "%s", words != nullptr ? words : "no CUDA device found");
  return nullptr;
#endif
}
#endif
