#pragma once
// LayerFactors: one layer's weights as named sets of factors, one a head, that every spectrum is made of: W_QK is the pair
// ("Q", "K"), W_QK_nope_latent the pair ("UQ_nope", "UK"). Cores (factored_matrix.h) are computed once a factor and shared.
//
// Residual-stream forms of MLA: the factor W_DQ W_UQ,h of width d has the same Gram matrix as W_UQ,h^T R^T where R is the
// triangle of W_DQ's thin QR, so it is kept as `rows` (W_UQ,h^T) and `through` (R), in latent width.
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/weights/factored_matrix.h"
#include "core/weights/head_weights.h"
#include "core/weights/input_statistics.h"

namespace headscope::core {

class Job;
struct HeadMap;

struct FactorSet {
  std::vector<ConstMatrixView> rows;            // per head [k, m]
  std::shared_ptr<const DoubleMatrix> through;  // [m, m]: the factor is rows * through^T; null: the rows themselves
  std::string module;                           // where the numbers are stored, for notes
  std::string throughModule;                    // and those of `through`
  std::vector<FactorCore> cores;                // per head, when computed
  std::string whole;                            // a set whose factors hold these as rows from firstRow on; "": none
  int64_t firstRow = 0;
  std::function<DoubleMatrix(int64_t head)> inDouble;  // the rows with gains folded in double, which float32 rounds; null: `rows` are exact

  int64_t heads() const { return static_cast<int64_t>(rows.size()); }
  /// False where cores were made from the stored numbers: `rows` then hold shapes only.
  bool hasRows() const { return !rows.empty() && rows.front().data != nullptr; }
  /// The factor in double, for the Householder route.
  DoubleMatrix exact(int64_t head) const;
};

/// A matrix as factors: left^T M right; right "" for a factor on its own.
struct MatrixPlan {
  std::string name;         // "W_QK@3"
  std::string left, right;  // set names
  std::optional<int64_t> offset;
};

class LayerFactors {
 public:
  /// plans decide which sets are made. isExact: triangles of shared projections by Householder QR, gains folded in double.
  /// input: the reading factors seen through the input's covariance (F R^T in place of F); null: as they are.
  /// keepsRows false: what cores can be had of from the stored numbers directly (not exact, no input: all of standard attention, of
  /// latent attention W_O) is not decoded to float32; weights() then lacks it and exactSpectrum() is not to be asked (see hasRows()).
  /// withCores false: no cores where rows are kept, the caller has them computed elsewhere.
  LayerFactors(const Model& model, int64_t layer, Fold fold, MlaSplit split, const std::vector<MatrixPlan>& plans, bool isExact,
               const Job& job, const LayerInput* input = nullptr, bool keepsRows = true, bool withCores = true);

  const HeadWeights& weights() const { return weights_; }
  bool hasRows(const MatrixPlan& plan) const;
  const FactorSet& set(const std::string& name) const { return sets_.at(name); }
  /// Left and right factor index of head h of a plan: the head, its key/value head, or the one shared factor.
  int64_t indexIn(const FactorSet& set, int64_t head) const;
  /// Heads a plan has a matrix for: query heads, or key/value heads for W_K and W_V.
  int64_t headsOf(const MatrixPlan& plan) const;
  /// R(offset) on the plan's inner dimensions; null without an offset.
  std::unique_ptr<const DoubleMatrix> middle(const MatrixPlan& plan) const;
  /// Gram route, from cores, of heads [first, first + count). The caller escalates.
  std::vector<Spectrum> gramSpectra(const MatrixPlan& plan, int64_t first, int64_t count, const DoubleMatrix* middle) const;
  Spectrum exactSpectrum(const MatrixPlan& plan, int64_t head, const DoubleMatrix* middle) const;
  /// All sets by name.
  const std::map<std::string, FactorSet>& sets() const { return sets_; }
  /// NaN and infinite factors by stored name and head; from cores where there are some, else from the rows.
  std::vector<std::string> notes() const;
  /// What is said of a head whose factor is not finite.
  static std::string note(const FactorSet& set, int64_t head);

 private:
  void addStandard(const AttentionWeights& attention, const LayerInput* input);
  void foldStandardInDouble(const AttentionWeights& attention, bool isCentred);
  void foldLatentInDouble(const AttentionWeights& attention, const Job& job);
  void addLatent(const AttentionWeights& attention, const std::vector<MatrixPlan>& plans, bool isExact, const Job& job);
  void addStreamed(const Model& model, const std::vector<MatrixPlan>& plans, const Job& job);
  std::vector<float> addFromStored(const char* name, const HeadMap& map, const Job& job);
  void computeCores(const Job& job);
  bool keepsRows_ = true;
  HeadWeights weights_;
  RopeSpec rope_;
  std::vector<float> gain_;           // of the attention norm, where it is folded
  bool makesTrianglesLater_ = false;  // those that foldLatentInDouble() makes
  std::map<std::string, FactorSet> sets_;
  std::vector<Matrix> owned_;
};

/// Matrices of a model in the order they are reported, as the golden data names them. offsets add W_QK@n (and W_QK_rope@n).
/// Throws Error when offsets are asked of a model without rotary positions.
std::vector<MatrixPlan> matrixPlans(const ModelSpec& spec, const std::vector<int64_t>& offsets);
/// R(offset) over `dims` rotary dimensions that start at `first` of `width`, row-vector convention: q R.
DoubleMatrix rotationMatrix(const RopeSpec& rope, int64_t width, int64_t first, int64_t offset);

}  // namespace headscope::core
