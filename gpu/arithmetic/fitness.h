#pragma once
// Why a machine's driver or card can't be used, in the words that people read; "" when it can. Host code, apart from the calls that find
// the facts out, so that tests see every answer.
#include <string>

namespace headscope::gpu {

inline constexpr int kMinimumDriver = 12040;  // CUDA 12.4
inline constexpr int kMinimumMajor = 8;

/// 12040: "12.4".
inline std::string cudaVersionText(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

struct DriverFacts {
  int driver = 0;             // the CUDA version that the driver is for; 0: there is none
  int devices = 0;            // counted; 0 where counting failed
  bool isNoDevice = false;    // the count failed for want of a device
  std::string countingFault;  // another reason that it failed; "" where it didn't
};

inline std::string unfitDriver(const DriverFacts& facts) {
  if (facts.driver == 0) return "no CUDA driver found";
  if (facts.driver < kMinimumDriver) {
    return "the CUDA driver is for " + cudaVersionText(facts.driver) + ", " + cudaVersionText(kMinimumDriver) + " or newer is needed";
  }
  if (!facts.isNoDevice && !facts.countingFault.empty()) return "CUDA can't start: " + facts.countingFault;
  if (facts.devices == 0) return "no CUDA device found";
  return {};
}

inline std::string unfitCard(const std::string& name, int major, int minor) {
  if (major >= kMinimumMajor) return {};
  return name + " has compute capability " + std::to_string(major) + "." + std::to_string(minor) + ", " + std::to_string(kMinimumMajor) +
         ".0 or newer is needed";
}

/// Whether three products in bf16 take less time than one in float32: cards for computing (A100, H100 and H200, B200 and B300) have
/// tensor cores of 15 times their float32 rate and more, cards for pictures and small boards of twice.
inline bool paysToSplit(int major, int minor) { return (major == 8 && minor == 0) || major == 9 || (major == 10 && minor != 1); }

}  // namespace headscope::gpu
