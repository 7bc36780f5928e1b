// What is said of drivers and cards that can't be used.
#include "gpu/arithmetic/fitness.h"

#include <gtest/gtest.h>

using namespace headscope::gpu;

TEST(GpuFitness, everyReasonInWords) {
  EXPECT_EQ(unfitDriver({0, 0, false, ""}), "no CUDA driver found");
  EXPECT_EQ(unfitDriver({11080, 1, false, ""}), "the CUDA driver is for 11.8, 12.4 or newer is needed");
  EXPECT_EQ(unfitDriver({12030, 0, false, "whatever"}), "the CUDA driver is for 12.3, 12.4 or newer is needed");
  EXPECT_EQ(unfitDriver({12040, 0, true, "no CUDA-capable device is detected"}), "no CUDA device found");
  EXPECT_EQ(unfitDriver({13000, 0, false, ""}), "no CUDA device found");
  EXPECT_EQ(unfitDriver({13000, 0, false, "system not yet initialized"}), "CUDA can't start: system not yet initialized");
  EXPECT_EQ(unfitDriver({13000, 2, false, ""}), "");
  EXPECT_EQ(unfitCard("Tesla V100", 7, 0), "Tesla V100 has compute capability 7.0, 8.0 or newer is needed");
  EXPECT_EQ(unfitCard("A100", 8, 0), "");
  EXPECT_EQ(unfitCard("B200", 10, 0), "");
}

TEST(GpuFitness, splitProductsAreForCardsThatCompute) {
  for (const auto& [major, minor] : {std::pair{8, 0}, {9, 0}, {10, 0}, {10, 3}}) EXPECT_TRUE(paysToSplit(major, minor)) << major << minor;
  for (const auto& [major, minor] : {std::pair{8, 6}, {8, 7}, {8, 9}, {12, 0}}) EXPECT_FALSE(paysToSplit(major, minor)) << major << minor;
}
