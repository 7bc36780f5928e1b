// What config.json says: defaults of absent keys, every spelling of rotation, and what is refused by name.
#include "core/model/model_spec.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"

namespace headscope::core {
namespace {

ModelSpec parse(const std::string& text) { return parseModelSpec(text, "config.json"); }

std::string faultOf(const std::string& text) {
  try {
    parse(text);
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

std::string llama(const std::string& more) {
  return R"({"model_type":"llama","hidden_size":64,"num_attention_heads":4,"num_hidden_layers":2,"intermediate_size":96,"vocab_size":331)" +
         more + "}";
}

TEST(ModelSpec, absentKeysMeanWhatTheyMeanToHuggingFace) {
  const ModelSpec mistral = parse(R"({"model_type":"mistral"})");
  EXPECT_EQ(mistral.kvHeads, 8);
  EXPECT_EQ(mistral.layer[0].window, 4096);
  EXPECT_EQ(parse(R"({"model_type":"mistral","sliding_window":null,"num_key_value_heads":null})").kvHeads, 32);
  EXPECT_EQ(parse(R"({"model_type":"mistral","sliding_window":null})").layer[0].window, 0);
  const ModelSpec qwen3 = parse(R"({"model_type":"qwen3"})");
  EXPECT_EQ(qwen3.headWidth, 128);
  EXPECT_EQ(qwen3.layer[31].window, 0);
  EXPECT_TRUE(qwen3.hasHeadNorms);
  const ModelSpec gemma = parse(R"({"model_type":"gemma2"})");
  EXPECT_EQ(gemma.headWidth, 256);
  EXPECT_EQ(gemma.layer[0].window, 4096);
  EXPECT_EQ(gemma.layer[1].window, 0);
  EXPECT_EQ(gemma.attentionSoftcap, 50.0);
  EXPECT_TRUE(gemma.isTied);
  EXPECT_EQ(parse(R"({"model_type":"gemma2","attn_logit_softcapping":null})").attentionSoftcap, 0.0);
  const ModelSpec deepseek = parse(R"({"model_type":"deepseek_v3"})");
  EXPECT_EQ(deepseek.mla->queryRank, 1536);
  EXPECT_FALSE(deepseek.layer[2].isMoe);
  EXPECT_TRUE(deepseek.layer[3].isMoe);
  EXPECT_EQ(deepseek.moe->groupScore, MoeSpec::GroupScore::SumOfTopTwo);
  EXPECT_EQ(parse(R"({"model_type":"deepseek_v3","q_lora_rank":null})").mla->queryRank, 0);
  const ModelSpec neox = parse(R"({"model_type":"gpt_neox"})");
  EXPECT_EQ(neox.rope.dims, 24);
  EXPECT_TRUE(neox.isParallelResidual);
  EXPECT_EQ(parse(llama("")).normEps, 1e-6);
}

TEST(ModelSpec, gpt2ScalesByLayer) {
  const ModelSpec spec = parse(R"({"model_type":"gpt2","n_embd":64,"n_head":4,"scale_attn_by_inverse_layer_idx":true,"n_inner":100})");
  EXPECT_DOUBLE_EQ(spec.layer[0].attentionScale, 0.25);
  EXPECT_DOUBLE_EQ(spec.layer[3].attentionScale, 0.25 / 4);
  EXPECT_EQ(spec.layer[0].intermediate, 100);
  EXPECT_EQ(parse(R"({"model_type":"gpt2","scale_attn_weights":false})").layer[0].attentionScale, 1.0);
}

TEST(ModelSpec, windowsByLayer) {
  const std::string qwen =
      R"({"model_type":"qwen2","hidden_size":64,"num_attention_heads":4,"num_key_value_heads":4,"num_hidden_layers":3)";
  const ModelSpec upper = parse(qwen + R"(,"use_sliding_window":true,"sliding_window":9,"max_window_layers":2})");
  EXPECT_EQ(upper.layer[1].window, 0);
  EXPECT_EQ(upper.layer[2].window, 9);
  const ModelSpec typed = parse(
      qwen + R"(,"use_sliding_window":true,"sliding_window":9,"layer_types":["sliding_attention","full_attention","full_attention"]})");
  EXPECT_EQ(typed.layer[0].window, 9);
  EXPECT_EQ(typed.layer[2].window, 0);
  EXPECT_NE(faultOf(qwen + R"(,"layer_types":["sliding_attention","full_attention","full_attention"]})").find("sliding_window"),
            std::string::npos);
  EXPECT_NE(faultOf(qwen + R"(,"layer_types":["chunked_attention","full_attention","full_attention"]})").find("chunked_attention"),
            std::string::npos);
}

TEST(Rope, spellingsAgree) {
  const auto frequencies = [](const std::string& more) { return parse(llama(more)).rope.frequencies; };
  const std::vector<double> plain = frequencies("");
  ASSERT_EQ(plain.size(), 8u);
  EXPECT_NEAR(plain[3], std::pow(10000.0, -6.0 / 16.0), 1e-8);
  const std::vector<double> linear = frequencies(R"(,"rope_scaling":{"type":"linear","factor":4.0})");
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_FLOAT_EQ(static_cast<float>(linear[i]), static_cast<float>(plain[i] / 4.0));
  EXPECT_EQ(linear, frequencies(R"(,"rope_scaling":{"rope_type":"linear","factor":4.0})"));
  EXPECT_EQ(linear, frequencies(R"(,"rope_parameters":{"rope_type":"linear","factor":4.0,"rope_theta":10000.0})"));
  EXPECT_EQ(
      linear,
      frequencies(
          R"(,"rope_parameters":{"full_attention":{"rope_type":"linear","factor":4.0},"sliding_attention":{"rope_type":"linear","factor":4.0}})"));
  EXPECT_EQ(frequencies(R"(,"rope_theta":5e5)"), frequencies(R"(,"rope_parameters":{"rope_type":"default","rope_theta":500000})"));
}

TEST(Rope, yarnKeepsFastPairsAndStretchesSlowOnes) {
  const RopeSpec rope = parse(llama(R"(,"rope_scaling":{"type":"yarn","factor":8.0,"original_max_position_embeddings":64})")).rope;
  const RopeSpec plain = parse(llama("")).rope;
  EXPECT_DOUBLE_EQ(rope.frequencies.front(), plain.frequencies.front());
  EXPECT_FLOAT_EQ(static_cast<float>(rope.frequencies.back()), static_cast<float>(plain.frequencies.back() / 8.0));
  EXPECT_NEAR(rope.magnitude, 0.1 * std::log(8.0) + 1.0, 1e-12);
  EXPECT_DOUBLE_EQ(parse(llama(R"(,"rope_scaling":{"type":"yarn","factor":8.0,"attention_factor":0.5})")).rope.magnitude, 0.5);
  const ModelSpec deepseek =
      parse(R"({"model_type":"deepseek_v3","rope_scaling":{"type":"yarn","factor":40,"mscale":1.0,"mscale_all_dim":1.0}})");
  const double m = 0.1 * std::log(40.0) + 1.0;
  EXPECT_NEAR(deepseek.layer[0].attentionScale, m * m / std::sqrt(192.0), 1e-12);
  EXPECT_DOUBLE_EQ(deepseek.rope.magnitude, 1.0);
}

TEST(ModelSpec, nestedTextPart) {
  const ModelSpec spec = parse(
      R"({"model_type":"llava","tie_word_embeddings":true,"text_config":{"model_type":"llama","hidden_size":64,"num_attention_heads":4}})");
  EXPECT_EQ(spec.family, "llama");
  EXPECT_EQ(spec.width, 64);
  EXPECT_TRUE(spec.isTied);
  EXPECT_FALSE(spec.notes.empty());
}

TEST(ModelSpec, refusalsNameTheField) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "not JSON"},
      {"[]", "not a JSON object"},
      {std::string(100000, '['), "deeper"},
      {"{}", "model_type"},
      {R"({"model_type":"falcon"})", "falcon"},
      {R"({"model_type":"falcon"})", "gpt_neox"},
      {R"({"model_type":3})", "model_type"},
      {llama(R"(,"hidden_act":"xielu")"), "xielu"},
      {llama(R"(,"rope_scaling":{"type":"dynamic","factor":2})"), "dynamic"},
      {llama(R"(,"rope_scaling":{"rope_type":"longrope","factor":2})"), "longrope"},
      {llama(R"(,"rope_scaling":{"rope_type":"mrope"})"), "mrope"},
      {llama(R"(,"rope_scaling":{"rope_type":"linear"})"), "factor"},
      {llama(R"(,"rope_scaling":7)"), "rope_scaling"},
      {llama(R"(,"rope_theta":-1)"), "rope_theta"},
      {llama(R"(,"rope_theta":"x")"), "rope_theta"},
      {llama(R"(,"partial_rotary_factor":0.5)"), "partial_rotary_factor"},
      {llama(R"(,"rope_parameters":{"full_attention":{"rope_theta":1e6},"sliding_attention":{"rope_theta":1e4}})"), "layer type"},
      {llama(R"(,"num_key_value_heads":3)"), "num_key_value_heads"},
      {llama(R"(,"num_key_value_heads":0)"), "num_key_value_heads"},
      {llama(R"(,"head_dim":-4)"), "head_dim"},
      {llama(R"(,"head_dim":15)"), "partial_rotary_factor"},
      {llama(R"(,"max_position_embeddings":1e400)"), "JSON"},
      {llama(R"(,"rms_norm_eps":null,"vocab_size":2.5)"), "vocab_size"},
      {llama(R"(,"num_hidden_layers":1000000000)"), "num_hidden_layers"},
      {llama(R"(,"quantization_config":{"quant_method":"gptq","bits":4})"), "gptq"},
      {llama(R"(,"quantization_config":{"quant_method":"fp8","weight_block_size":[0,128]})"), "weight_block_size"},
      {llama(R"(,"quantization_config":{"quant_method":"fp8"})"), "fp8"},
      {R"({"model_type":"gpt2","add_cross_attention":true})", "add_cross_attention"},
      {R"({"model_type":"gpt2","n_embd":65})", "n_head"},
      {R"({"model_type":"bert","is_decoder":true})", "is_decoder"},
      {R"({"model_type":"bert","position_embedding_type":"relative_key"})", "relative_key"},
      {R"({"model_type":"gemma2","use_bidirectional_attention":true})", "use_bidirectional_attention"},
      {R"({"model_type":"vit","patch_size":[16,8]})", "patch_size"},
      {R"({"model_type":"vit","image_size":70000})", "image_size"},
      {R"({"model_type":"vit","patch_size":300})", "patch_size"},
      {R"({"model_type":"mistral","layer_types":["full_attention"]})", "layer_types"},
      {R"({"model_type":"deepseek_v3","topk_method":"greedy"})", "topk_method"},
      {R"({"model_type":"deepseek_v3","scoring_func":"softmax"})", "scoring_func"},
      {R"({"model_type":"deepseek_v3","n_group":3})", "n_group"},
      {R"({"model_type":"deepseek_v3","num_experts_per_tok":200})", "num_experts_per_tok"},
      {R"({"model_type":"deepseek_v3","num_key_value_heads":8})", "num_key_value_heads"},
      {R"({"model_type":"deepseek_v2"})", "num_experts_per_tok"},
      {R"({"model_type":"deepseek_v2","num_experts_per_tok":2,"topk_method":"noaux_tc"})", "topk_method"},
  };
  for (const auto& [text, name] : cases) {
    const std::string fault = faultOf(text);
    EXPECT_NE(fault.find(name), std::string::npos) << text << "\n  gives: " << fault;
  }
}

}  // namespace
}  // namespace headscope::core
