// Views against plain indexing of the stored tensor, for every layout, dtype and block size that families use.
#include "core/checkpoint/weight_view.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace headscope::core {
namespace {

struct Stored {
  std::vector<std::byte> bytes;
  std::vector<float> scales;
  WeightView view;

  double at(int64_t row, int64_t col) const {
    const int64_t index = row * view.storedCols + col;
    const double value = decodeOne(view.dtype, bytes.data() + index * static_cast<int64_t>(sizeOf(view.dtype)));
    if (scales.empty()) return value;
    return static_cast<float>(value) * scales[static_cast<size_t>((row / view.blockRows) * view.scaleCols + col / view.blockCols)];
  }
};

Stored make(DType type, int64_t rows, int64_t cols, bool isInByOut, int64_t block) {
  std::mt19937 random(static_cast<unsigned>(rows * 1000 + cols));
  Stored stored;
  stored.bytes.resize(static_cast<size_t>(rows * cols) * sizeOf(type));
  for (std::byte& b : stored.bytes) b = static_cast<std::byte>(random() & 0x3F);  // small exponents: no NaN, no infinity
  stored.view.data = stored.bytes.data();
  stored.view.dtype = type;
  stored.view.storedRows = rows;
  stored.view.storedCols = cols;
  stored.view.isInByOut = isInByOut;
  stored.view.outGroupSize = stored.view.outGroupStride = isInByOut ? cols : rows;
  stored.view.inCount = isInByOut ? rows : cols;
  if (block > 0) {
    stored.view.blockRows = block;
    stored.view.blockCols = block + 1;
    stored.view.scaleCols = (cols + block) / (block + 1);
    for (int64_t i = 0; i < ((rows + block - 1) / block) * stored.view.scaleCols; ++i) {
      stored.scales.push_back(0.5f + static_cast<float>(random() % 1000) / 500.0f);
    }
    stored.view.scales = reinterpret_cast<const std::byte*>(stored.scales.data());
  }
  return stored;
}

/// The view's element [output, input] by plain indexing.
double naive(const Stored& stored, const WeightView& view, int64_t output, int64_t input) {
  const int64_t o = view.outFirst + (output / view.outGroupSize) * view.outGroupStride + output % view.outGroupSize,
                i = view.inFirst + input;
  return view.isInByOut ? stored.at(i, o) : stored.at(o, i);
}

void expectDecodes(const Stored& stored, const WeightView& view) {
  const Matrix whole = view.decode();
  ASSERT_EQ(whole.rows(), view.outputs());
  ASSERT_EQ(whole.cols(), view.inputs());
  for (int64_t r = 0; r < whole.rows(); ++r) {
    for (int64_t c = 0; c < whole.cols(); ++c) ASSERT_EQ(whole(r, c), static_cast<float>(naive(stored, view, r, c))) << r << "," << c;
  }
  if (view.outputs() < 3 || view.inputs() < 3) return;
  const int64_t stride = view.inputs() + 5, rows = view.outputs() - 2, cols = view.inputs() - 2;
  std::vector<float> part(static_cast<size_t>(rows * stride), -1.0f);
  view.decodeTile(1, rows, 2, cols, part.data(), stride);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) ASSERT_EQ(part[static_cast<size_t>(r * stride + c)], whole(r + 1, c + 2));
    ASSERT_EQ(part[static_cast<size_t>(r * stride + cols)], -1.0f);
  }
}

class Layouts : public testing::TestWithParam<std::tuple<DType, bool, int64_t>> {};

TEST_P(Layouts, decodeLikePlainIndexing) {
  const auto [type, isInByOut, block] = GetParam();
  const int64_t heads = 3, k = 11, d = 71;
  const Stored stored = make(type, isInByOut ? d : 3 * heads * k, isInByOut ? 3 * heads * k : d, isInByOut, block);
  const WeightView& view = stored.view;
  expectDecodes(stored, view);
  for (int64_t third = 0; third < 3; ++third) {
    const WeightView part = view.outputsFrom(third * heads * k, heads * k);  // thirds side by side
    expectDecodes(stored, part);
    expectDecodes(stored, part.outputsFrom(k, k));
    const WeightView mixed = view.inGroups(heads).withinGroups(third * k, k);  // ordered by head
    expectDecodes(stored, mixed);
    expectDecodes(stored, mixed.outputsFrom(k, 2 * k));
    expectDecodes(stored, mixed.outputsFrom(k + 2, 5).inputsFrom(7, 33));
  }
  expectDecodes(stored, view.inputsFrom(64, 7));
  EXPECT_EQ(view.outputsFrom(4, 0).decode().size(), 0);
}

INSTANTIATE_TEST_SUITE_P(All, Layouts,
                         testing::Combine(testing::Values(DType::F32, DType::F16, DType::BF16, DType::F8_E4M3, DType::F64), testing::Bool(),
                                          testing::Values(0, 8, 128)));

TEST(WeightView, inPlaceIsTheStoredMatrix) {
  const Stored stored = make(DType::F32, 12, 10, false, 0);
  const WeightView part = stored.view.outputsFrom(3, 6).inputsFrom(2, 5);
  ASSERT_TRUE(part.isInPlace());
  const Matrix decoded = part.decode();
  for (int64_t r = 0; r < 6; ++r) {
    for (int64_t c = 0; c < 5; ++c) EXPECT_EQ(part.inPlace()(r, c), decoded(r, c));
  }
  EXPECT_FALSE(stored.view.inGroups(3).withinGroups(1, 2).isInPlace());
  EXPECT_FALSE(make(DType::F16, 12, 10, false, 0).view.isInPlace());
  EXPECT_FALSE(make(DType::F32, 12, 10, true, 0).view.isInPlace());
}

}  // namespace
}  // namespace headscope::core
