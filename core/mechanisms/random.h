#pragma once
// Random: a small seeded generator whose numbers are the same on every platform (the standard distributions are not).
#include <cmath>
#include <cstdint>
#include <numbers>

namespace headscope::core {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  /// SplitMix64 (Steele, Lea, Flood 2014).
  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  /// In [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  /// In [0, bound), bound > 0.
  int64_t below(int64_t bound) { return static_cast<int64_t>(uniform() * static_cast<double>(bound)); }
  /// N(0, 1), by Box and Muller.
  double normal() {
    const double u = 1.0 - uniform(), t = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * t);
  }

 private:
  uint64_t state_;
};

}  // namespace headscope::core
