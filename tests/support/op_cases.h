#pragma once
// Sizes, strides and settings at which every Backend operation is compared with a naive loop in double. One table for the CPU's
// tests, a GPU's check and the benches. Knows no test framework.
#include <cstdint>
#include <vector>

#include "core/backend/attention_rule.h"
#include "core/model/model_spec.h"
#include "core/tensor/dtype.h"

namespace headscope::tests {

/// True: checks leave out their large cases, for runs under a sanitizer of the device.
inline bool& onlySmallCases() {
  static bool isOnly = false;
  return isOnly;
}
inline bool isLeftOut(int64_t size, int64_t limit) { return onlySmallCases() && size > limit; }

struct LinearCase {
  int64_t rows, inputs, outputs;
  core::DType dtype = core::DType::F32;
  bool isInByOut = false;
  bool hasBias = false;
  int64_t rank = 0;          // of an adapter's change; 0: none
  bool hasRowScale = false;  // DoRA
  bool isAdded = false;      // Into::Add
  int64_t groups = 1;        // weights lie in this many groups of rows, as fused matrices have them
};

inline const std::vector<LinearCase>& linearCases() {
  using core::DType;
  static const std::vector<LinearCase> cases = {
      {1, 1, 1},
      {1, 64, 48, DType::F32, false, true},
      {2, 3, 5},
      {7, 33, 129, DType::F32, false, true},
      {65, 130, 300},
      {48, 64, 192, DType::F32, true, true},
      {1, 64, 192, DType::F32, true, true},
      {13, 96, 40, DType::F16},
      {1, 96, 40, DType::F16},
      {13, 96, 40, DType::BF16, false, true},
      {5, 1100, 70, DType::BF16},
      {3, 9001, 20, DType::BF16},
      {9, 64, 96, DType::BF16, true},
      {33, 200, 150, DType::F8_E4M3},
      {1, 200, 150, DType::F8_E4M3},
      {9, 64, 96, DType::F16, true},
      {600, 40, 530},
      {12, 32, 48, DType::F32, false, true, 4},
      {12, 32, 48, DType::BF16, false, false, 3},
      {12, 32, 48, DType::F32, false, true, 4, true},
      {12, 32, 48, DType::F16, false, true, 0, true},
      {31, 64, 64, DType::F32, false, true, 0, false, true},
      {31, 64, 64, DType::F32, true, false, 4, false, true},
      {20, 40, 48, DType::F32, false, false, 0, false, false, 4},
      {20, 40, 48, DType::BF16, false, true, 0, false, false, 3},
  };
  return cases;
}

struct AttentionCase {
  int64_t count;  // N
  core::AttentionRule rule;
  double spread = 1.0;  // size of queries and keys: large makes maps sharp
};

inline const std::vector<AttentionCase>& attentionCases() {
  const auto rule = [](int64_t heads, int64_t kvHeads, int64_t k, int64_t v, double softcap = 0, int64_t window = 0, bool isCausal = true) {
    return core::AttentionRule{heads, kvHeads, k, v, 0.25, softcap, window, isCausal};
  };
  static const std::vector<AttentionCase> cases = {
      {1, rule(1, 1, 1, 1)},
      {1, rule(3, 1, 64, 64)},
      {2, rule(1, 1, 2, 3)},
      {3, rule(2, 1, 5, 7, 0, 0, false)},
      {63, rule(4, 2, 16, 16)},
      {64, rule(2, 2, 24, 24)},
      {65, rule(3, 3, 33, 17)},
      {130, rule(2, 1, 64, 64)},
      {130, rule(2, 1, 64, 64, 5.0)},
      {300, rule(2, 2, 32, 32)},
      {300, rule(2, 2, 32, 32, 0, 0, false)},
      {300, rule(2, 1, 32, 32, 0, 16)},
      {300, rule(1, 1, 32, 32, 3.0, 100)},
      {300, rule(1, 1, 32, 32, 0, 1)},
      {97, rule(2, 2, 16, 16, 0, 9, false)},
      {140, rule(2, 2, 192, 128)},
      {600, rule(1, 1, 8, 8), 6.0},
      {600, rule(1, 1, 8, 8, 0, 0, false), 6.0},
      {90, rule(6, 3, 1, 1), 3.0},
      {130, rule(1, 1, 256, 256)},
      {4096, rule(1, 1, 8, 8)},
  };
  return cases;
}

struct TileCase {
  int64_t count;
  core::AttentionRule rule;
};

inline const std::vector<TileCase>& tileCases() {
  const auto rule = [](double softcap, int64_t window, bool isCausal) {
    return core::AttentionRule{2, 1, 16, 16, 0.25, softcap, window, isCausal};
  };
  static const std::vector<TileCase> cases = {
      {1, rule(0, 0, true)},    {5, rule(0, 0, true)},    {64, rule(0, 0, true)},  {150, rule(0, 0, true)},
      {150, rule(4, 0, false)}, {257, rule(0, 20, true)}, {530, rule(0, 0, true)},
  };
  return cases;
}

/// One head under a mask: rows see what `sees` says.
struct MaskCase {
  const char* name;
  int64_t queries, keys, keyWidth, valueWidth;
  bool (*sees)(int64_t query, int64_t key);
  double softcap = 0, slope = 0, spread = 1;
};

inline const std::vector<MaskCase>& maskCases() {
  static const std::vector<MaskCase> cases = {
      {"one key", 1, 1, 1, 1, [](int64_t, int64_t) { return true; }},
      {"nothing", 70, 70, 8, 8, [](int64_t, int64_t) { return false; }},
      {"everything", 65, 129, 33, 17, [](int64_t, int64_t) { return true; }},
      {"causal", 130, 130, 64, 64, [](int64_t i, int64_t j) { return j <= i; }},
      {"strided", 150, 150, 16, 24, [](int64_t i, int64_t j) { return j <= i && (i - j < 5 || j % 8 == 0); }, 0, 0, 3},
      {"rows that see nothing", 200, 150, 24, 24, [](int64_t i, int64_t j) { return i % 7 != 3 && j <= i && j + 20 > i; }, 6.0},
      {"linear bias", 140, 140, 40, 40, [](int64_t i, int64_t j) { return j <= i; }, 0, 0.05},
      {"sinks and window", 300, 300, 192, 128, [](int64_t i, int64_t j) { return j <= i && (j < 4 || i - j < 30); }},
      {"blocks", 330, 330, 256, 256, [](int64_t i, int64_t j) { return i / 48 == j / 48 || (i / 48 + j / 48) % 5 == 0; }},
      {"few", 40, 40, 12, 9, [](int64_t i, int64_t j) { return j <= i && (i - j < 20 || j % 3 == 0) && i != 5; }, 4.0, 0.05, 2},
      {"few queries of many keys", 5, 700, 20, 10, [](int64_t i, int64_t j) { return (j * 7 + i) % 11 < 4; }, 0, 0, 4},
  };
  return cases;
}

struct RowsCase {
  int64_t rows, cols, groups;
};

inline const std::vector<RowsCase>& rowsCases() {
  static const std::vector<RowsCase> cases = {{1, 1, 1}, {1, 64, 1}, {3, 7, 1}, {5, 96, 4}, {129, 33, 3}, {2, 5000, 1}, {300, 128, 2}};
  return cases;
}

/// A product left^T M right of two factors, and each factor on its own.
struct SpectraCase {
  int64_t leftRank, leftWidth, rightRank, rightWidth;
  double decades = 0;       // planted singular values from 1 to 10^-decades; 0: random numbers
  bool hasThrough = false;  // the left factor is seen through a square matrix
  bool hasMiddle = false;
  bool dependentRows = false;  // the left factor has half its rank
};

inline const std::vector<SpectraCase>& spectraCases() {
  static const std::vector<SpectraCase> cases = {
      {1, 1, 1, 1},
      {2, 3, 2, 5},
      {5, 3, 5, 40},  // more rows than columns
      {16, 96, 16, 96},
      {33, 120, 33, 64},
      {64, 768, 64, 768},
      {24, 40, 12, 80, 0, false, true},
      {12, 40, 24, 80, 0, false, true},
      {32, 48, 32, 100, 0, true},
      {24, 48, 24, 48, 8},
      {32, 100, 32, 80, 5},
      {32, 100, 32, 100, 5, true},
      {16, 64, 16, 64, 0, false, false, true},
      {128, 300, 128, 257},
      {192, 400, 192, 200, 0, false, true},
  };
  return cases;
}

}  // namespace headscope::tests
