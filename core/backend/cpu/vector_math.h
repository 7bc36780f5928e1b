#pragma once
// Elementary functions in float32 without branches, so that the compiler turns loops over them into vector code. Relative
// error about 1e-7 (absolute for erf); NaN in, NaN out. Coefficients are Taylor's, except where a function says otherwise.
#include <bit>
#include <cstdint>

#include "core/model/model_spec.h"

namespace headscope::core::cpu {

/// e^x; exactly 0 below -86.6 (where float32 would leave its normal range), infinity above 88.7.
inline float exponential(float x) {
  constexpr float kLow = -86.6f, kHigh = 88.72f, kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  float t = x < kLow ? kLow : x;
  t = t > kHigh ? kHigh : t;
  const float shifted = t * 1.44269504f + kRound;
  const float n = shifted - kRound;
  float r = t - n * 0.693359375f;  // ln 2 in two parts, the first exact times n
  r = r + n * 2.12194440e-4f;
  float p = 1.0f / 5040.0f;  // |r| <= ln 2 / 2: the next term is below 1e-8
  p = p * r + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // 2^n as 2^(n-1) * 2, so that n = 128 works; integer arithmetic on the rounded sum's bits needs no conversion of NaN
  const int32_t exponent = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
  const float power = std::bit_cast<float>(static_cast<int32_t>((static_cast<uint32_t>(exponent) + 126u) << 23));
  const float value = p * power * 2.0f;
  return x < kLow ? 0.0f : (x > kHigh ? __builtin_inff() : value);
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

inline float hyperbolicTangent(float x) {
  const float a = x < 0 ? -x : x;
  const float e = exponential(-2.0f * a);
  const float far = (1.0f - e) / (1.0f + e);
  const float s = a * a;  // series for small a, where 1 - e cancels
  float p = 21844.0f / 6081075.0f;
  p = p * s - 1382.0f / 155925.0f;
  p = p * s + 62.0f / 2835.0f;
  p = p * s - 17.0f / 315.0f;
  p = p * s + 2.0f / 15.0f;
  p = p * s - 1.0f / 3.0f;
  const float near = a + a * s * p;
  const float t = a < 0.35f ? near : far;
  return x < 0 ? -t : t;
}

/// Series below 1; above, erfc(a) = t e^(q(t) - a^2), t = 1 / (1 + a / 2), with a polynomial q fitted at 400 Chebyshev nodes over
/// a in [1, 12] (error of q 2e-7, of erf 1e-7).
inline float errorFunction(float x) {
  const float a = x < 0 ? -x : x;
  const float s = a * a;
  float p = 1.0f / 76204800.0f;  // 1 / (10! 21)
  p = p * s - 1.0f / 6894720.0f;
  p = p * s + 1.0f / 685440.0f;
  p = p * s - 1.0f / 75600.0f;
  p = p * s + 1.0f / 9360.0f;
  p = p * s - 1.0f / 1320.0f;
  p = p * s + 1.0f / 216.0f;
  p = p * s - 1.0f / 42.0f;
  p = p * s + 0.1f;
  p = p * s - 1.0f / 3.0f;
  const float near = 1.12837917f * (a + a * s * p);
  const float t = 1.0f / (1.0f + 0.5f * a);
  float q = 0.239334837f;
  q = q * t - 0.432048082f;
  q = q * t + 0.0192147009f;
  q = q * t + 0.0677234679f;
  q = q * t + 0.374713093f;
  q = q * t + 1.00031734f;
  q = q * t - 1.26553559f;
  const float far = 1.0f - t * exponential(q - s);
  const float e = a < 1.0f ? near : far;
  return x < 0 ? -e : e;
}

/// One activation; the loop's switch is outside of it (see activateRow).
template <Activation kind>
inline float activated(float x) {
  if constexpr (kind == Activation::GeluErf) return 0.5f * x * (1.0f + errorFunction(x * 0.70710678f));
  if constexpr (kind == Activation::GeluTanh) {
    return 0.5f * x * (1.0f + hyperbolicTangent(0.79788456f * (x + 0.044715f * x * x * x)));
  }
  if constexpr (kind == Activation::GeluQuick) return x * sigmoid(1.702f * x);
  if constexpr (kind == Activation::Silu) return x * sigmoid(x);
  if constexpr (kind == Activation::Relu) return x < 0 ? 0.0f : x;
  if constexpr (kind == Activation::ReluSquared) return x < 0 ? 0.0f : x * x;
  if constexpr (kind == Activation::Tanh) return hyperbolicTangent(x);
  if constexpr (kind == Activation::Sigmoid) return sigmoid(x);
  if constexpr (kind == Activation::Identity) return x;
}

}  // namespace headscope::core::cpu
