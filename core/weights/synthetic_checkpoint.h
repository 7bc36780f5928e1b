#pragma once
// Synthetic checkpoints: attention weights of any size with random values, and structure planted by the caller, for benchmarks
// at real sizes and for tests that recover what was planted. The other tensors are left out, as weight views need none of them,
// unless the checkpoint is to run a prompt too.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "core/tensor/dtype.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

struct SyntheticCheckpoint {
  enum class Family { Gpt2, Llama, DeepSeekV3 };
  Family family = Family::Llama;
  int64_t layers = 2, width = 64, heads = 4, kvHeads = 4, headWidth = 16;
  // DeepSeek-V3: headWidth is the value width
  int64_t queryRank = 48, latentRank = 32, nope = 16, rope = 8;
  DType dtype = DType::F32;  // F32, BF16, or F8_E4M3 with 128 x 128 block scales (norms stay F32)
  uint64_t seed = 1;
  /// Also a byte tokenizer, an embedding of 256 entries, narrow MLPs, norms and an unembedding: the model runs a prompt.
  bool isRunnable = false;
  /// Changes a tensor before it is written: its name and values as stored. Called for every matrix; null: none.
  std::function<void(const std::string& name, MatrixView values)> plant;

  /// Tensor names, for plant.
  std::string queryName(int64_t layer) const, keyName(int64_t layer) const, valueName(int64_t layer) const, outputName(int64_t layer) const;
  std::string keyValueUpName(int64_t layer) const;  // kv_b_proj

  /// Writes config.json and model.safetensors into `folder`, which is made. Values are independent, of variance 1 / inputs,
  /// and the same for the same seed. One tensor is held at a time.
  void write(const std::filesystem::path& folder) const;
};

}  // namespace headscope::core
