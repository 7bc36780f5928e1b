// Decoding: every bit pattern of the small types against their definition, and the vector paths against the portable one.
#include "core/tensor/dtype.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

namespace headscope::core {
namespace {

/// sign * 2^(e - bias) * (1 + m / 2^mantissa), subnormals included; NaN and infinities are the caller's.
double byDefinition(uint32_t bits, int exponentBits, int mantissaBits) {
  const int bias = (1 << (exponentBits - 1)) - 1;
  const uint32_t mantissa = bits & ((1u << mantissaBits) - 1), exponent = (bits >> mantissaBits) & ((1u << exponentBits) - 1);
  const double sign = ((bits >> (mantissaBits + exponentBits)) & 1) != 0 ? -1.0 : 1.0;
  const double fraction = static_cast<double>(mantissa) / (1u << mantissaBits);
  return exponent == 0 ? sign * std::ldexp(fraction, 1 - bias) : sign * std::ldexp(1.0 + fraction, static_cast<int>(exponent) - bias);
}

template <typename T>
std::vector<std::byte> allPatterns() {
  std::vector<T> patterns(size_t{1} << (8 * sizeof(T)));
  std::iota(patterns.begin(), patterns.end(), T{0});
  std::vector<std::byte> bytes(patterns.size() * sizeof(T));
  std::memcpy(bytes.data(), patterns.data(), bytes.size());
  return bytes;
}

void expectBoth(DType type, const std::vector<std::byte>& bytes, int exponentBits, int mantissaBits, bool hasInfinities) {
  const auto count = static_cast<int64_t>(bytes.size() / sizeOf(type));
  std::vector<float> vector(static_cast<size_t>(count)), portable(static_cast<size_t>(count));
  decodeToFloat(type, bytes.data(), count, vector.data());
  decodeToFloatPortable(type, bytes.data(), count, portable.data());
  const uint32_t top = (1u << exponentBits) - 1;
  int wrong = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto bits = static_cast<uint32_t>(i);
    const uint32_t exponent = (bits >> mantissaBits) & top, mantissa = bits & ((1u << mantissaBits) - 1);
    const float v = vector[static_cast<size_t>(i)], p = portable[static_cast<size_t>(i)];
    if (hasInfinities && exponent == top) {
      const bool isRight = mantissa == 0 ? std::isinf(v) && v == p : std::isnan(v) && std::isnan(p);
      wrong += isRight ? 0 : 1;
    } else if (!hasInfinities && exponent == top && mantissa == (1u << mantissaBits) - 1) {
      wrong += std::isnan(v) && std::isnan(p) ? 0 : 1;
    } else {
      const double expected = byDefinition(bits, exponentBits, mantissaBits);
      wrong += v == static_cast<float>(expected) && p == v && std::signbit(v) == std::signbit(p) ? 0 : 1;
    }
  }
  EXPECT_EQ(wrong, 0) << nameOf(type);
}

TEST(DType, everyHalf) { expectBoth(DType::F16, allPatterns<uint16_t>(), 5, 10, true); }
TEST(DType, everyBrainFloat) { expectBoth(DType::BF16, allPatterns<uint16_t>(), 8, 7, true); }
TEST(DType, everyE4M3) { expectBoth(DType::F8_E4M3, allPatterns<uint8_t>(), 4, 3, false); }
TEST(DType, everyE5M2) { expectBoth(DType::F8_E5M2, allPatterns<uint8_t>(), 5, 2, true); }

TEST(DType, unalignedAndOddLengths) {
  const std::vector<std::byte> bytes = allPatterns<uint16_t>();
  for (const DType type : {DType::F16, DType::BF16, DType::F8_E4M3, DType::F32}) {
    for (const int64_t count : {0, 1, 7, 15, 16, 17, 31, 33, 100}) {
      std::vector<float> a(static_cast<size_t>(count) + 1, -7.0f), b = a;
      decodeToFloat(type, bytes.data() + 40001, count, a.data());
      decodeToFloatPortable(type, bytes.data() + 40001, count, b.data());
      for (size_t i = 0; i < a.size(); ++i)
        EXPECT_TRUE(a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) << nameOf(type) << " " << count;
    }
  }
}

TEST(DType, namesGoBothWays) {
  for (const DType type : {DType::F64, DType::F32, DType::F16, DType::BF16, DType::F8_E4M3, DType::F8_E5M2, DType::F8_E8M0, DType::I64,
                           DType::I32, DType::I16, DType::I8, DType::U64, DType::U32, DType::U16, DType::U8, DType::Bool}) {
    EXPECT_EQ(dtypeFromName(nameOf(type)), type);
  }
  EXPECT_FALSE(dtypeFromName("F4"));
}

}  // namespace
}  // namespace headscope::core
