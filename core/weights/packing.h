#pragma once
// Packer and Unpacker: the disk cache's forms of results: plain values one after the other, texts and lists behind their count. Of this
// machine's byte order: a cache does not travel. Damaged bytes are found, never read beyond.
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace headscope::core {

struct Packer {
  std::string bytes;
  template <typename T>
  void put(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void put(const std::string& text) {
    put(static_cast<uint64_t>(text.size()));
    bytes += text;
  }
  template <typename T>
  void put(const std::vector<T>& values) {
    put(static_cast<uint64_t>(values.size()));
    if (!values.empty()) bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
};

struct Unpacker {
  std::string_view bytes;
  bool isGood = true;
  template <typename T>
  T get() {
    T value{};
    if (bytes.size() < sizeof value) {
      isGood = false;
      return value;
    }
    std::memcpy(&value, bytes.data(), sizeof value);
    bytes.remove_prefix(sizeof value);
    return value;
  }
  std::string text() {
    const uint64_t size = get<uint64_t>();
    if (size > bytes.size()) {
      isGood = false;
      return {};
    }
    std::string s(bytes.substr(0, size));
    bytes.remove_prefix(size);
    return s;
  }
  /// Numbers as put(vector) wrote them.
  template <typename T>
  std::vector<T> list() {
    std::vector<T> values(count(sizeof(T)));
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
    bytes.remove_prefix(values.size() * sizeof(T));
    return values;
  }
  /// A count of things that take at least `each` bytes.
  uint64_t count(size_t each) {
    const uint64_t n = get<uint64_t>();
    if (n > bytes.size() / each) isGood = false;
    return isGood ? n : 0;
  }
};

}  // namespace headscope::core
