// The CPU's memory for tensors: large blocks come back for the next of their size, and no more is kept than is said.
#include "core/backend/cpu/host_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace headscope::core::cpu {
namespace {

constexpr size_t kMega = size_t{1} << 20;

TEST(HostMemory, keepsALargeBlockForTheNextOfItsSize) {
  HostMemory memory;
  float* first = memory.take(6 * kMega);
  first[0] = 1.0f;
  memory.give(first, 6 * kMega);
  EXPECT_EQ(memory.keptBytes(), 6 * kMega);
  float* other = memory.take(4 * kMega);
  EXPECT_NE(other, first);
  EXPECT_EQ(memory.take(6 * kMega), first);
  EXPECT_EQ(memory.keptBytes(), 0u);
  memory.give(first, 6 * kMega);
  memory.give(other, 4 * kMega);
}

TEST(HostMemory, blocksAreAlignedAndWholeToTheLastFloat) {
  HostMemory memory;
  for (const size_t floats : {size_t{1}, size_t{17}, kMega / 4 - 1, kMega / 2 + 1, 400 * kMega / 1000, kMega + 3}) {
    float* block = memory.take(floats * sizeof(float));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % 64, 0u) << floats;
    for (size_t i = 0; i < floats; ++i) block[i] = static_cast<float>(i);
    EXPECT_EQ(block[floats - 1], static_cast<float>(floats - 1));
    memory.give(block, floats * sizeof(float));
  }
}

TEST(HostMemory, smallBlocksAreNotKept) {
  HostMemory memory;
  memory.give(memory.take(1000), 1000);
  EXPECT_EQ(memory.keptBytes(), 0u);
  EXPECT_EQ(memory.take(0), nullptr);
  memory.give(nullptr, 0);
}

TEST(HostMemory, otherSizesMakeRoomAndTheLimitHolds) {
  HostMemory memory;
  std::vector<float*> blocks;
  for (size_t i = 0; i < 5; ++i) blocks.push_back(memory.take(40 * kMega));
  for (float* block : blocks) memory.give(block, 40 * kMega);
  EXPECT_EQ(memory.keptBytes(), 120 * kMega);  // three of five
  memory.give(memory.take(64 * kMega), 64 * kMega);
  EXPECT_EQ(memory.keptBytes(), 104 * kMega);  // of the earlier size, two went
  memory.give(memory.take(200 * kMega), 200 * kMega);
  EXPECT_EQ(memory.keptBytes(), 104 * kMega);
}

}  // namespace
}  // namespace headscope::core::cpu
