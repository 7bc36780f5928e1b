#pragma once
// SafetensorsWriter: an output file of named tensors, written whole or not at all, streamed so that no tensor has to be in
// memory at once. Declare every tensor first, then write the bytes of each in the declared order.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "core/tensor/dtype.h"

namespace headscope::core {

class SafetensorsWriter {
 public:
  /// Where one tensor's elements are streamed to; the count must add up to the declared shape.
  class Sink {
   public:
    explicit Sink(std::ostream& out) : out_(out) {}
    void write(std::span<const float> values);
    void write(std::span<const double> values);
    void write(std::span<const int64_t> values);
    void write(std::span<const int32_t> values);
    void write(std::span<const uint8_t> values);
    uint64_t bytes() const { return bytes_; }

   private:
    std::ostream& out_;
    uint64_t bytes_ = 0;
  };

  /// Adds a tensor whose elements `fill` writes when the file is written.
  void add(std::string name, DType dtype, std::vector<int64_t> shape, std::function<void(Sink&)> fill);
  /// Convenience: a tensor held by the writer.
  void add(std::string name, std::vector<int64_t> shape, std::vector<float> values);
  void add(std::string name, std::vector<int64_t> shape, std::vector<double> values);
  void add(std::string name, std::vector<int64_t> shape, std::vector<int64_t> values);

  std::map<std::string, std::string> metadata;

  /// Throws Error naming the path on failure; the old file then stays as it was. Bytes are the same for the same tensors.
  void write(const std::filesystem::path& path) const;

 private:
  struct Entry {
    std::string name;
    DType dtype;
    std::vector<int64_t> shape;
    std::function<void(Sink&)> fill;
  };
  std::vector<Entry> entries_;
};

}  // namespace headscope::core
