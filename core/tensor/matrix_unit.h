#pragma once
// MatrixUnit: products of float32 matrices in tiles, on the processor's unit for bf16 tiles (Intel AMX) or its vector units. For the former
// a number is taken as the sum of two bf16 numbers, each rounded to nearest: 17 bits, off by 2^-18 at most and of random sign. The four
// products of such parts are exact and are added up in float32; numbers below 1e-38 count as zero. The latter takes numbers as they are.
// Also exact products of whole numbers, on the former.
#include <array>
#include <cstdint>

namespace headscope::core {

enum class TileNumbers { Parts, Whole };  // two bf16 numbers each; float32

/// 16 rows by 32 of the summed dimension, in pairs of it. A left tile holds [16 rows][16 pairs] twice, a right one [16 pairs][16 columns]:
/// first and second parts of the pairs, even in the low half and odd in the high half; or even numbers and odd ones.
struct alignas(64) MatrixTile {
  static constexpr int64_t kSide = 16, kDepth = 32;
  using Line = std::array<uint32_t, kSide>;
  std::array<std::array<Line, kSide>, 2> parts;
};

/// Right tiles [ceil(columns / 32) * 2, depth] of numbers rows [count, columns], `stride` apart; zeros around them. count <= 32 depth.
void packColumns(TileNumbers numbers, const float* rows, int64_t stride, int64_t count, int64_t columns, int64_t depth, MatrixTile* tiles);
/// Line `line` of count / 2 * across tiles, one after the other: numbers rows [count, 16 across], `stride` apart, two rows and 16 columns a
/// tile; count is even.
void packLines(TileNumbers numbers, const float* rows, int64_t stride, int64_t count, int64_t across, int64_t line, MatrixTile* tiles);
void clearLines(int64_t count, int64_t line, MatrixTile* tiles);
/// Left tiles to right ones, and back.
void turnTiles(int64_t count, MatrixTile* tiles);

/// 16 rows by 64 of the summed dimension of whole numbers of 32 bits, byte by byte from the lowest, each byte signed. A left tile holds
/// [16 rows][16 fours of neighbours], a right one [16 fours][16 columns].
struct alignas(64) ByteTile {
  static constexpr int64_t kDepth = 64, kBytes = 4;
  std::array<std::array<MatrixTile::Line, 16>, kBytes> bytes;
};
/// Line `line` from whole numbers values[0, 64), |values| <= 2^30.
void setBytes(const int32_t* values, int64_t line, ByteTile& tile);
void turnTiles(int64_t count, ByteTile* tiles);

class MatrixUnit {
 public:
  /// Whether the processor has the unit and the system grants it; asked once. Without it parts and bytes are multiplied in loops, for
  /// tests.
  static bool isThere();

  /// Sets the calling thread's tiles up, and gives them back when it goes: one at a time on a thread, with nothing run in parallel below.
  MatrixUnit();
  ~MatrixUnit();
  MatrixUnit(const MatrixUnit&) = delete;
  MatrixUnit& operator=(const MatrixUnit&) = delete;

  /// sums [32, 32], rows `stride` apart, = or += left right: two rows of `depth` left tiles, two columns of `depth` right tiles, each
  /// row or column `next` tiles after the one before.
  void multiply(TileNumbers numbers, const MatrixTile* left, int64_t leftNext, const MatrixTile* right, int64_t rightNext, int64_t depth,
                float* sums, int64_t stride, bool isAdded) const;

  /// sums[s] [16, 16] = the products of bytes l and r of a row of left tiles and a column of right ones with l + r = s: the product of the
  /// whole numbers is sum_s 2^(8 s) sums[s]. Exact; depth <= 128.
  using ByteSums = std::array<std::array<std::array<int32_t, 16>, 16>, 2 * ByteTile::kBytes - 1>;
  void multiply(const ByteTile* left, const ByteTile* right, int64_t depth, ByteSums& sums) const;
};

}  // namespace headscope::core
