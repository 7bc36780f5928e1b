#pragma once
// ContentHash: 128 bits that name what a result was computed from: bytes of weights and the settings. Not cryptographic: it
// tells files apart, it does not resist forgery. About the speed of reading memory; large spans are split over the pool.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace headscope::core {

struct AttentionWeights;

class ContentHash {
 public:
  /// The start of a kept result's name: its kind ("lora") and the one version of everything that is kept. That is the program's, and
  /// kResultVersion (content_hash.cpp), which is raised when a result or its packed form changes between releases: then all are new.
  static ContentHash ofResult(std::string_view kind);

  void add(std::span<const std::byte> bytes);
  void add(std::string_view text);
  template <typename T>
  requires std::is_arithmetic_v<T>
  void add(T value) { add(std::as_bytes(std::span<const T>(&value, 1))); }
  template <typename T>
  requires std::is_arithmetic_v<T>
  void add(const std::vector<T>& values) {
    add(static_cast<uint64_t>(values.size()));
    add(std::as_bytes(std::span<const T>(values)));
  }
  /// 32 hexadecimal digits.
  std::string text() const;

 private:
  uint64_t a_ = 0x9e3779b97f4a7c15ULL, b_ = 0xc2b2ae3d27d4eb4fULL;
};

/// Adds every stored tensor, block scale, gain and adapter factor that one layer's attention is made of.
void addAttention(ContentHash& hash, const AttentionWeights& attention);

}  // namespace headscope::core
