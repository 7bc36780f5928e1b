#include "core/bench/random_model.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "core/base/files.h"
#include "core/checkpoint/safetensors_writer.h"

namespace headscope::core {
namespace {

/// Uniform numbers of a given deviation from a linear congruence: good enough for timing, and quick.
class Noise {
 public:
  explicit Noise(uint64_t seed) : state_(seed * 2 + 1) {}
  float next(float deviation) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return deviation * 3.4641f * (static_cast<float>(state_ >> 40) * 0x1p-24f - 0.5f);
  }

 private:
  uint64_t state_;
};

class CheckpointMaker {
 public:
  void matrix(const std::string& name, int64_t rows, int64_t cols, int64_t inputs) {
    add(name, {rows, cols}, 1.0f / std::sqrt(static_cast<float>(inputs)), 0.0f);
  }
  void table(const std::string& name, int64_t rows, int64_t cols) { add(name, {rows, cols}, 0.5f, 0.0f); }
  void gain(const std::string& name, int64_t width) { add(name, {width}, 0.1f, 1.0f); }
  void bias(const std::string& name, int64_t width) { add(name, {width}, 0.1f, 0.0f); }

  std::shared_ptr<const Model> write(const std::filesystem::path& folder, const std::string& config) {
    std::filesystem::create_directories(folder);
    writer_.write(folder / "model.safetensors");
    writeFileWhole(folder / "config.json", [&](std::ostream& out) { out << config; });
    return Model::open(folder);
  }

 private:
  void add(const std::string& name, std::vector<int64_t> shape, float deviation, float mean) {
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    writer_.add(name, DType::F32, std::move(shape), [count, deviation, mean, seed = ++seed_](SafetensorsWriter::Sink& sink) {
      Noise noise(seed);
      std::vector<float> part(static_cast<size_t>(std::min<int64_t>(count, 1 << 16)));
      for (int64_t done = 0; done < count;) {
        const size_t size = static_cast<size_t>(std::min<int64_t>(count - done, static_cast<int64_t>(part.size())));
        for (size_t i = 0; i < size; ++i) part[i] = mean + noise.next(deviation);
        sink.write(std::span<const float>(part.data(), size));
        done += static_cast<int64_t>(size);
      }
    });
  }
  SafetensorsWriter writer_;
  uint64_t seed_ = 0;
};

}  // namespace

std::shared_ptr<const Model> randomGpt2Small(const std::filesystem::path& folder) {
  constexpr int64_t d = 768, kVocabulary = 50257;
  CheckpointMaker maker;
  maker.table("wte.weight", kVocabulary, d);
  maker.table("wpe.weight", 1024, d);
  for (int l = 0; l < 12; ++l) {
    const std::string h = "h." + std::to_string(l) + ".";
    for (const char* norm : {"ln_1", "ln_2"}) {
      maker.gain(h + norm + ".weight", d);
      maker.bias(h + norm + ".bias", d);
    }
    maker.matrix(h + "attn.c_attn.weight", d, 3 * d, d);
    maker.bias(h + "attn.c_attn.bias", 3 * d);
    maker.matrix(h + "attn.c_proj.weight", d, d, d);
    maker.bias(h + "attn.c_proj.bias", d);
    maker.matrix(h + "mlp.c_fc.weight", d, 4 * d, d);
    maker.bias(h + "mlp.c_fc.bias", 4 * d);
    maker.matrix(h + "mlp.c_proj.weight", 4 * d, d, 4 * d);
    maker.bias(h + "mlp.c_proj.bias", d);
  }
  maker.gain("ln_f.weight", d);
  maker.bias("ln_f.bias", d);
  return maker.write(folder, R"({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 12, "n_head": 12, "n_embd": 768,
    "n_positions": 1024, "vocab_size": 50257})");
}

std::shared_ptr<const Model> randomTales(const std::filesystem::path& folder) {
  constexpr int64_t d = 256, kInner = 688;
  CheckpointMaker maker;
  maker.table("model.embed_tokens.weight", 4096, d);
  for (int l = 0; l < 4; ++l) {
    const std::string h = "model.layers." + std::to_string(l) + ".";
    maker.gain(h + "input_layernorm.weight", d);
    maker.gain(h + "post_attention_layernorm.weight", d);
    for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"}) maker.matrix(h + "self_attn." + name + ".weight", d, d, d);
    maker.matrix(h + "mlp.gate_proj.weight", kInner, d, d);
    maker.matrix(h + "mlp.up_proj.weight", kInner, d, d);
    maker.matrix(h + "mlp.down_proj.weight", d, kInner, kInner);
  }
  maker.gain("model.norm.weight", d);
  return maker.write(folder, R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 8, "hidden_size": 256, "intermediate_size": 688, "vocab_size": 4096,
    "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "tie_word_embeddings": true})");
}

std::shared_ptr<const Prompt> randomPrompt(const ModelSpec& spec, int64_t count) {
  auto prompt = std::make_shared<Prompt>();
  uint64_t state = 1;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    Token token;
    token.id = static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(spec.vocabulary));
    prompt->tokens.push_back(token);
  }
  return prompt;
}

}  // namespace headscope::core
