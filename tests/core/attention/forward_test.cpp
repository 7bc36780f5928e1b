// The forward pass where golden data does not lead: parts of models, replaced heads, broken input, cancelling.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>

#include "core/attention/attention_map.h"
#include "core/attention/forward.h"
#include "core/attention/head_scores.h"
#include "core/attention/prompt_limit.h"
#include "core/base/error.h"
#include "core/checkpoint/safetensors_writer.h"
#include "tests/support/golden.h"
#include "tests/support/golden_run.h"
#include "tests/support/program.h"

using namespace headscope::core;
using namespace headscope::tests;
namespace fs = std::filesystem;

namespace {

std::shared_ptr<const Model> goldenModel(const std::string& name) { return Model::open(goldenFolder() / "models" / name); }

std::shared_ptr<const Prompt> promptOf(const std::vector<int32_t>& ids) {
  auto prompt = std::make_shared<Prompt>();
  for (const int32_t id : ids) {
    Token token;
    token.id = id;
    prompt->tokens.push_back(token);
  }
  return prompt;
}

std::shared_ptr<const Trace> run(std::shared_ptr<const Model> model, const std::vector<int32_t>& ids, const ForwardOptions& options = {}) {
  Job job;
  return runForward(std::move(model), promptOf(ids), openBackend("cpu"), options, job);
}

/// The message of the Error that a call throws, "" when it throws none.
template <class Call>
std::string messageOf(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// A copy of a golden model with float32 tensors, without some of them and with one number changed.
void copyModel(const std::string& name, const fs::path& folder, const std::set<std::string>& without, const std::string& changed = "",
               float number = 0) {
  const fs::path source = goldenFolder() / "models" / name;
  fs::copy_file(source / "config.json", folder / "config.json");
  SafetensorsWriter writer;
  const auto checkpoint = Checkpoint::open(source);
  for (const auto& file : checkpoint->files()) {
    for (const TensorInfo& info : file->tensors()) {
      const std::string tensor(info.name);
      if (without.count(tensor) > 0) continue;
      std::vector<float> values(static_cast<size_t>(info.count()));
      decodeToFloat(info.dtype, info.data, info.count(), values.data());
      if (tensor == changed) values[values.size() / 2] = number;
      writer.add(tensor, info.shape, std::move(values));
    }
  }
  writer.write(folder / "model.safetensors");
}

}  // namespace

TEST(Forward, aLayerRangeIsTheBeginningOfTheWhole) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = goldenModel("llama2");
  const auto whole = run(model, {5, 9, 2, 9, 2});
  ForwardOptions options;
  options.layers = 2;
  const auto part = run(model, {5, 9, 2, 9, 2}, options);
  EXPECT_EQ(part->layersRun(), 2);
  EXPECT_FALSE(part->hasLogits());
  for (int64_t i = 0; i <= 2; ++i) {
    for (int64_t c = 0; c < model->spec().width; ++c) EXPECT_EQ(part->hidden(i)(3, c), whole->hidden(i)(3, c));
  }
}

TEST(Forward, oneTokenAndTwo) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"gpt2", "llama3_gqa", "gemma2", "bert", "deepseek_v3", "pythia"}) {
    const auto model = goldenModel(name);
    for (const auto& ids : {std::vector<int32_t>{7}, std::vector<int32_t>{7, 8}}) {
      const auto trace = run(model, ids);
      Job job;
      EXPECT_TRUE(std::isfinite(trace->logits(0, 1, job)(0, 0))) << name;
      const std::vector<float> row = AttentionMap(trace, {0, 0}).row(trace->count() - 1);
      EXPECT_NEAR(row[0] + (row.size() > 1 ? row[1] : 0.0f), 1.0, 1e-6) << name;
      EXPECT_EQ(AttentionMap(trace, {0, 0}).levels(), trace->count());
      const HeadScores scores = headScores(*trace, true, job);
      EXPECT_NEAR(scores.at("keys.0.999", {0, 0}), 1.0, 1.0) << name;
      if (model->spec().isCausal) {
        EXPECT_EQ(std::isnan(scores.at("previous", {0, 0})), ids.size() == 1) << name;
      }
    }
  }
}

TEST(Forward, resultsDoNotDependOnOtherTokens) {
  HEADSCOPE_REQUIRE_GOLDEN();
  // Causal: what follows changes nothing before it
  for (const char* name : {"gpt2", "mistral_window", "deepseek_v3_fp8"}) {
    const auto model = goldenModel(name);
    const auto a = run(model, {5, 9, 2, 7}), b = run(model, {5, 9, 2, 100, 101, 102});
    const ConstMatrixView x = a->hidden(model->spec().layers), y = b->hidden(model->spec().layers);
    for (int64_t c = 0; c < model->spec().width; ++c) EXPECT_NEAR(x(2, c), y(2, c), 2e-5) << name;
  }
}

TEST(Forward, lossAndNextTokensAreThoseOfTheLogits) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"gpt2", "gemma2"}) {  // tied; soft-capped
    const auto trace = run(goldenModel(name), {5, 9, 2, 100, 101, 9, 2});
    Job job;
    const Matrix logits = trace->logits(0, trace->count(), job);
    double loss = 0;
    for (int64_t i = 0; i + 1 < trace->count(); ++i) {
      double sum = 0;
      for (int64_t c = 0; c < logits.cols(); ++c) sum += std::exp(static_cast<double>(logits(i, c)));
      loss += std::log(sum) - logits(i, trace->prompt().tokens[static_cast<size_t>(i + 1)].id);
    }
    EXPECT_NEAR(trace->loss(job), loss / static_cast<double>(trace->count() - 1), 1e-5) << name;
    const std::vector<NextToken> next = trace->nextTokens(3, 5, job);
    ASSERT_EQ(next.size(), 5u);
    const float* row = logits.row(3);
    EXPECT_EQ(next[0].id, std::max_element(row, row + logits.cols()) - row);
    EXPECT_GE(next[0].probability, next[1].probability);
  }
}

TEST(Forward, replacedHeadsGetWhatTheProjectionsGave) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = goldenModel("llama3_gqa");
  const auto base = run(model, {5, 9, 2, 9});
  ForwardOptions options;
  options.replacedHeads = {{0, 1}, {1, 3}};
  std::vector<HeadRef> seen;
  // The model's own attention, written by hand: nothing may change
  options.replacement = [&](HeadRef head, ConstMatrixView q, ConstMatrixView k, ConstMatrixView v, ConstMatrixView normed, MatrixView out) {
    seen.push_back(head);
    EXPECT_EQ(normed.cols, model->spec().width);
    const double scale = model->spec().layer[0].attentionScale;
    for (int64_t i = 0; i < q.rows; ++i) {
      std::vector<double> weights;
      double sum = 0;
      for (int64_t j = 0; j <= i; ++j) {
        double s = 0;
        for (int64_t c = 0; c < q.cols; ++c) s += static_cast<double>(q(i, c)) * k(j, c);
        sum += weights.emplace_back(std::exp(s * scale));
      }
      for (int64_t c = 0; c < v.cols; ++c) {
        double o = 0;
        for (int64_t j = 0; j <= i; ++j) o += weights[static_cast<size_t>(j)] / sum * v(j, c);
        out(i, c) = static_cast<float>(o);
      }
    }
  };
  const auto same = run(model, {5, 9, 2, 9}, options);
  EXPECT_EQ(seen, options.replacedHeads);
  for (int64_t c = 0; c < model->spec().width; ++c) EXPECT_NEAR(same->hidden(3)(3, c), base->hidden(3)(3, c), 1e-5);
  options.replacement = [](HeadRef, ConstMatrixView, ConstMatrixView, ConstMatrixView, ConstMatrixView, MatrixView out) {
    for (int64_t i = 0; i < out.rows; ++i) std::fill_n(out.row(i), out.cols, 0.0f);
  };
  const auto off = run(model, {5, 9, 2, 9}, options);
  EXPECT_EQ(off->hidden(0)(3, 0), base->hidden(0)(3, 0));
  EXPECT_NE(off->hidden(1)(3, 0), base->hidden(1)(3, 0));
}

TEST(Forward, cancelsBetweenPieces) {
  HEADSCOPE_REQUIRE_GOLDEN();
  Job job;
  ForwardOptions options;
  options.replacedHeads = {{0, 0}, {1, 0}};
  int calls = 0;
  options.replacement = [&](HeadRef, ConstMatrixView, ConstMatrixView, ConstMatrixView, ConstMatrixView, MatrixView) {
    ++calls;
    job.cancel();
  };
  EXPECT_THROW(runForward(goldenModel("gpt2"), promptOf({1, 2, 3}), openBackend("cpu"), options, job), Cancelled);
  EXPECT_EQ(calls, 1);
}

TEST(Forward, badPromptsAreNamed) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto gpt2 = goldenModel("gpt2"), bert = goldenModel("bert"), vit = goldenModel("vit");
  EXPECT_NE(messageOf([&] { run(gpt2, {}); }).find("empty"), std::string::npos);
  const std::string outside = messageOf([&] { run(gpt2, {1, 400}); });
  EXPECT_NE(outside.find("400"), std::string::npos) << outside;
  EXPECT_NE(outside.find("331"), std::string::npos) << outside;
  EXPECT_NE(messageOf([&] { run(gpt2, {-3}); }).find("-3"), std::string::npos);
  EXPECT_NE(messageOf([&] { run(gpt2, std::vector<int32_t>(129, 1)); }).find("128"), std::string::npos);
  auto typed = std::make_shared<Prompt>(Prompt{"", promptOf({1, 2})->tokens, {}, {}});
  typed->tokens[1].segment = 2;
  Job job;
  EXPECT_NE(messageOf([&] { runForward(bert, typed, openBackend("cpu"), {}, job); }).find("type 2"), std::string::npos);
  EXPECT_NE(messageOf([&] { run(vit, {1, 2}); }).find("32 x 32"), std::string::npos);
}

TEST(Forward, longerThanTheContextRunsWhereRotationAllows) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = goldenModel("llama2");
  const auto trace = run(model, std::vector<int32_t>(600, 3));
  EXPECT_TRUE(isBeyondContext(model->spec(), trace->count()));
  EXPECT_FALSE(isBeyondContext(model->spec(), 512));
  EXPECT_TRUE(std::isfinite(trace->hidden(3)(599, 0)));
  // One repeated token: every earlier position is a match, N^2 / 2 of them
  Job job;
  const HeadScores scores = headScores(*trace, false, job);
  const AttentionMap map(trace, {0, 0});
  double duplicate = 0, induction = 0;
  for (int64_t i = 1; i < 600; ++i) {
    const std::vector<float> row = map.row(i);
    for (int64_t j = 0; j < i; ++j) {
      duplicate += row[static_cast<size_t>(j)] / 599;
      induction += row[static_cast<size_t>(j + 1)] / 599;
    }
  }
  EXPECT_NEAR(scores.at("duplicate", {0, 0}), duplicate, 1e-5);
  EXPECT_NEAR(scores.at("induction", {0, 0}), induction, 1e-5);
}

TEST(Forward, missingTensorsAreListed) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const TemporaryFolder folder;
  copyModel("llama2", folder.path(), {"model.layers.2.mlp.up_proj.weight", "model.layers.2.self_attn.q_proj.weight"});
  const auto model = Model::open(folder.path());
  const std::string message = messageOf([&] { run(model, {1, 2}); });
  EXPECT_NE(message.find("model.layers.2.mlp.up_proj.weight"), std::string::npos) << message;
  EXPECT_NE(message.find("model.layers.2.self_attn.q_proj.weight"), std::string::npos) << message;
  ForwardOptions options;
  options.layers = 2;  // the layers that are whole still run
  EXPECT_EQ(run(model, {1, 2}, options)->layersRun(), 2);
  options.layers = 3;
  EXPECT_NE(messageOf([&] { run(model, {1, 2}, options); }), "");
}

TEST(Forward, nanWeightsGiveNan) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"gpt2", "deepseek_v3"}) {
    const TemporaryFolder folder;
    const std::string query = std::string(name) == "gpt2" ? "h.1.attn.c_attn.weight" : "model.layers.1.self_attn.q_b_proj.weight";
    copyModel(name, folder.path(), {}, query, std::nanf(""));
    const auto trace = run(Model::open(folder.path()), {1, 2, 3, 4});
    Job job;
    const HeadScores scores = headScores(*trace, true, job);
    EXPECT_TRUE(std::isfinite(scores.at("entropy", {0, 0}))) << name;
    bool hasNan = false;
    for (int64_t h = 0; h < trace->spec().heads; ++h) hasNan = hasNan || std::isnan(scores.at("entropy", {1, h}));
    EXPECT_TRUE(hasNan) << name;
    EXPECT_TRUE(std::isnan(trace->hidden(trace->spec().layers)(3, 0))) << name;
    EXPECT_EQ(trace->nextTokens(3, 10, job).size(), 10u);
    EXPECT_TRUE(std::isnan(trace->loss(job)));
    const std::vector<float> row = AttentionMap(trace, {2, 0}).row(1);
    EXPECT_TRUE(std::isnan(row[0])) << name;
    EXPECT_EQ(row[2], 0.0f) << name;
  }
}

TEST(AttentionMap, everyLevelPoolsLevelZero) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = goldenModel("mistral_window");
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 150; ++i) ids.push_back((i * 37) % 331);
  const auto trace = run(model, ids);
  const AttentionMap map(trace, {1, 2});
  Job job;
  const Matrix entries = map.tile({0, 0, 150, 0, 150, Pooling::Max}, job);
  for (int64_t level = 0; level < map.levels(); ++level) {
    const int64_t side = map.sizeAt(level);
    const Matrix max = map.tile({level, 0, side, 0, side, Pooling::Max}, job),
                 mean = map.tile({level, 0, side, 0, side, Pooling::Mean}, job);
    for (int64_t r = 0; r < side; ++r) {
      for (int64_t c = 0; c < side; ++c) {
        float largest = 0;
        double sum = 0;
        int64_t count = 0;
        for (int64_t i = r << level; i < std::min<int64_t>(150, (r + 1) << level); ++i) {
          for (int64_t j = c << level; j < std::min<int64_t>(150, (c + 1) << level); ++j, ++count) {
            largest = std::max(largest, entries(i, j));
            sum += entries(i, j);
          }
        }
        EXPECT_NEAR(max(r, c), largest, 1e-6);
        EXPECT_NEAR(mean(r, c), sum / static_cast<double>(count), 1e-6);
      }
    }
  }
  EXPECT_EQ(map.sizeAt(map.levels() - 1), 1);
  EXPECT_EQ(map.score(20, 100), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(map.at(20, 100), 0.0f);
}
