#pragma once
// Attention by feature maps: A_ij = phi(q_i).phi(k_j) / sum_j' phi(q_i).phi(k_j'), in time and memory linear in N: running sums
// S = sum phi(k_j) v_j^T [m, v] and z = sum phi(k_j) [m] (Katharopoulos 2020). Causal rows go in chunks of 128: what came
// before the chunk through S and z, the chunk itself as a lower triangle.
//
// Features may be given as logarithms (positive features that would overflow): each feature is then kept relative to its
// largest key so far and each query relative to its own largest term, which cancels in the quotient, so no row can overflow
// and none can lose all its keys.
#include <memory>
#include <mutex>

#include "core/mechanisms/mechanism_kind.h"
#include "core/mechanisms/products.h"

namespace headscope::core {

class FeatureMap {
 public:
  virtual ~FeatureMap() = default;
  virtual int64_t count() const = 0;       // m
  virtual bool isLogarithmic() const = 0;  // features are exp of what the functions below write
  virtual void queries(ConstMatrixView rows, MatrixView features, Work& work) const = 0;  // [n, k] -> [n, m]
  virtual void keys(ConstMatrixView rows, MatrixView features, Work& work) const = 0;     // [n, k] -> [n, m]
  virtual double bytes() const = 0;                                                       // held by the map itself
};

class FeatureRun : public HeadRun {
 public:
  FeatureRun(const HeadInput& input, std::shared_ptr<const FeatureMap> map, std::vector<std::string> notes, std::string featureFormula);
  void output(MatrixView out, Job& job) const override;
  void mapRows(int64_t first, int64_t count, MatrixView rows, Job& job) const override;
  Cost cost() const override;
  std::vector<int64_t> emptyRows() const override;
  std::vector<std::string> notes() const override { return notes_; }

  static constexpr int64_t kChunk = 128;

 private:
  struct State;
  struct Chunk;
  void addKeys(int64_t first, int64_t count, State& state, Chunk& chunk, Work& work) const;
  void answer(int64_t first, int64_t count, const State& state, Chunk& chunk, MatrixView out, Work& work,
              std::vector<int64_t>& empty) const;
  void recomputeRow(int64_t row, int64_t within, const State& state, const Chunk& chunk, float* out) const;
  bool isCausal_;
  ConstMatrixView query_, key_, value_;
  std::shared_ptr<const FeatureMap> map_;
  std::vector<std::string> notes_;
  std::string featureFormula_;
  mutable std::mutex mutex_;
  mutable Cost cost_;
  mutable std::vector<int64_t> empty_;
};

}  // namespace headscope::core
