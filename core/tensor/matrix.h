#pragma once
// Matrix: an owned row-major float32 matrix in host memory; MatrixView and ConstMatrixView: the same borrowed, with a row
// stride. Heavy data moves; a copy is explicit through clone().
#include <cassert>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

namespace headscope::core {

struct ConstMatrixView {
  const float* data = nullptr;
  int64_t rows = 0, cols = 0;
  int64_t stride = 0;  // floats from one row to the next, >= cols

  const float* row(int64_t r) const { return data + r * stride; }
  float operator()(int64_t r, int64_t c) const { return data[r * stride + c]; }
  ConstMatrixView rowsFrom(int64_t first, int64_t count) const {
    assert(first >= 0 && count >= 0 && first + count <= rows);
    return {data + first * stride, count, cols, stride};
  }
  ConstMatrixView colsFrom(int64_t first, int64_t count) const {
    assert(first >= 0 && count >= 0 && first + count <= cols);
    return {data + first, rows, count, stride};
  }
};

struct MatrixView {
  float* data = nullptr;
  int64_t rows = 0, cols = 0;
  int64_t stride = 0;

  float* row(int64_t r) const { return data + r * stride; }
  float& operator()(int64_t r, int64_t c) const { return data[r * stride + c]; }
  operator ConstMatrixView() const { return {data, rows, cols, stride}; }
  MatrixView rowsFrom(int64_t first, int64_t count) const {
    assert(first >= 0 && count >= 0 && first + count <= rows);
    return {data + first * stride, count, cols, stride};
  }
  MatrixView colsFrom(int64_t first, int64_t count) const {
    assert(first >= 0 && count >= 0 && first + count <= cols);
    return {data + first, rows, count, stride};
  }
};

class Matrix {
 public:
  Matrix() = default;
  /// Uninitialised [rows, cols], 64-byte aligned.
  Matrix(int64_t rows, int64_t cols)
      : rows_(rows),
        cols_(cols),
        data_(rows * cols > 0 ? static_cast<float*>(::operator new (static_cast<size_t>(rows) * cols * sizeof(float), std::align_val_t{64}))
                              : nullptr) {}
  static Matrix zeros(int64_t rows, int64_t cols) {
    Matrix m(rows, cols);
    if (m.size() > 0) std::memset(m.data(), 0, static_cast<size_t>(m.size()) * sizeof(float));
    return m;
  }
  Matrix(Matrix&&) noexcept = default;
  Matrix& operator=(Matrix&&) noexcept = default;
  Matrix clone() const {
    Matrix m(rows_, cols_);
    if (size() > 0) std::memcpy(m.data(), data(), static_cast<size_t>(size()) * sizeof(float));
    return m;
  }

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t size() const { return rows_ * cols_; }
  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  float* row(int64_t r) { return data() + r * cols_; }
  const float* row(int64_t r) const { return data() + r * cols_; }
  float& operator()(int64_t r, int64_t c) { return data_[r * cols_ + c]; }
  float operator()(int64_t r, int64_t c) const { return data_[r * cols_ + c]; }
  MatrixView view() { return {data(), rows_, cols_, cols_}; }
  ConstMatrixView view() const { return {data(), rows_, cols_, cols_}; }
  operator ConstMatrixView() const { return view(); }

 private:
  struct Release {
    void operator()(float* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  int64_t rows_ = 0, cols_ = 0;
  std::unique_ptr<float[], Release> data_;
};

}  // namespace headscope::core
