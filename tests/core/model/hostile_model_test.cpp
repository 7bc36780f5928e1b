// Folders that are not what they seem: missing parts, shapes against the config, adapters that don't fit.
#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/checkpoint/safetensors_writer.h"
#include "core/model/adapter.h"
#include "core/model/model.h"
#include "core/model/model_facts.h"
#include "tests/support/safetensors_builder.h"

namespace headscope::core {
namespace {

using tests::TemporaryFolder;
using tests::writeFile;

constexpr int64_t kWidth = 8, kInner = 12, kVocabulary = 10;

/// A Llama of two layers, less the tensors named in `without`, with `more` in its config.
void writeLlama(const TemporaryFolder& folder, const std::string& without = "", const std::string& more = "", int64_t queries = kWidth) {
  writeFile(folder / "config.json", R"({"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":8,"intermediate_size":12,)"
                                    R"("num_attention_heads":2,"num_hidden_layers":2,"vocab_size":10)" +
                                        more + "}");
  SafetensorsWriter writer;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    if (!without.empty() && name.find(without) != std::string::npos) return;
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    writer.add(name, std::move(shape), std::vector<float>(static_cast<size_t>(count), 0.25f));
  };
  add("model.embed_tokens.weight", {kVocabulary, kWidth});
  for (int l = 0; l < 2; ++l) {
    const std::string at = "model.layers." + std::to_string(l) + ".";
    add(at + "input_layernorm.weight", {kWidth});
    add(at + "post_attention_layernorm.weight", {kWidth});
    add(at + "self_attn.q_proj.weight", {queries, kWidth});
    for (const char* part : {"k", "v", "o"}) add(at + "self_attn." + part + "_proj.weight", {kWidth, kWidth});
    add(at + "mlp.gate_proj.weight", {kInner, kWidth});
    add(at + "mlp.up_proj.weight", {kInner, kWidth});
    add(at + "mlp.down_proj.weight", {kWidth, kInner});
  }
  add("model.norm.weight", {kWidth});
  add("lm_head.weight", {kVocabulary, kWidth});
  writer.write(folder / "model.safetensors");
}

void writeAdapter(const TemporaryFolder& folder, const std::string& config,
                  const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors) {
  writeFile(folder / "adapter_config.json", config);
  SafetensorsWriter writer;
  for (const auto& [name, shape] : tensors) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    writer.add("base_model.model." + name, shape, std::vector<float>(static_cast<size_t>(count), 0.5f));
  }
  writer.write(folder / "adapter_model.safetensors");
}

template <typename F>
std::string faultOf(F&& run) {
  try {
    run();
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

TEST(HostileModel, missingTensorsAreListedAndWholeLayersStayOpen) {
  TemporaryFolder folder;
  writeLlama(folder, "layers.1.self_attn.k_proj");
  const auto model = Model::open(folder.path());
  EXPECT_EQ(model->missing(), std::vector<std::string>{"model.layers.1.self_attn.k_proj.weight"});
  EXPECT_TRUE(model->hasAttention(0));
  EXPECT_FALSE(model->hasAttention(1));
  EXPECT_NE(faultOf([&] { model->layer(1); }).find("layer 1 lacks 1 tensor: model.layers.1.self_attn.k_proj.weight"), std::string::npos);
  EXPECT_NO_THROW(model->layer(0));
  const ModelFacts facts = factsOf(*model);
  EXPECT_EQ(facts.wholeLayers, std::vector<int64_t>{0});
  EXPECT_FALSE(facts.unsupported.empty());
}

TEST(HostileModel, shapesAgainstTheConfigNameBoth) {
  TemporaryFolder folder;
  writeLlama(folder, "", "", 6);
  const std::string fault = faultOf([&] { Model::open(folder.path()); });
  EXPECT_NE(fault.find("[6, 8]"), std::string::npos) << fault;
  EXPECT_NE(fault.find("[8, 8]"), std::string::npos) << fault;
  EXPECT_NE(fault.find("q_proj"), std::string::npos) << fault;
}

TEST(HostileModel, aBiasThatTheConfigAsksForIsMissing) {
  TemporaryFolder folder;
  writeLlama(folder, "", R"(,"attention_bias":true)");
  EXPECT_EQ(Model::open(folder.path())->missing().size(), 8u);
}

TEST(HostileModel, otherFoldersSayWhatTheyLack) {
  TemporaryFolder folder;
  EXPECT_NE(faultOf([&] { Model::open(folder.path()); }).find("config.json"), std::string::npos);
  EXPECT_NE(faultOf([&] { Model::open(folder / "absent"); }).find("no such folder"), std::string::npos);
  writeFile(folder / "adapter_config.json", "{}");
  EXPECT_NE(faultOf([&] { Model::open(folder.path()); }).find("--adapter"), std::string::npos);
  writeLlama(folder, "model.");
  EXPECT_NE(faultOf([&] { Model::open(folder.path())->layer(0); }).find("lacks"), std::string::npos);
  writeLlama(folder, "");
  writeFile(folder / "config.json", R"({"model_type":"gpt2","n_layer":2})");
  EXPECT_NE(faultOf([&] { Model::open(folder.path()); }).find("does config.json belong to these files"), std::string::npos);
}

TEST(HostileModel, unusedTensorsAndLaterLayersAreNoted) {
  TemporaryFolder folder;
  writeLlama(folder, "", R"(,"num_hidden_layers":1)");
  const auto model = Model::open(folder.path());
  ASSERT_EQ(model->notes().size(), 1u);
  EXPECT_NE(model->notes().front().find("layer 1 (9 tensors)"), std::string::npos) << model->notes().front();
}

constexpr char kLora[] = R"({"peft_type":"LORA","r":2,"lora_alpha":4,"target_modules":["q_proj"],"layers_to_transform":[0]})";

TEST(HostileAdapter, keysThatMatchNothingAreListed) {
  TemporaryFolder base, folder;
  writeLlama(base);
  const auto model = Model::open(base.path());
  writeAdapter(folder, kLora,
               {{"model.layers.0.self_attn.q_proj.lora_A.weight", {2, 8}},
                {"model.layers.0.self_attn.q_proj.lora_B.weight", {8, 2}},
                {"model.layers.7.self_attn.q_proj.lora_A.weight", {2, 8}},
                {"model.layers.7.self_attn.q_proj.lora_B.weight", {8, 2}},
                {"score.weight", {3, 8}},
                {"model.strange.weight", {3}}});
  const std::string fault = faultOf([&] { model->withAdapter(Adapter::open(folder.path())); });
  EXPECT_NE(fault.find("model.layers.7.self_attn.q_proj"), std::string::npos) << fault;
  EXPECT_NE(fault.find("model.strange.weight"), std::string::npos) << fault;
  EXPECT_EQ(fault.find("score"), std::string::npos) << fault;
}

TEST(HostileAdapter, taskHeadsAreSetAsideWithANote) {
  TemporaryFolder base, folder;
  writeLlama(base);
  writeAdapter(folder, kLora,
               {{"model.layers.0.self_attn.q_proj.lora_A.weight", {2, 8}},
                {"model.layers.0.self_attn.q_proj.lora_B.weight", {8, 2}},
                {"score.modules_to_save.weight", {3, 8}}});
  const auto model = Model::open(base.path())->withAdapter(Adapter::open(folder.path()));
  ASSERT_EQ(model->notes().size(), 1u);
  EXPECT_NE(model->notes().front().find("score"), std::string::npos);
  EXPECT_EQ(model->attention(0).query.change->terms.size(), 1u);
  EXPECT_EQ(model->attention(1).query.change, nullptr);
}

TEST(HostileAdapter, halvesAndWrongShapesAreRefused) {
  TemporaryFolder base, folder;
  writeLlama(base);
  const auto model = Model::open(base.path());
  const auto fault = [&] { return faultOf([&] { model->withAdapter(Adapter::open(folder.path())); }); };
  const std::string at = "model.layers.0.self_attn.q_proj.";
  writeAdapter(folder, kLora, {{at + "lora_A.weight", {2, 8}}});
  EXPECT_NE(fault().find("lora_B.weight is missing"), std::string::npos);
  writeAdapter(folder, kLora, {{at + "lora_A.weight", {2, 16}}, {at + "lora_B.weight", {8, 2}}});
  EXPECT_NE(fault().find("[2, 16]"), std::string::npos) << fault();
  writeAdapter(folder, kLora, {{at + "lora_A.weight", {3, 8}}, {at + "lora_B.weight", {8, 3}}});
  EXPECT_NE(fault().find("rank 2"), std::string::npos) << fault();
  writeAdapter(folder, R"({"r":2,"target_modules":["q_proj"]})", {{at + "lora_A.weight", {2, 8}}, {at + "lora_B.weight", {8, 2}}});
  EXPECT_NE(fault().find("model.layers.1.self_attn.q_proj"), std::string::npos) << fault();
  writeAdapter(folder, R"({"r":2,"use_dora":true,"target_modules":["q_proj"]})",
               {{at + "lora_A.weight", {2, 8}}, {at + "lora_B.weight", {8, 2}}});
  EXPECT_NE(fault().find("lora_magnitude_vector"), std::string::npos) << fault();
  writeAdapter(folder, kLora, {});
  EXPECT_NE(fault().find("no tensors"), std::string::npos) << fault();
}

TEST(AdapterConfig, otherKindsAndStartsAreNamed) {
  const auto fault = [](const std::string& text) { return faultOf([&] { parseAdapterConfig(text, "adapter_config.json"); }); };
  EXPECT_EQ(fault(kLora), "");
  EXPECT_EQ(fault(R"({"peft_type":"LORA","init_lora_weights":"gaussian","unknown_key":null,"target_modules":"all-linear"})"), "");
  for (const char* start : {"pissa", "pissa_niter_16", "olora", "loftq", "corda", "lora_ga"}) {
    EXPECT_NE(fault(R"({"init_lora_weights":")" + std::string(start) + "\"}").find(start), std::string::npos);
  }
  EXPECT_NE(fault(R"({"peft_type":"IA3"})").find("IA3"), std::string::npos);
  EXPECT_NE(fault(R"({"target_parameters":["x"]})").find("target_parameters"), std::string::npos);
  EXPECT_NE(fault(R"({"trainable_token_indices":[1]})").find("trainable_token_indices"), std::string::npos);
  EXPECT_NE(fault(R"({"layer_replication":[[0,4]]})").find("layer_replication"), std::string::npos);
  EXPECT_NE(fault(R"({"use_qalora":true})").find("use_qalora"), std::string::npos);
  EXPECT_NE(fault(R"({"r":0})").find("\"r\""), std::string::npos);
  EXPECT_NE(fault(R"({"target_modules":"(("})").find("target_modules"), std::string::npos);
  EXPECT_NE(fault(R"({"rank_pattern":{"q_proj":"x"}})").find("q_proj"), std::string::npos);
}

TEST(AdapterConfig, targetsMatchAsInPeft) {
  const auto config = [](const std::string& text) { return parseAdapterConfig(text, "c"); };
  const std::string q0 = "model.layers.0.self_attn.q_proj", q11 = "model.layers.11.self_attn.q_proj";
  EXPECT_TRUE(config(R"({"target_modules":["q_proj"]})").isTarget(q0));
  EXPECT_FALSE(config(R"({"target_modules":["proj"]})").isTarget(q0));
  EXPECT_TRUE(config(R"({"target_modules":"model\\.layers\\.[0-5]\\.self_attn\\.q_proj"})").isTarget(q0));
  EXPECT_FALSE(config(R"({"target_modules":"layers\\.0\\.self_attn\\.q_proj"})").isTarget(q0));
  EXPECT_FALSE(config(R"({"target_modules":["q_proj"],"exclude_modules":["layers.0.self_attn.q_proj"]})").isTarget(q0));
  EXPECT_FALSE(config(R"({"target_modules":["q_proj"],"exclude_modules":".*\\.0\\..*"})").isTarget(q0));
  EXPECT_FALSE(config(R"({"target_modules":["q_proj"],"modules_to_save":["self_attn"]})").isTarget(q0));
  const AdapterConfig some = config(R"({"target_modules":["q_proj"],"layers_to_transform":[1,11],"layers_pattern":"layers"})");
  EXPECT_FALSE(some.isTarget(q0));
  EXPECT_TRUE(some.isTarget(q11));
  EXPECT_FALSE(config(R"({"target_modules":["q_proj"],"layers_to_transform":0,"layers_pattern":"h"})").isTarget(q0));
  EXPECT_TRUE(config(R"({"target_modules":["q_proj"],"layers_to_transform":0})").isTarget(q0));
  const AdapterConfig ranks = config(
      R"({"r":8,"lora_alpha":16,"rank_pattern":{"layers.0.self_attn.q_proj":2,"q_proj":4},"alpha_pattern":{"^model.layers.0.*":32}})");
  EXPECT_EQ(ranks.rankOf(q0), 2);
  EXPECT_EQ(ranks.rankOf(q11), 4);
  EXPECT_EQ(ranks.rankOf("model.layers.0.mlp.up_proj"), 8);
  EXPECT_DOUBLE_EQ(ranks.scaleOf(q0), 16.0);
  EXPECT_DOUBLE_EQ(ranks.scaleOf(q11), 4.0);
}

TEST(AdapterConfig, wildExpressionsEndInAnError) {
  const AdapterConfig config = parseAdapterConfig(R"({"target_modules":"(a|a|a)*[^a]"})", "c");
  EXPECT_THROW(config.isTarget(std::string(64, 'a')), Error);
}

}  // namespace
}  // namespace headscope::core
