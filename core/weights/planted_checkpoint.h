#pragma once
// PlantedCheckpoint: a synthetic checkpoint (synthetic_checkpoint.h) whose attention weights hold structure that every weight view
// must show at a glance, and an adapter that changes three heads and no other. Beside the planted heads all weights are random.
//
// `build/release/write_planted KIND FOLDER` (tests/planted) writes one; tests recover what was planted from small ones.
#include <array>
#include <filesystem>
#include <string>

#include "core/attention/trace.h"
#include "core/weights/synthetic_checkpoint.h"

namespace headscope::core {

struct PlantedCheckpoint {
  SyntheticCheckpoint weights;  // its plant is set by write()
  /// What `writer` writes is what `reader`'s queries read: W_O of one spans the space of the other's W_Q. Models with two or more
  /// layers and without latent attention.
  HeadRef writer, reader;
  /// W_Q (under MLA the part without positions) of this rank, so W_QK as well.
  HeadRef lowQuery{0, 1};
  int64_t queryRank = 4;
  /// W_V of this rank, so W_OV as well.
  HeadRef lowValue{0, 2};
  int64_t valueRank = 2;
  /// Two heads whose W_O span one space.
  HeadRef pairFirst{0, 0}, pairSecond{0, 3};
  /// The adapter changes the first head's query, the second's value or output, both of the third.
  std::array<HeadRef, 3> adapted{};
  int64_t adapterRank = 8;

  /// "gpt2_12x12", "llama_32x32" (d 4096, bfloat16, 4.4 GB), "deepseek_v3_layer" (128 heads, d 7168, float8), and "gpt2_small",
  /// "llama_small", "deepseek_v3_small" for tests. Throws Error on another name. layers 0: as the name says.
  static PlantedCheckpoint named(const std::string& kind, int64_t layers = 0);
  static const std::array<const char*, 6>& kinds();

  bool hasCircuit() const { return weights.layers > 1 && weights.family != SyntheticCheckpoint::Family::DeepSeekV3; }
  /// FOLDER/model, FOLDER/adapter and FOLDER/planted.txt, which says what was planted.
  void write(const std::filesystem::path& folder) const;
  std::string description() const;
};

}  // namespace headscope::core
