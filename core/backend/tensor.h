#pragma once
// Tensor: a handle on a float32 matrix in a backend's memory: host memory for the CPU, device memory for a GPU. Copying a
// Tensor copies the handle, as with a pointer; the numbers are freed with the last handle. Only the backend that allocated a
// Tensor may read or write it. A part of a Tensor (rowsFrom, colsFrom) shares its numbers.
#include <cassert>
#include <cstdint>
#include <memory>

namespace headscope::core {

/// Memory that a backend owns; each backend derives its own.
class Storage {
 public:
  virtual ~Storage() = default;
};

struct Tensor {
  std::shared_ptr<Storage> storage;
  int64_t offset = 0;  // floats from the start of the storage to element (0, 0)
  int64_t rows = 0, cols = 0;
  int64_t stride = 0;  // floats from one row to the next, >= cols

  bool empty() const { return storage == nullptr || rows == 0 || cols == 0; }
  int64_t size() const { return rows * cols; }
  Tensor rowsFrom(int64_t first, int64_t count) const {
    assert(first >= 0 && count >= 0 && first + count <= rows);
    return {storage, offset + first * stride, count, cols, stride};
  }
  Tensor colsFrom(int64_t first, int64_t count) const {
    assert(first >= 0 && count >= 0 && first + count <= cols);
    return {storage, offset + first, rows, count, stride};
  }
};

}  // namespace headscope::core
