#pragma once
// DType: how a number is stored in a checkpoint. Arithmetic is float32 (double where a header says so).
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace headscope::core {

enum class DType : uint8_t { F64, F32, F16, BF16, F8_E4M3, F8_E5M2, F8_E8M0, I64, I32, I16, I8, U64, U32, U16, U8, Bool };

/// Bytes of one element.
size_t sizeOf(DType type);
/// The safetensors name ("BF16").
std::string_view nameOf(DType type);
/// The type of a safetensors name, or nothing when the name is not known.
std::optional<DType> dtypeFromName(std::string_view name);
/// True for types that can hold weights (F64, F32, F16, BF16, F8_E4M3, F8_E5M2; F8_E8M0 for scales).
bool isFloat(DType type);

/// Decodes `count` contiguous elements to float32. Source may be unaligned. F8_E4M3 is the "fn" kind: no infinities,
/// 0x7F and 0xFF are NaN; scales are the caller's.
void decodeToFloat(DType type, const std::byte* source, int64_t count, float* target);

/// The same element by element, without vector instructions: for other processors, tails and tests.
void decodeToFloatPortable(DType type, const std::byte* source, int64_t count, float* target);

/// Decodes one element.
float decodeOne(DType type, const std::byte* source);

}  // namespace headscope::core
