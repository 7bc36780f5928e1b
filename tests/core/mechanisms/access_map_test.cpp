// Access to values over heads and prompts, prompts of a file, and the plane of keys.
#include <gtest/gtest.h>

#include <unistd.h>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "core/attention/forward.h"
#include "core/base/error.h"
#include "core/mechanisms/access_map.h"
#include "core/mechanisms/key_projection.h"
#include "core/mechanisms/layer_heads.h"
#include "tests/core/mechanisms/head_fixture.h"
#include "tests/support/folders.h"

namespace headscope::tests {
namespace {

using namespace core;

TEST(AccessMap, poolsRowsOfHeadsAndPrompts) {
  const auto path = std::filesystem::temp_directory_path() / ("headscope_prompts_" + std::to_string(::getpid()) + ".txt");
  std::ofstream(path) << "The wolf said to the girl.\n\n   \nOnce upon a time there was a king, and the king had a daughter.\r\n";
  const auto model = Model::open(tests::sourceFolder() / "assets/tales");
  Job job;
  const auto prompts = promptsOfFile(*model, path, 64, job);
  ASSERT_EQ(prompts.size(), 2u);
  EXPECT_EQ(promptsOfFile(*model, path, 1, job).size(), 1u);
  EXPECT_EQ(promptOfFile(*model, path, 5, job)->count(), 5);
  const std::vector<double> shares{0.5, 0.9};
  AccessMap map(shares);
  std::vector<double> sum(shares.size(), 0.0), means[2];
  int64_t rows = 0, worst = 0;
  for (size_t p = 0; p < 2; ++p) {
    const auto trace = runForward(model, prompts[p], openBackend("cpu"), {}, job);
    map.add(trace, job);
    const LayerHeads layer(trace, 1, job);
    const ValueAccess access = valueAccess(layer.input(2), layer.outputWeight(2), shares, job);
    double mine = 0;
    for (const int32_t needed : access.plain[1]) {
      mine += needed;
      worst = std::max<int64_t>(worst, needed);
    }
    sum[1] += mine;
    rows += trace->count();
    means[p].push_back(mine / static_cast<double>(trace->count()));
  }
  EXPECT_EQ(map.prompts, 2);
  EXPECT_EQ(map.tokens, rows);
  const AccessMap::Head& head = map.at({1, 2});
  EXPECT_NEAR(head.plain[1].mean, sum[1] / static_cast<double>(rows), 1e-9);
  EXPECT_EQ(head.plain[1].worst, worst);
  EXPECT_NEAR(head.leastPrompt[1], std::min(means[0][0], means[1][0]), 1e-9);
  EXPECT_NEAR(head.mostPrompt[1], std::max(means[0][0], means[1][0]), 1e-9);
  double all = 0;
  for (int64_t h = 0; h < map.heads; ++h) all += map.at({1, h}).plain[1].mean / static_cast<double>(map.heads);
  EXPECT_NEAR(map.layer[1].plain[1].mean, all, 1e-9);
  EXPECT_EQ(map.layer[1].plain[1].rows, rows * map.heads);
  EXPECT_GT(head.sink, 0);
  EXPECT_LT(head.sink, 1);
  std::ofstream(path) << " \n\n";
  EXPECT_THROW(promptsOfFile(*model, path, 64, job), Error);
  EXPECT_THROW(promptOfFile(*model, path, 0, job), Error);
  std::filesystem::remove(path);
  EXPECT_THROW(promptsOfFile(*model, path, 64, job), Error);
}

TEST(KeyProjection, findsTheLongAxes) {
  Random random(1);
  Matrix keys(200, 5);
  for (int64_t i = 0; i < 200; ++i) {
    const double a = 10 * random.normal(), b = 3 * random.normal();
    for (int64_t c = 0; c < 5; ++c) keys(i, c) = static_cast<float>(7.0 + 0.01 * random.normal());
    keys(i, 1) += static_cast<float>(a);
    keys(i, 4) += static_cast<float>(b);
  }
  const KeyProjection plane = projectKeys(keys, keys.view().rowsFrom(0, 3));
  EXPECT_NEAR(plane.explained[0] + plane.explained[1], 1, 1e-4);
  EXPECT_GT(plane.explained[0], 0.85);
  double mean[2] = {0, 0};
  for (int64_t i = 0; i < 200; ++i) {
    for (int a = 0; a < 2; ++a) mean[a] += static_cast<double>(plane.keys(i, a)) / 200;
  }
  EXPECT_NEAR(mean[0], 0, 1e-4);
  for (int64_t i = 0; i < 200; ++i) EXPECT_NEAR(std::abs(plane.keys(i, 0) - plane.keys(0, 0)), std::abs(keys(i, 1) - keys(0, 1)), 1.5);
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(plane.centres(i, 1), plane.keys(i, 1));
  Matrix narrow(3, 1);
  for (int64_t i = 0; i < 3; ++i) narrow(i, 0) = static_cast<float>(i);
  const KeyProjection flat = projectKeys(narrow, narrow);
  EXPECT_EQ(flat.keys(2, 1), 0.0f);
}

TEST(AccessMap, centresMayBeFittedOnAnotherText) {
  const auto model = Model::open(tests::sourceFolder() / "assets/tales");
  Job job;
  const auto traceOf = [&](int step) {
    Prompt prompt;
    for (int i = 0; i < 30; ++i) {
      Token token;
      token.id = 5 + (i * step) % 60;
      prompt.tokens.push_back(token);
    }
    return runForward(model, std::make_shared<Prompt>(std::move(prompt)), openBackend("cpu"), {}, job);
  };
  const auto here = traceOf(7), there = traceOf(11);
  const LayerHeads alone(here, 1, job), fitted(here, 1, job, there);
  EXPECT_EQ(alone.input(3).fitKey.rows, 0);
  EXPECT_EQ(fitted.input(3).fitKey.data, there->key(1, there->rule(1).kvHeadOf(3)).data);
}

}  // namespace
}  // namespace headscope::tests
