#include "core/weights/synthetic_checkpoint.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>
#include <vector>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/parallel.h"
#include "core/checkpoint/safetensors_writer.h"

namespace headscope::core {
namespace {

using Family = SyntheticCheckpoint::Family;
constexpr int64_t kInner = 64, kBytes = 256;

uint64_t next(uint64_t& state) {  // splitmix64
  uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

uint64_t seedOf(const std::string& name, uint64_t seed) {
  uint64_t h = seed;
  for (const char c : name) h = h * 1099511628211ULL + static_cast<unsigned char>(c);
  return h;
}

/// Uniform values of variance 1 / inputs.
Matrix randomMatrix(int64_t rows, int64_t cols, int64_t inputs, uint64_t seed) {
  Matrix m(rows, cols);
  const float size = std::sqrt(12.0F / static_cast<float>(inputs));
  parallelRanges(rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      uint64_t state = seed + static_cast<uint64_t>(r) * 0x2545f4914f6cdd1dULL;
      float* row = m.row(r);
      for (int64_t c = 0; c < cols; ++c) row[c] = size * (static_cast<float>(next(state) >> 40) * 0x1p-24F - 0.5F);
    }
  });
  return m;
}

uint16_t toBf16(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

/// The E4M3 code nearest to v, |v| <= 448.
uint8_t toE4M3(float v) {
  const uint8_t sign = std::signbit(v) ? 0x80 : 0;
  const float a = std::abs(v);
  if (a < 0x1p-10F) return sign;
  int exponent = std::max(-6, std::ilogb(a));
  int mantissa = static_cast<int>(std::lround(std::ldexp(a, 3 - exponent)));  // 8 .. 16, below 8 when subnormal
  if (mantissa == 16) mantissa = 8, ++exponent;
  if (mantissa < 8) return static_cast<uint8_t>(sign | mantissa);
  return static_cast<uint8_t>(sign | std::min(0x7E, ((exponent + 7) << 3) | (mantissa - 8)));
}

struct Shape {
  std::string name;
  int64_t rows, cols, inputs;
};

class Writer {
 public:
  explicit Writer(const SyntheticCheckpoint& plan) : plan_(plan) {}

  void matrix(const std::string& name, int64_t rows, int64_t cols, int64_t inputs) {
    const Shape shape{name, rows, cols, inputs};
    const SyntheticCheckpoint& plan = plan_;
    const auto values = [plan, shape] {
      Matrix m = randomMatrix(shape.rows, shape.cols, shape.inputs, seedOf(shape.name, plan.seed));
      if (plan.plant) plan.plant(shape.name, m.view());
      return m;
    };
    if (plan.dtype == DType::F8_E4M3) {
      float8(shape, values);
      return;
    }
    out_.add(name, plan.dtype, {rows, cols}, [values, dtype = plan.dtype](SafetensorsWriter::Sink& sink) {
      const Matrix m = values();
      if (dtype == DType::F32) {
        sink.write(std::span<const float>(m.data(), static_cast<size_t>(m.size())));
        return;
      }
      std::vector<uint8_t> bytes(static_cast<size_t>(m.size()) * 2);
      parallelRanges(m.size(), 1 << 16, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const uint16_t v = toBf16(m.data()[i]);
          bytes[static_cast<size_t>(2 * i)] = static_cast<uint8_t>(v & 0xFF),
                                        bytes[static_cast<size_t>(2 * i + 1)] = static_cast<uint8_t>(v >> 8);
        }
      });
      sink.write(bytes);
    });
  }

  /// Kept in float32 whatever the rest is.
  void table(const std::string& name, int64_t rows, int64_t cols) {
    out_.add(name, DType::F32, {rows, cols}, [seed = seedOf(name, plan_.seed), rows, cols](SafetensorsWriter::Sink& sink) {
      const Matrix m = randomMatrix(rows, cols, 1, seed);
      sink.write(std::span<const float>(m.data(), static_cast<size_t>(m.size())));
    });
  }
  void gain(const std::string& name, int64_t width) { out_.add(name, {width}, std::vector<float>(static_cast<size_t>(width), 1.0F)); }
  void zeros(const std::string& name, int64_t width) { out_.add(name, {width}, std::vector<float>(static_cast<size_t>(width), 0.0F)); }
  void write(const std::filesystem::path& path) const { out_.write(path); }

 private:
  template <typename Values>
  void float8(const Shape& shape, const Values& values) {
    // One factor for all blocks: values of variance 1 / inputs fill the range.
    const float scale = std::sqrt(3.0F / static_cast<float>(shape.inputs)) / 448.0F;
    out_.add(shape.name, DType::F8_E4M3, {shape.rows, shape.cols}, [values, scale](SafetensorsWriter::Sink& sink) {
      const Matrix m = values();
      std::vector<uint8_t> bytes(static_cast<size_t>(m.size()));
      parallelRanges(m.size(), 1 << 16, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) bytes[static_cast<size_t>(i)] = toE4M3(std::clamp(m.data()[i] / scale, -448.0F, 448.0F));
      });
      sink.write(bytes);
    });
    const int64_t rows = (shape.rows + 127) / 128, cols = (shape.cols + 127) / 128;
    out_.add(shape.name + "_scale_inv", {rows, cols}, std::vector<float>(static_cast<size_t>(rows * cols), scale));
  }

  SyntheticCheckpoint plan_;
  SafetensorsWriter out_;
};

nlohmann::json configOf(const SyntheticCheckpoint& c) {
  if (c.family == Family::Gpt2) {
    return {{"model_type", "gpt2"}, {"n_embd", c.width},   {"n_head", c.heads},   {"n_layer", c.layers},
            {"n_inner", kInner},    {"n_positions", 1024}, {"vocab_size", kBytes}};
  }
  nlohmann::json j = {{"hidden_size", c.width},        {"intermediate_size", kInner},      {"num_attention_heads", c.heads},
                      {"num_hidden_layers", c.layers}, {"num_key_value_heads", c.kvHeads}, {"vocab_size", kBytes},
                      {"rms_norm_eps", 1e-6},          {"max_position_embeddings", 4096},  {"rope_theta", 10000.0},
                      {"tie_word_embeddings", false}};
  if (c.family == Family::Llama) {
    j["model_type"] = "llama";
    j["head_dim"] = c.headWidth;
    return j;
  }
  j["model_type"] = "deepseek_v3";
  j["num_key_value_heads"] = c.heads;
  j["q_lora_rank"] = c.queryRank, j["kv_lora_rank"] = c.latentRank, j["qk_nope_head_dim"] = c.nope, j["qk_rope_head_dim"] = c.rope;
  j["v_head_dim"] = c.headWidth, j["first_k_dense_replace"] = c.layers, j["moe_intermediate_size"] = 32, j["n_routed_experts"] = 4;
  j["n_shared_experts"] = 1, j["num_experts_per_tok"] = 2, j["n_group"] = 2, j["topk_group"] = 1, j["routed_scaling_factor"] = 1.0;
  j["norm_topk_prob"] = true, j["rope_interleave"] = true;
  if (c.dtype == DType::F8_E4M3) {
    j["quantization_config"] = {
        {"quant_method", "fp8"}, {"fmt", "e4m3"}, {"activation_scheme", "dynamic"}, {"weight_block_size", {128, 128}}};
  }
  return j;
}

/// A tokenizer with one entry a byte, in GPT-2's alphabet.
nlohmann::json byteTokenizer() {
  nlohmann::json vocabulary;
  int odd = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool isShown = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const int c = isShown ? byte : odd++;
    vocabulary[c < 0x80 ? std::string{static_cast<char>(c)}
                        : std::string{static_cast<char>(0xC0 | (c >> 6)), static_cast<char>(0x80 | (c & 0x3F))}] = byte;
  }
  return {{"version", "1.0"},
          {"added_tokens", nlohmann::json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", nlohmann::json::array()}}}};
}

std::string prefix(const SyntheticCheckpoint& c, int64_t layer) {
  return c.family == Family::Gpt2 ? "h." + std::to_string(layer) + "." : "model.layers." + std::to_string(layer) + ".";
}

/// Everything beside attention and its norms.
void addRest(const SyntheticCheckpoint& c, Writer& writer) {
  const bool isGpt2 = c.family == Family::Gpt2;
  writer.table(isGpt2 ? "wte.weight" : "model.embed_tokens.weight", kBytes, c.width);
  if (isGpt2) writer.table("wpe.weight", 1024, c.width);
  for (int64_t l = 0; l < c.layers; ++l) {
    const std::string at = prefix(c, l);
    if (isGpt2) {
      writer.gain(at + "ln_2.weight", c.width), writer.zeros(at + "ln_2.bias", c.width);
      writer.matrix(at + "mlp.c_fc.weight", c.width, kInner, c.width), writer.zeros(at + "mlp.c_fc.bias", kInner);
      writer.matrix(at + "mlp.c_proj.weight", kInner, c.width, kInner), writer.zeros(at + "mlp.c_proj.bias", c.width);
    } else {
      writer.gain(at + "post_attention_layernorm.weight", c.width);
      for (const char* name : {"gate_proj", "up_proj"}) writer.matrix(at + "mlp." + name + ".weight", kInner, c.width, c.width);
      writer.matrix(at + "mlp.down_proj.weight", c.width, kInner, kInner);
    }
  }
  writer.gain(isGpt2 ? "ln_f.weight" : "model.norm.weight", c.width);
  if (isGpt2) writer.zeros("ln_f.bias", c.width);
  if (!isGpt2) writer.table("lm_head.weight", kBytes, c.width);
}

}  // namespace

std::string SyntheticCheckpoint::queryName(int64_t layer) const {
  if (family == Family::Gpt2) return prefix(*this, layer) + "attn.c_attn.weight";
  return prefix(*this, layer) + (family == Family::Llama ? "self_attn.q_proj.weight" : "self_attn.q_b_proj.weight");
}
std::string SyntheticCheckpoint::keyName(int64_t layer) const {
  return family == Family::Gpt2 ? queryName(layer) : prefix(*this, layer) + "self_attn.k_proj.weight";
}
std::string SyntheticCheckpoint::valueName(int64_t layer) const {
  return family == Family::Gpt2 ? queryName(layer) : prefix(*this, layer) + "self_attn.v_proj.weight";
}
std::string SyntheticCheckpoint::outputName(int64_t layer) const {
  return prefix(*this, layer) + (family == Family::Gpt2 ? "attn.c_proj.weight" : "self_attn.o_proj.weight");
}
std::string SyntheticCheckpoint::keyValueUpName(int64_t layer) const { return prefix(*this, layer) + "self_attn.kv_b_proj.weight"; }

void SyntheticCheckpoint::write(const std::filesystem::path& folder) const {
  std::filesystem::create_directories(folder);
  Writer writer(*this);
  for (int64_t l = 0; l < layers; ++l) {
    const std::string at = prefix(*this, l);
    switch (family) {
      case Family::Gpt2:
        writer.matrix(queryName(l), width, 3 * width, width);
        writer.zeros(at + "attn.c_attn.bias", 3 * width);
        writer.matrix(outputName(l), width, width, width);
        writer.zeros(at + "attn.c_proj.bias", width);
        writer.gain(at + "ln_1.weight", width);
        writer.zeros(at + "ln_1.bias", width);
        break;
      case Family::Llama:
        writer.matrix(queryName(l), heads * headWidth, width, width);
        writer.matrix(keyName(l), kvHeads * headWidth, width, width);
        writer.matrix(valueName(l), kvHeads * headWidth, width, width);
        writer.matrix(outputName(l), width, heads * headWidth, heads * headWidth);
        writer.gain(at + "input_layernorm.weight", width);
        break;
      case Family::DeepSeekV3:
        writer.matrix(at + "self_attn.q_a_proj.weight", queryRank, width, width);
        writer.gain(at + "self_attn.q_a_layernorm.weight", queryRank);
        writer.matrix(queryName(l), heads * (nope + rope), queryRank, queryRank);
        writer.matrix(at + "self_attn.kv_a_proj_with_mqa.weight", latentRank + rope, width, width);
        writer.gain(at + "self_attn.kv_a_layernorm.weight", latentRank);
        writer.matrix(keyValueUpName(l), heads * (nope + headWidth), latentRank, latentRank);
        writer.matrix(outputName(l), width, heads * headWidth, heads * headWidth);
        writer.gain(at + "input_layernorm.weight", width);
        break;
    }
  }
  if (isRunnable) addRest(*this, writer);
  writer.write(folder / "model.safetensors");
  if (isRunnable) writeFileWhole(folder / "tokenizer.json", [](std::ostream& out) { out << byteTokenizer().dump() << "\n"; });
  writeFileWhole(folder / "config.json", [&](std::ostream& out) { out << configOf(*this).dump(1) << "\n"; });
}

}  // namespace headscope::core
