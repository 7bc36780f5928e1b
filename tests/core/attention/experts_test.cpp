// Which experts a token goes to: by hand on small scores.
#include <gtest/gtest.h>

#include <cmath>

#include "core/attention/forward_parts.h"

using namespace headscope::core;

namespace {

Matrix rowOf(std::initializer_list<float> values) {
  Matrix m(1, static_cast<int64_t>(values.size()));
  std::copy(values.begin(), values.end(), m.data());
  return m;
}

std::vector<int32_t> chosen(const std::vector<ExpertRoute>& routes) {
  std::vector<int32_t> experts;
  for (size_t e = 0; e < routes.size(); ++e) {
    if (!routes[e].tokens.empty()) experts.push_back(static_cast<int32_t>(e));
  }
  return experts;
}

MoeSpec specOf(MoeSpec::Scoring scoring) {
  MoeSpec spec;
  spec.experts = 4;
  spec.expertsPerToken = 2;
  spec.scoring = scoring;
  return spec;
}

}  // namespace

TEST(Experts, softmaxTakesTheLargest) {
  MoeSpec spec = specOf(MoeSpec::Scoring::Softmax);
  const auto routes = routeTokens(spec, {}, rowOf({1, 3, 2, 0}));
  EXPECT_EQ(chosen(routes), (std::vector<int32_t>{1, 2}));
  const double sum = std::exp(1) + std::exp(3) + std::exp(2) + 1;
  EXPECT_NEAR(routes[1].weights[0], std::exp(3) / sum, 1e-6);
  spec.isNormalised = true;
  spec.scale = 2.0;
  EXPECT_NEAR(routeTokens(spec, {}, rowOf({1, 3, 2, 0}))[1].weights[0], 2 * std::exp(3) / (std::exp(3) + std::exp(2)), 1e-6);
}

TEST(Experts, correctionBiasChoosesButDoesNotWeigh) {
  const MoeSpec spec = specOf(MoeSpec::Scoring::Sigmoid);
  const auto routes = routeTokens(spec, {0, 0, 0, 5}, rowOf({1, 3, 2, 0}));
  EXPECT_EQ(chosen(routes), (std::vector<int32_t>{1, 3}));
  EXPECT_NEAR(routes[3].weights[0], 0.5, 1e-6);
}

TEST(Experts, groupsLimitTheChoice) {
  MoeSpec spec = specOf(MoeSpec::Scoring::Softmax);
  spec.groups = 2;
  spec.groupsPerToken = 1;
  spec.groupScore = MoeSpec::GroupScore::Max;
  EXPECT_EQ(chosen(routeTokens(spec, {}, rowOf({1, 3, 2.9f, 2.8f}))), (std::vector<int32_t>{0, 1}));
  spec.groupScore = MoeSpec::GroupScore::SumOfTopTwo;
  EXPECT_EQ(chosen(routeTokens(spec, {}, rowOf({1, 3, 2.9f, 2.8f}))), (std::vector<int32_t>{2, 3}));
}

TEST(Experts, tiesGoToTheSmallerIndexAndNanDoesNotHarm) {
  const MoeSpec spec = specOf(MoeSpec::Scoring::Softmax);
  EXPECT_EQ(chosen(routeTokens(spec, {}, rowOf({1, 1, 1, 1}))), (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(chosen(routeTokens(spec, {}, rowOf({1, NAN, 1, 1}))).size(), 2u);
}
