// The arithmetic of the kernels, on the host, against plain double loops and the core's own decoding.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "gpu/arithmetic/bf16_terms.h"
#include "gpu/arithmetic/decode.h"
#include "gpu/arithmetic/jacobi.h"
#include "gpu/arithmetic/map_cells.h"
#include "gpu/arithmetic/online_softmax.h"
#include "gpu/arithmetic/rotary.h"

using namespace headscope::gpu;

namespace {

double halfByFormula(unsigned bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  const double sign = bits & 0x8000 ? -1 : 1;
  return exponent == 0 ? sign * std::ldexp(mantissa, -24) : sign * std::ldexp(1024 + mantissa, exponent - 25);
}

double e4m3ByFormula(unsigned bits) {
  const int exponent = (bits >> 3) & 15, mantissa = bits & 7;
  const double sign = bits & 0x80 ? -1 : 1;
  return exponent == 0 ? sign * std::ldexp(mantissa, -9) : sign * std::ldexp(8 + mantissa, exponent - 10);
}

}  // namespace

TEST(GpuDecode, everyHalf) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    if (((bits >> 10) & 31) == 31) continue;
    EXPECT_EQ(decodeF16(static_cast<uint16_t>(bits)), halfByFormula(bits)) << bits;
  }
  EXPECT_TRUE(std::isinf(decodeF16(0x7C00)));
  EXPECT_TRUE(std::isnan(decodeF16(0x7C01)));
}

TEST(GpuDecode, everyE4M3) {
  for (unsigned bits = 0; bits < 256; ++bits) {
    if ((bits & 0x7F) == 0x7F) {
      EXPECT_TRUE(std::isnan(decodeE4M3(static_cast<uint8_t>(bits))));
    } else {
      EXPECT_EQ(decodeE4M3(static_cast<uint8_t>(bits)), e4m3ByFormula(bits)) << bits;
    }
  }
}

TEST(GpuBf16Terms, sumToTheNumber) {
  std::mt19937 random(5);
  const auto expectTerms = [](float value) {
    const Bf16Terms terms = bf16Terms(value);
    double sum = 0;
    for (const uint16_t t : terms.term) {
      const float part = decodeBf16(t);
      EXPECT_TRUE(part == 0 || std::signbit(part) == std::signbit(value)) << value;
      EXPECT_LE(std::abs(part), std::abs(value));  // no sum of terms can overflow where the number doesn't
      sum += std::abs(part) < std::ldexp(1.0, -126) ? 0.0 : static_cast<double>(part);  // as a card that has no subnormals takes it
    }
    if (value == 0 || std::abs(value) >= std::ldexp(1.0f, -103)) {
      EXPECT_EQ(sum, static_cast<double>(value));
    } else {
      EXPECT_LE(std::abs(sum - static_cast<double>(value)), std::ldexp(1.0, -126)) << value;
    }
  };
  for (uint32_t exponent = 0; exponent < 255; ++exponent) {
    for (int i = 0; i < 300; ++i) {
      // Mantissas of all kinds: random, few ones at the end, all ones
      const uint32_t mantissa = i == 0 ? 0 : i == 1 ? 0x7FFFFF : (random() & 0x7FFFFF) >> (i % 3 == 0 ? random() % 23 : 0);
      for (const uint32_t sign : {0u, 0x80000000u}) expectTerms(floatFromBits(sign | exponent << 23 | mantissa));
    }
  }
  expectTerms(std::numeric_limits<float>::max()), expectTerms(std::numeric_limits<float>::lowest()), expectTerms(-0.0f);
}

TEST(GpuBf16Terms, whatIsNotFiniteStaysInTheFirst) {
  for (const float value : {INFINITY, -INFINITY}) {
    const Bf16Terms terms = bf16Terms(value);
    EXPECT_EQ(decodeBf16(terms.term[0]), value);
    EXPECT_EQ(terms.term[1] | terms.term[2], 0);
  }
  for (const uint32_t bits : {0x7F800001u, 0xFFC00000u, 0x7FFFFFFFu}) {  // the first would be infinite if it were cut off
    const Bf16Terms terms = bf16Terms(floatFromBits(bits));
    EXPECT_TRUE(std::isnan(decodeBf16(terms.term[0])));
    EXPECT_EQ(terms.term[1] | terms.term[2], 0);
  }
}

TEST(GpuBf16Terms, exactScalesLeaveFloat8ExactInBf16) {
  for (const float scale : {1.0f, 0.25f, 1024.0f, std::ldexp(1.0f, -100), std::ldexp(1.0f, 100)}) {
    EXPECT_TRUE(isExactScale(scale));
    for (unsigned bits = 0; bits < 256; ++bits) {
      const float value = decodeE4M3(static_cast<uint8_t>(bits)) * scale;
      if (!std::isnan(value)) {
        EXPECT_EQ(decodeBf16(encodeBf16(value)), value);
      }
    }
  }
  for (const float scale : {0.0f, 0.3f, 1.5f, std::ldexp(1.0f, 101), std::ldexp(1.0f, -101), INFINITY, std::nanf("")})
    EXPECT_FALSE(isExactScale(scale));
}

TEST(GpuDecode, bf16RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0xFFFF0000u; bits += 9973) {
    float value = 0;
    std::memcpy(&value, &bits, 4);
    const uint16_t got = encodeBf16(value);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(decodeBf16(got)));
      continue;
    }
    // Of the two neighbours the nearer one; on a tie the even one
    const auto below = static_cast<uint16_t>(bits >> 16);
    const auto above = static_cast<uint16_t>(below + 1);
    const uint32_t rest = bits & 0xFFFF;
    const uint16_t expected = rest < 0x8000 ? below : rest > 0x8000 ? above : (below & 1) != 0 ? above : below;
    EXPECT_EQ(got, expected) << bits;
  }
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = decodeBf16(static_cast<uint16_t>(bits));
    if (!std::isnan(value)) {
      EXPECT_EQ(encodeBf16(value), bits);
    }
  }
}

TEST(GpuRotary, turnsAsTheReferenceDoes) {
  for (long long position : {0LL, 1LL, 77LL, 131071LL, -40LL}) {
    for (float frequency : {1.0f, 0.31f, 1e-4f}) {
      const double angle = static_cast<float>(position) * frequency;
      const Turn turn = turnAt(position, frequency, 1.25, false), back = turnAt(position, frequency, 1.25, true);
      EXPECT_FLOAT_EQ(turn.cosine, static_cast<float>(std::cos(angle) * 1.25));
      EXPECT_FLOAT_EQ(turn.sine, static_cast<float>(std::sin(angle) * 1.25));
      EXPECT_NEAR(turn.cosine * back.cosine - turn.sine * back.sine, 1.0, 1e-6);
      EXPECT_NEAR(turn.cosine * back.sine + turn.sine * back.cosine, 0.0, 1e-6);
    }
  }
}

TEST(GpuMapCells, blocksCoverATileOnceAndHoldWholeCells) {
  for (long long count : {1, 7, 100, 1030}) {
    for (long long level = 0; (1LL << level) < 2 * count; ++level) {
      const long long side = 1LL << level, cells = (count + side - 1) / side;
      long long sum = 0;
      for (long long c = 0; c < cells; ++c) sum += cellExtent(c, level, count);
      EXPECT_EQ(sum, count);
      for (long long most : {4LL, 1024LL}) {
        const long long step = rowsAtOnce(most, count, 5000);
        EXPECT_EQ(step & (step - 1), 0);
        EXPECT_LE(step, most);
        EXPECT_TRUE(step == 1 || step * count <= 5000);
        EXPECT_TRUE(step % side == 0 || side % step == 0);
      }
      for (long long seenFirst : {0LL, count / 3, count - 1}) {
        for (long long tileFirst : {0LL, cells / 2 * side}) {
          const KeyRange range = tileKeys(tileFirst, count, seenFirst, count / 2 + 1, level);
          if (range.begin == range.end) {
            EXPECT_GE(std::max(tileFirst, seenFirst / side * side), count / 2 + 1);
            continue;
          }
          EXPECT_EQ((range.begin - tileFirst) % side, 0);
          EXPECT_LE(range.begin, std::max(seenFirst, tileFirst));
          EXPECT_EQ(range.end, std::min(count, count / 2 + 1));
        }
      }
    }
  }
}

TEST(GpuSoftmax, rowMatchesTheDefinitionInTwoHalves) {
  std::mt19937 random(7);
  for (int n : {1, 2, 3, 17, 100}) {
    std::normal_distribution<float> normal(0, 6);
    std::vector<float> scores(n);
    for (float& s : scores) s = normal(random);
    SoftmaxRow left, right;
    for (int j = 0; j < n; ++j) addScore(j < n / 3 ? left : right, scores[j], static_cast<float>(n - 1 - j));
    const SoftmaxRow row = merged(left, right);
    double top = -INFINITY, sum = 0, entropy = 0, distance = 0;
    for (float s : scores) top = std::max<double>(top, s);
    for (float s : scores) sum += std::exp(s - top);
    for (int j = 0; j < n; ++j) {
      const double p = std::exp(scores[j] - top) / sum;
      if (p > 0) entropy -= p * std::log2(p);
      distance += p * (n - 1 - j);
    }
    EXPECT_NEAR(logSumExpOf(row), top + std::log(sum), 2e-6 * std::max(1.0, std::abs(top)));
    EXPECT_NEAR(entropyBitsOf(row), entropy, 1e-5);
    EXPECT_NEAR(distanceOf(row), distance, 1e-4);
  }
}

TEST(GpuSoftmax, hiddenRowIsEmpty) {
  const SoftmaxRow row = merged(SoftmaxRow{}, SoftmaxRow{});
  EXPECT_EQ(row.sum, 0);
  EXPECT_EQ(entropyBitsOf(row), 0);
  EXPECT_EQ(logSumExpOf(row), -INFINITY);
}

TEST(GpuSoftmax, spansAgreeWithVisibility) {
  for (bool isCausal : {true, false}) {
    for (long long window : {0, 1, 3, 50}) {
      for (long long i = 0; i < 20; ++i) {
        const KeySpan span = visibleKeys(i, 20, isCausal, window);
        for (long long j = 0; j < 20; ++j) EXPECT_EQ(isVisible(i, j, isCausal, window), j >= span.begin && j < span.end) << i << " " << j;
      }
    }
  }
}

TEST(GpuJacobi, tournamentMeetsEveryPairOnce) {
  for (int n : {2, 4, 8, 34}) {
    std::set<std::pair<int, int>> met;
    for (int round = 0; round < n - 1; ++round) {
      std::set<int> used;
      for (int lane = 0; lane < n / 2; ++lane) {
        const RowPair pair = tournamentPair(n, round, lane);
        EXPECT_LT(pair.p, pair.q);
        EXPECT_TRUE(used.insert(pair.p).second && used.insert(pair.q).second);
        EXPECT_TRUE(met.insert({pair.p, pair.q}).second);
      }
    }
    EXPECT_EQ(met.size(), static_cast<size_t>(n * (n - 1) / 2));
  }
}
