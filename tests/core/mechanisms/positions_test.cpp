// Positions and what-ifs that exchange Q, K or V.
#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/mechanisms/head_errors.h"
#include "core/mechanisms/positions.h"
#include "core/mechanisms/registry.h"
#include "core/mechanisms/rotation.h"
#include "tests/core/mechanisms/head_fixture.h"

namespace headscope::tests {
namespace {

using namespace core;

RopeSpec ropeOf(int64_t dims, bool isInterleaved, double base = 10000.0) {
  RopeSpec rope;
  rope.dims = dims;
  rope.isInterleaved = isInterleaved;
  rope.magnitude = 1.2;
  for (int64_t i = 0; i < dims / 2; ++i)
    rope.frequencies.push_back(std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dims)));
  return rope;
}

TEST(Positions, rotationComesOffExactly) {
  for (const bool isInterleaved : {false, true}) {
    const RandomHead head(300, 10, 4);
    const RopeSpec rope = ropeOf(6, isInterleaved);
    const Matrix turned = rotated(head.query, rope, 3), back = unrotated(turned, rope, 3);
    for (int64_t i = 0; i < back.size(); ++i) ASSERT_NEAR(back.data()[i], head.query.data()[i], 3e-6);
    for (int64_t r = 0; r < 300; ++r) {
      for (const int64_t c : {0, 2, 9}) EXPECT_EQ(turned(r, c), head.query(r, c));
    }
    RandomHead placed(300, 10, 4);
    const Matrix q = rotated(head.query, rope, 3), k = rotated(head.key, rope, 3);
    placed.input.query = q;
    placed.input.key = k;
    placed.input.rope = &rope;
    placed.input.ropeFirst = 3;
    Job job;
    const Matrix a = wholeMap(*parseMechanism("nope")->bind(placed.input, job), 300, job);
    const Matrix b = wholeMap(*parseMechanism("causal")->bind(head.input, job), 300, job);
    for (int64_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a.data()[i], b.data()[i], 2e-5);
    const Matrix same = wholeMap(*parseMechanism("rope")->bind(placed.input, job), 300, job);  // the model's own frequencies
    const Matrix own = wholeMap(*parseMechanism("causal")->bind(placed.input, job), 300, job);
    for (int64_t i = 0; i < a.size(); ++i) ASSERT_NEAR(same.data()[i], own.data()[i], 2e-5);
  }
}

TEST(Positions, alibiSlopesFollowThePaper) {
  EXPECT_DOUBLE_EQ(alibiSlope(0, 8), 0.5);
  EXPECT_DOUBLE_EQ(alibiSlope(7, 8), std::pow(2, -8));
  EXPECT_DOUBLE_EQ(alibiSlope(0, 16), std::pow(2, -0.5));
  EXPECT_DOUBLE_EQ(alibiSlope(7, 12), std::pow(2, -8));    // the 8 slopes of 8 heads,
  EXPECT_DOUBLE_EQ(alibiSlope(8, 12), std::pow(2, -0.5));  // then the 1st, 3rd, ... of 16
  EXPECT_DOUBLE_EQ(alibiSlope(9, 12), std::pow(2, -1.5));
  RandomHead head(50, 4, 4);
  head.input.head = 2;
  head.input.heads = 12;
  Job job;
  expectMap("alibi", head.input, *parseMechanism("alibi")->bind(head.input, job),
            naiveMap(
                head.input, [](int64_t i, int64_t j) { return j <= i; },
                [](int64_t i, int64_t j) { return -std::pow(2, -3) * static_cast<double>(i - j); }));
}

TEST(WhatIfs, sharedReusedAndOff) {
  RandomHead head(40, 6, 6), other(40, 6, 6, 1.5, true, 8);
  const RopeSpec rope = ropeOf(6, false);
  Job job;
  head.input.rope = &rope;
  const Matrix key = rotated(head.value, rope, 0);
  HeadInput shared = head.input;
  shared.key = key;
  expectMap("shared_kv", head.input, *parseMechanism("shared_kv")->bind(head.input, job),
            naiveMap(shared, [](int64_t i, int64_t j) { return j <= i; }));
  const RandomHead narrow(10, 6, 4);
  EXPECT_THROW(parseMechanism("shared_kv")->bind(narrow.input, job), Error);

  EXPECT_THROW(parseMechanism("reuse")->bind(head.input, job), Error);  // layer 0
  head.input.layer = 3;
  EXPECT_THROW(parseMechanism("reuse:from=3")->bind(head.input, job), Error);
  EXPECT_THROW(parseMechanism("reuse:from=1")->bind(head.input, job), Error);  // not at hand
  int64_t asked = -1;
  head.input.keyValueOf = [&](int64_t layer) {
    asked = layer;
    return KeyValue{other.key, other.value};
  };
  HeadInput reused = head.input;
  reused.key = other.key;
  const auto run = parseMechanism("reuse")->bind(head.input, job);
  EXPECT_EQ(asked, 2);
  const std::vector<double> map = naiveMap(reused, [](int64_t i, int64_t j) { return j <= i; });
  EXPECT_LE(relativeError(wholeOutput(*run, 40, 6, job), naiveOutput(map, other.value)), 2e-5);

  const auto off = parseMechanism("off")->bind(head.input, job);
  const Matrix out = wholeOutput(*off, 40, 6, job);
  for (int64_t i = 0; i < out.size(); ++i) EXPECT_EQ(out.data()[i], 0.0f);
  const HeadRun* runs[] = {off.get()};
  EXPECT_NEAR(headErrors(head.input, runs, head.output, {}, job)[0].output, 1.0, 1e-6);
}

TEST(Cope, withoutATableGivesGatesAndNoOutput) {
  const RandomHead head(20, 4, 4);
  Job job;
  const auto run = parseMechanism("cope")->bind(head.input, job);
  Matrix out(20, 4);
  EXPECT_THROW(run->output(out.view(), job), Error);
  EXPECT_THROW(run->mapRows(0, 20, Matrix(20, 20).view(), job), Error);
  const RandomHead both(20, 4, 4, 1.5, false);
  EXPECT_THROW(parseMechanism("cope")->bind(both.input, job), Error);
}

}  // namespace
}  // namespace headscope::tests
