#include "core/tensor/matrix_unit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "core/tensor/matrix.h"

using namespace headscope::core;

namespace {

Matrix randomMatrix(int64_t rows, int64_t cols, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  Matrix m(rows, cols);
  for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = uniform(engine) * (i % 7 == 0 ? 1e-3F : 1.0F);
  return m;
}

std::vector<MatrixTile> rightTiles(const Matrix& m, int64_t depth, TileNumbers numbers = TileNumbers::Parts) {
  std::vector<MatrixTile> tiles(static_cast<size_t>((m.cols() + 31) / 32 * 2 * depth));
  packColumns(numbers, m.data(), m.cols(), m.rows(), m.cols(), depth, tiles.data());
  return tiles;
}

}  // namespace

TEST(MatrixUnit, aProductOfColumnsAgainstLoopsInDouble) {
  const MatrixUnit unit;
  for (const TileNumbers numbers : {TileNumbers::Parts, TileNumbers::Whole})
    for (const auto& [k, m, n] : {std::array<int64_t, 3>{32, 32, 32}, {128, 32, 32}, {1, 1, 1}, {67, 17, 31}, {33, 32, 5}}) {
      const Matrix a = randomMatrix(k, m, 1), b = randomMatrix(k, n, 2);
      const int64_t depth = (k + 31) / 32;
      std::vector<MatrixTile> left = rightTiles(a, depth, numbers), right = rightTiles(b, depth, numbers);
      turnTiles(static_cast<int64_t>(left.size()), left.data());
      Matrix sums(32, 40);
      unit.multiply(numbers, left.data(), depth, right.data(), depth, depth, sums.data(), sums.cols(), false);
      unit.multiply(numbers, left.data(), depth, right.data(), depth, depth, sums.data(), sums.cols(), true);
      for (int64_t i = 0; i < 32; ++i) {
        for (int64_t j = 0; j < 32; ++j) {
          double expected = 0, size = 0;
          for (int64_t p = 0; p < k && i < m && j < n; ++p) {
            const double term = 2.0 * a(p, i) * b(p, j);
            expected += term, size += term * term;
          }
          EXPECT_NEAR(sums(i, j), expected, (numbers == TileNumbers::Parts ? 1.6e-5 : 1.5e-6) * std::sqrt(size))
              << k << " " << i << " " << j;
        }
      }
    }
}

TEST(MatrixUnit, aLineOfManyTilesIsARowOfAProduct) {
  for (const TileNumbers numbers : {TileNumbers::Parts, TileNumbers::Whole}) {
    const Matrix entries = randomMatrix(32, 32, 3), other = randomMatrix(32, 32, 4);
    std::vector<MatrixTile> left(2 * 32), right(2 * 32);  // [2 panels of 16 lines, 32 tiles]
    for (std::vector<MatrixTile>* tiles : {&left, &right}) {
      for (int64_t line = 0; line < 16; ++line) clearLines(64, line, tiles->data());
    }
    packLines(numbers, entries.data(), 32, 32, 2, 3, left.data() + 32);  // line 3 of the second panel
    packLines(numbers, other.data(), 32, 32, 2, 5, right.data());
    turnTiles(64, right.data());
    Matrix sums(32, 32);
    MatrixUnit().multiply(numbers, left.data(), 32, right.data(), 32, 32, sums.data(), 32, false);
    double expected = 0;
    for (int64_t i = 0; i < 1024; ++i) expected += double(entries.data()[i]) * double(other.data()[i]);
    for (int64_t i = 0; i < 32; ++i) {
      for (int64_t j = 0; j < 32; ++j) EXPECT_NEAR(sums(i, j), i == 19 && j == 5 ? expected : 0, 2e-4) << i << " " << j;
    }
  }
}

TEST(MatrixUnit, turningTwiceIsNothing) {
  const Matrix m = randomMatrix(32, 32, 5);
  std::vector<MatrixTile> tiles = rightTiles(m, 1);
  const std::vector<MatrixTile> before = tiles;
  turnTiles(2, tiles.data());
  EXPECT_EQ(tiles[0].parts[1][3][7], before[0].parts[1][7][3]);
  turnTiles(2, tiles.data());
  EXPECT_EQ(tiles[1].parts, before[1].parts);
}

TEST(MatrixUnit, whatIsNotFiniteStaysInItsRowsAndColumns) {
  Matrix a = randomMatrix(32, 32, 6), b = randomMatrix(32, 32, 7);
  a(4, 2) = INFINITY, b(9, 20) = NAN;
  std::vector<MatrixTile> left = rightTiles(a, 1), right = rightTiles(b, 1);
  turnTiles(2, left.data());
  Matrix sums(32, 32);
  MatrixUnit().multiply(TileNumbers::Parts, left.data(), 1, right.data(), 1, 1, sums.data(), 32, false);
  for (int64_t i = 0; i < 32; ++i) {
    for (int64_t j = 0; j < 32; ++j) EXPECT_EQ(std::isfinite(sums(i, j)), i != 2 && j != 20) << i << " " << j;
  }
}
