#include "core/tensor/dtype.h"

#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 sees its own intrinsics' undefined operands (bug 105593)
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__)
#include <immintrin.h>
#define HEADSCOPE_DECODE_AVX512 1
#elif defined(__AVX2__) && defined(__F16C__)
#include <immintrin.h>
#define HEADSCOPE_DECODE_AVX2 1
#endif

namespace headscope::core {
namespace {

struct DTypeRow {
  DType type;
  std::string_view name;
  uint8_t bytes;
  bool isFloat;
};

constexpr std::array<DTypeRow, 16> kTypes = {{{DType::F64, "F64", 8, true},
                                              {DType::F32, "F32", 4, true},
                                              {DType::F16, "F16", 2, true},
                                              {DType::BF16, "BF16", 2, true},
                                              {DType::F8_E4M3, "F8_E4M3", 1, true},
                                              {DType::F8_E5M2, "F8_E5M2", 1, true},
                                              {DType::F8_E8M0, "F8_E8M0", 1, true},
                                              {DType::I64, "I64", 8, false},
                                              {DType::I32, "I32", 4, false},
                                              {DType::I16, "I16", 2, false},
                                              {DType::I8, "I8", 1, false},
                                              {DType::U64, "U64", 8, false},
                                              {DType::U32, "U32", 4, false},
                                              {DType::U16, "U16", 2, false},
                                              {DType::U8, "U8", 1, false},
                                              {DType::Bool, "BOOL", 1, false}}};

const DTypeRow& rowOf(DType type) {
  const auto index = static_cast<size_t>(type);
  assert(index < kTypes.size() && kTypes[index].type == type);
  return kTypes[index];
}

template <typename T>
T load(const std::byte* source) {
  T value;
  std::memcpy(&value, source, sizeof value);
  return value;
}

float floatFromHalf(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t exponent = (h >> 10) & 0x1Fu, mantissa = h & 0x3FFu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

float floatFromBrain(uint16_t b) { return std::bit_cast<float>(static_cast<uint32_t>(b) << 16); }

/// 1 sign, 4 exponent (bias 7), 3 mantissa bits; the "fn" kind has no infinities and one NaN pattern per sign.
float floatFromE4M3(uint8_t b) {
  if ((b & 0x7Fu) == 0x7Fu) return std::numeric_limits<float>::quiet_NaN();
  const int exponent = (b >> 3) & 0xF, mantissa = b & 7;
  const float magnitude =
      exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9) : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (b & 0x80u) != 0 ? -magnitude : magnitude;
}

float floatFromE8M0(uint8_t b) { return b == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, static_cast<int>(b) - 127); }

const std::array<float, 256>& tableE4M3() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> t{};
    for (int i = 0; i < 256; ++i) t[static_cast<size_t>(i)] = floatFromE4M3(static_cast<uint8_t>(i));
    return t;
  }();
  return table;
}

template <typename T>
void convertEach(const std::byte* source, int64_t count, float* target) {
  for (int64_t i = 0; i < count; ++i) target[i] = static_cast<float>(load<T>(source + i * static_cast<int64_t>(sizeof(T))));
}

// Vector paths return how many elements they did; the portable path does the rest.

#if defined(HEADSCOPE_DECODE_AVX512)

int64_t decodeBrainVector(const std::byte* source, int64_t count, float* target) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source + 2 * i));
    _mm512_storeu_si512(target + i, _mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
  }
  return i;
}

int64_t decodeHalfVector(const std::byte* source, int64_t count, float* target) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    _mm512_storeu_ps(target + i, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(source + 2 * i))));
  }
  return i;
}

// Bits moved into a half (whose exponent bias is 8 more) and multiplied by 2^8: exact, subnormals included; NaN set apart.
int64_t decodeE4M3Vector(const std::byte* source, int64_t count, float* target) {
  const __m512 scale = _mm512_set1_ps(256.0f), nan = _mm512_set1_ps(std::numeric_limits<float>::quiet_NaN());
  const __m256i low = _mm256_set1_epi16(0x7F), sign = _mm256_set1_epi16(0x80);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256i wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source + i)));
    const __m256i magnitude = _mm256_and_si256(wide, low);
    const __m256i half = _mm256_or_si256(_mm256_slli_epi16(magnitude, 7), _mm256_slli_epi16(_mm256_and_si256(wide, sign), 8));
    const __mmask16 isNan = _mm512_cmpeq_epi32_mask(_mm512_cvtepu16_epi32(magnitude), _mm512_set1_epi32(0x7F));
    _mm512_storeu_ps(target + i, _mm512_mask_mov_ps(_mm512_mul_ps(_mm512_cvtph_ps(half), scale), isNan, nan));
  }
  return i;
}

#elif defined(HEADSCOPE_DECODE_AVX2)

int64_t decodeBrainVector(const std::byte* source, int64_t count, float* target) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + 2 * i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(target + i), _mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
  }
  return i;
}

int64_t decodeHalfVector(const std::byte* source, int64_t count, float* target) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(target + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source + 2 * i))));
  }
  return i;
}

int64_t decodeE4M3Vector(const std::byte* source, int64_t count, float* target) {
  const __m256 scale = _mm256_set1_ps(256.0f), nan = _mm256_set1_ps(std::numeric_limits<float>::quiet_NaN());
  const __m128i low = _mm_set1_epi16(0x7F), sign = _mm_set1_epi16(0x80);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i wide = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(source + i)));
    const __m128i magnitude = _mm_and_si128(wide, low);
    const __m128i half = _mm_or_si128(_mm_slli_epi16(magnitude, 7), _mm_slli_epi16(_mm_and_si128(wide, sign), 8));
    const __m256i isNan = _mm256_cmpeq_epi32(_mm256_cvtepu16_epi32(magnitude), _mm256_set1_epi32(0x7F));
    _mm256_storeu_ps(target + i, _mm256_blendv_ps(_mm256_mul_ps(_mm256_cvtph_ps(half), scale), nan, _mm256_castsi256_ps(isNan)));
  }
  return i;
}

#else

int64_t decodeBrainVector(const std::byte*, int64_t, float*) { return 0; }
int64_t decodeHalfVector(const std::byte*, int64_t, float*) { return 0; }
int64_t decodeE4M3Vector(const std::byte*, int64_t, float*) { return 0; }

#endif

}  // namespace

size_t sizeOf(DType type) { return rowOf(type).bytes; }

std::string_view nameOf(DType type) { return rowOf(type).name; }

std::optional<DType> dtypeFromName(std::string_view name) {
  for (const DTypeRow& row : kTypes) {
    if (row.name == name) return row.type;
  }
  return std::nullopt;
}

bool isFloat(DType type) { return rowOf(type).isFloat; }

void decodeToFloat(DType type, const std::byte* source, int64_t count, float* target) {
  if (count <= 0) return;
  int64_t done = 0;
  switch (type) {
    case DType::F32:
      std::memcpy(target, source, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::BF16:
      done = decodeBrainVector(source, count, target);
      break;
    case DType::F16:
      done = decodeHalfVector(source, count, target);
      break;
    case DType::F8_E4M3:
      done = decodeE4M3Vector(source, count, target);
      break;
    default:
      break;
  }
  decodeToFloatPortable(type, source + done * static_cast<int64_t>(sizeOf(type)), count - done, target + done);
}

void decodeToFloatPortable(DType type, const std::byte* source, int64_t count, float* target) {
  switch (type) {
    case DType::F64:
      return convertEach<double>(source, count, target);
    case DType::F32:
      return convertEach<float>(source, count, target);
    case DType::F16:
      for (int64_t i = 0; i < count; ++i) target[i] = floatFromHalf(load<uint16_t>(source + 2 * i));
      return;
    case DType::BF16:
      for (int64_t i = 0; i < count; ++i) target[i] = floatFromBrain(load<uint16_t>(source + 2 * i));
      return;
    case DType::F8_E4M3: {
      const auto& table = tableE4M3();
      for (int64_t i = 0; i < count; ++i) target[i] = table[static_cast<uint8_t>(source[i])];
      return;
    }
    case DType::F8_E5M2:  // the upper byte of a half
      for (int64_t i = 0; i < count; ++i) target[i] = floatFromHalf(static_cast<uint16_t>(static_cast<uint16_t>(source[i]) << 8));
      return;
    case DType::F8_E8M0:
      for (int64_t i = 0; i < count; ++i) target[i] = floatFromE8M0(static_cast<uint8_t>(source[i]));
      return;
    case DType::I64:
      return convertEach<int64_t>(source, count, target);
    case DType::I32:
      return convertEach<int32_t>(source, count, target);
    case DType::I16:
      return convertEach<int16_t>(source, count, target);
    case DType::I8:
      return convertEach<int8_t>(source, count, target);
    case DType::U64:
      return convertEach<uint64_t>(source, count, target);
    case DType::U32:
      return convertEach<uint32_t>(source, count, target);
    case DType::U16:
      return convertEach<uint16_t>(source, count, target);
    case DType::U8:
    case DType::Bool:
      return convertEach<uint8_t>(source, count, target);
  }
}

float decodeOne(DType type, const std::byte* source) {
  float value = 0;
  decodeToFloatPortable(type, source, 1, &value);
  return value;
}

}  // namespace headscope::core
