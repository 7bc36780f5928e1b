#include "core/tensor/matrix.h"

#include <gtest/gtest.h>

using headscope::core::Matrix;

TEST(Matrix, cloneIsApart) {
  Matrix a = Matrix::zeros(2, 3);
  Matrix b = a.clone();
  b(1, 2) = 5;
  EXPECT_EQ(a(1, 2), 0);
  EXPECT_EQ(b.view().colsFrom(2, 1)(1, 0), 5);
}

TEST(Matrix, emptyHasNoStorage) { EXPECT_EQ(Matrix(0, 7).data(), nullptr); }
