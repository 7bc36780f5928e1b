// Whole models under other mechanisms, and the cheapest mask per head: on the bundled model, against losses counted here.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/attention/attention_map.h"
#include "core/attention/forward.h"
#include "core/attention/head_scores.h"
#include "core/base/error.h"
#include "core/mechanisms/budget.h"
#include "core/mechanisms/layer_heads.h"
#include "core/mechanisms/registry.h"
#include "core/mechanisms/replace.h"
#include "tests/support/folders.h"
#include "tests/support/golden.h"

namespace headscope::tests {
namespace {

using namespace core;

class Replaced : public testing::Test {
 protected:
  void SetUp() override {
    model = Model::open(tests::sourceFolder() / "assets/tales");
    Prompt made;
    for (int i = 0; i < 33; ++i) {
      Token token;
      token.id = 5 + (i * 7) % 60;
      made.tokens.push_back(token);
    }
    prompt = std::make_shared<Prompt>(std::move(made));
    backend = openBackend("cpu");
    trace = runForward(model, prompt, backend, {}, job);
  }

  std::vector<HeadRef> heads(int64_t first, int64_t end) const {
    std::vector<HeadRef> out;
    for (int64_t l = first; l < end; ++l) {
      for (int64_t h = 0; h < model->spec().heads; ++h) out.push_back({l, h});
    }
    return out;
  }
  std::shared_ptr<const Trace> under(const char* word, const std::vector<HeadRef>& which) {
    return runForward(model, prompt, backend, replacementFor(model, which, parseMechanism(word)), job);
  }
  /// Mean next-token loss in nats, summed in double.
  double loss(const Trace& of) {
    const Matrix logits = of.logits(0, of.logitRows(), job);
    double sum = 0;
    for (int64_t r = 0; r + 1 < logits.rows(); ++r) {
      double total = 0;
      for (int64_t c = 0; c < logits.cols(); ++c) total += std::exp(static_cast<double>(logits(r, c)));
      sum += std::log(total) - static_cast<double>(logits(r, prompt->tokens[static_cast<size_t>(r + 1)].id));
    }
    return sum / static_cast<double>(logits.rows() - 1);
  }

  Job job;
  std::shared_ptr<const Model> model;
  std::shared_ptr<const Prompt> prompt;
  std::shared_ptr<Backend> backend;
  std::shared_ptr<const Trace> trace;
};

TEST_F(Replaced, byItselfChangesNothing) {
  for (const char* word : {"dense", "local:window=100000", "topk:k=500", "topp:p=1", "clustered:clusters=3,visit=3"}) {
    const ModelChange change = compareOutputs(*trace, *under(word, heads(0, model->spec().layers)), job);
    EXPECT_NEAR(change.loss, change.lossBefore, 1e-4) << word;
    EXPECT_NEAR(change.kl, 0, 1e-5) << word;
    EXPECT_EQ(change.topTenChange, 0) << word;
    EXPECT_EQ(change.topOneChange, 0) << word;
  }
}

TEST_F(Replaced, lossesAreThoseOfTheLogits) {
  EXPECT_NEAR(loss(*trace), compareOutputs(*trace, *trace, job).loss, 1e-5);
  double last = 0;
  for (const char* word : {"local:window=8", "local:window=1", "off"}) {
    const auto changed = under(word, heads(0, model->spec().layers));
    const ModelChange change = compareOutputs(*trace, *changed, job);
    EXPECT_NEAR(change.lossBefore, loss(*trace), 1e-5) << word;
    EXPECT_NEAR(change.loss, loss(*changed), 1e-5) << word;
    EXPECT_GT(change.kl, last) << word;  // the more is hidden, the more changes
    last = change.kl;
  }
  const ModelChange one = compareOutputs(*trace, *under("off", {{1, 3}}), job);
  EXPECT_GT(one.kl, 0);
  EXPECT_LT(one.kl, last);
}

TEST_F(Replaced, reuseReadsAnEarlierLayer) {
  const ModelChange change = compareOutputs(*trace, *under("reuse:from=0", heads(2, 3)), job);
  EXPECT_TRUE(std::isfinite(change.loss));
  EXPECT_GT(change.kl, 0);
  EXPECT_THROW(replacementFor(model, heads(0, 1), parseMechanism("reuse")), Error);
  EXPECT_THROW(replacementFor(model, heads(1, 2), parseMechanism("reuse:from=1")), Error);
}

/// Largest difference between a map's row and the mechanism's own, bound here.
double mapDifference(const std::shared_ptr<const Trace>& trace, HeadRef head, const Mechanism& mechanism, Job& job) {
  const LayerHeads layer(trace, head.layer, job);
  const HeadInput input = layer.input(head.head);
  const AttentionMap map(trace, head);
  const int64_t n = map.size();
  Matrix rows(n, n);
  mechanism.bind(input, job)->mapRows(0, n, rows.view(), job);
  const Matrix tile = map.tile({0, 0, n, 0, n, Pooling::Max}, job);
  double largest = 0;
  for (int64_t i = 0; i < tile.size(); ++i) largest = std::max(largest, std::abs(static_cast<double>(tile.data()[i] - rows.data()[i])));
  return largest;
}

TEST_F(Replaced, mapsAreThoseThatWereUsed) {
  for (const char* word :
       {"local:window=8", "topk:k=3", "linear", "nystrom:landmarks=5", "dense_attention", "reuse:from=0", "nope", "off"}) {
    const auto mechanism = parseMechanism(word);
    const auto changed = under(word, {{2, 1}, {3, 0}});
    for (const HeadRef head : {HeadRef{2, 1}, HeadRef{3, 0}}) {
      EXPECT_LT(mapDifference(changed, head, *mechanism, job), 1e-5) << word;
      EXPECT_EQ(AttentionMap(changed, head).mechanism(), mechanism->spelled());
      EXPECT_EQ(AttentionMap(changed, head).isSigned(), !mechanism->isNormalised());
    }
    for (const HeadRef own : {HeadRef{0, 1}, HeadRef{2, 0}}) {  // the model's own, also where another layer reads its keys and values
      EXPECT_LT(mapDifference(changed, own, *parseMechanism("dense"), job), 1e-5) << word;
      EXPECT_EQ(AttentionMap(changed, own).mechanism(), "");
    }
  }
  EXPECT_TRUE(AttentionMap(under("dense_attention", {{1, 1}}), {1, 1}).notes(job).size() > 0);
  EXPECT_FALSE(AttentionMap(under("dense_attention", {{1, 1}}), {1, 1}).readsOwnValues());
}

TEST_F(Replaced, everyLevelPoolsTheMapThatWasUsed) {
  const auto changed = under("dense_attention", {{1, 2}});
  const AttentionMap map(changed, {1, 2});
  const int64_t n = map.size();
  const Matrix whole = map.tile({0, 0, n, 0, n, Pooling::Max}, job);
  for (int64_t level = 0; level < map.levels(); ++level) {
    const int64_t cells = map.sizeAt(level), first = cells / 2;  // a part, whose last cells reach beyond the map
    const Matrix largest = map.tile({level, first, cells - first, 0, cells, Pooling::Max}, job);
    const Matrix mean = map.tile({level, first, cells - first, 0, cells, Pooling::Mean}, job);
    for (int64_t r = 0; r < cells - first; ++r) {
      for (int64_t c = 0; c < cells; ++c) {
        float top = 0;
        double sum = 0, entries = 0;
        for (int64_t i = (first + r) << level; i < std::min(n, (first + r + 1) << level); ++i) {
          for (int64_t j = c << level; j < std::min(n, (c + 1) << level); ++j) {
            top = std::abs(whole(i, j)) > std::abs(top) ? whole(i, j) : top;
            sum += static_cast<double>(whole(i, j)), ++entries;
          }
        }
        ASSERT_EQ(largest(r, c), top) << level;
        ASSERT_NEAR(static_cast<double>(mean(r, c)), sum / entries, 1e-6) << level;
      }
    }
  }
}

TEST_F(Replaced, scoresAreOfTheMapThatWasUsed) {
  const std::vector<HeadRef> all = heads(0, model->spec().layers);
  const HeadScores own = headScores(*trace, true, job);
  // A window that hides nothing scores as the model does, by another way through other code
  const HeadScores same = headScores(*under("local:window=1000", all), true, job);
  ASSERT_EQ(own.names(), same.names());
  for (const std::string& name : own.names()) {
    for (const HeadRef head : all) {
      const bool isCount = name.find("keys.") != std::string::npos;  // a sum on the threshold may go either way
      if (std::isnan(own.at(name, head))) continue;
      EXPECT_NEAR(own.at(name, head), same.at(name, head), isCount ? 0.07 : 2e-5) << name;
    }
  }
  const HeadScores narrow = headScores(*under("local:window=1", {{2, 1}}), true, job);
  EXPECT_EQ(narrow.at("self", {2, 1}), 1.0);
  EXPECT_EQ(narrow.at("entropy", {2, 1}), 0.0);
  EXPECT_EQ(narrow.at("keys.0.999", {2, 1}), 1.0);
  EXPECT_EQ(narrow.at("entropy", {0, 0}), own.at("entropy", {0, 0}));
  const HeadScores nothing = headScores(*under("off", {{2, 1}}), false, job);
  EXPECT_EQ(nothing.at("self", {2, 1}), 0.0);
  EXPECT_TRUE(std::isnan(nothing.at("entropy", {2, 1})));
}

TEST_F(Replaced, oneHeadsOutputWeightIsTheLayersPart) {
  for (const char* name : {"gpt2", "llama3_gqa", "deepseek_v3", "bert", "pythia", "gemma2", "qwen3"}) {
    const auto folder = tests::goldenFolder() / "models" / name;
    if (!std::filesystem::exists(folder)) continue;
    const auto other = Model::open(folder);
    const HeadWeights layer = headWeights(*other, 1, Fold::Off);
    for (int64_t h = 0; h < other->spec().heads; ++h) {
      const Matrix own = headOutputWeight(*other, {1, h});
      const ConstMatrixView whole = layer.outputOf(h);
      ASSERT_EQ(own.rows(), whole.rows);
      ASSERT_EQ(own.cols(), whole.cols);
      for (int64_t r = 0; r < whole.rows; ++r) {
        for (int64_t c = 0; c < whole.cols; ++c) ASSERT_EQ(own(r, c), whole(r, c)) << name;
      }
    }
  }
}

TEST_F(Replaced, budgetTakesTheCheapestUnderTheBound) {
  const auto mechanisms = parseMechanisms("local:window=4;local:window=16;sinks:sinks=2,window=8;strided:stride=4");
  Budget budget = measureBudget(trace, mechanisms, job);
  ASSERT_EQ(budget.heads.size(), static_cast<size_t>(model->spec().layers * model->spec().heads));
  for (const double bound : {0.0, 0.05, 0.3, 10.0}) {
    chooseUnder(budget, bound);
    for (const HeadBudget& head : budget.heads) {
      double cheapest = head.denseOperations;
      for (const BudgetOption& option : head.options) {
        if (option.error <= bound) cheapest = std::min(cheapest, option.operations);
      }
      const double got = head.chosen < 0 ? head.denseOperations : head.options[static_cast<size_t>(head.chosen)].operations;
      EXPECT_DOUBLE_EQ(got, cheapest) << bound;
      if (head.chosen >= 0) {
        EXPECT_LE(head.options[static_cast<size_t>(head.chosen)].error, bound);
      }
    }
    EXPECT_LE(budget.operations(), budget.denseOperations());
  }
  chooseUnderLoss(budget, *trace, 0.05, job);
  EXPECT_LE(budget.loss - budget.lossBefore, 0.05);
  EXPECT_FALSE(budget.choices().empty());
  const auto again = runForward(model, prompt, backend, replacementFor(model, budget.choices()), job);
  EXPECT_NEAR(budget.loss, loss(*again), 1e-4);
  const auto json = nlohmann::json::parse(toJson(budget, *trace));
  EXPECT_EQ(json.at("format"), "headscope-attention-plan");
  EXPECT_EQ(json.at("heads").size(), budget.heads.size());
  for (const auto& head : json.at("heads")) EXPECT_NO_THROW(parseMechanism(head.at("mechanism").get<std::string>()));
}

}  // namespace
}  // namespace headscope::tests
