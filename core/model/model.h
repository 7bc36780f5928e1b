#pragma once
// Model: a checkpoint with its spec: which tensor plays which role, layer by layer, with the adapter's factors beside the
// base weights. Nothing is decoded here except vectors (gains, biases); matrices stay WeightViews into the mapped files.
//
//   auto model = Model::open(folder);                        // reads config.json and headers
//   auto adapted = model->withAdapter(adapter, 1.0);         // same mapping, factors beside
//   LayerWeights w = model->layer(3);                        // cheap; throws Error listing what the layer lacks
//
// Immutable and thread-safe.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/checkpoint/checkpoint.h"
#include "core/checkpoint/weight_view.h"
#include "core/model/model_spec.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

class Adapter;  // core/model/adapter.h
struct Family;  // core/model/families/family.h

/// A low-rank change beside a linear map: y += up (down x), strength and PEFT scale already inside `up`.
/// DoRA: see LinearChange. Modules that an adapter saved whole are the Linear's weight, bias or norm already.
struct LowRank {
  Matrix down;  // [r, in]
  Matrix up;    // [out, r]
};

/// What an adapter does to one linear map (the outputs of this view only, in its order).
struct LinearChange {
  std::vector<LowRank> terms;   // usually one, none for a change of scale only
  std::vector<float> rowScale;  // [out] DoRA: y = rowScale * (W x + terms) before the bias; empty: none
};

struct Linear {
  WeightView weight;                           // y = x W^T + bias
  std::vector<float> bias;                     // [out] or empty; adapter biases already in
  std::shared_ptr<const LinearChange> change;  // null without an adapter
  std::string module;                          // module path in the checkpoint, without ".weight"
  bool empty() const { return weight.empty(); }
  int64_t outputs() const { return weight.outputs(); }
  int64_t inputs() const { return weight.inputs(); }
};

struct NormWeights {
  std::vector<float> gain;  // [width] ready to multiply (1 + w already added); empty: the norm is absent
  std::vector<float> bias;  // [width] or empty
  bool empty() const { return gain.empty(); }
};

struct AttentionWeights {
  Linear query, key, value;        // [H*k, d], [G*k, d], [G*v, d]; empty under MLA except query when there is no query latent
  Linear output;                   // [d, H*v]
  NormWeights queryNorm, keyNorm;  // [k], Qwen 3
  // MLA
  Linear queryDown, queryUp;   // [q_rank, d], [H*(nope+rope), q_rank]
  Linear latentDown, ropeKey;  // [latent, d], [rope, d]: the two parts of kv_a_proj_with_mqa
  Linear keyUp, valueUp;       // [H*nope, latent], [H*v, latent]: per-head rows of kv_b_proj
  NormWeights queryLatentNorm, latentNorm;
};

struct MlpWeights {
  Linear up, gate, down;  // gate empty when not gated
};

struct MoeWeights {
  Linear router;                    // [experts, d]
  std::vector<float> routerBias;    // [experts] correction bias or empty
  std::vector<MlpWeights> experts;  // views only: decoded when a token is routed there
  MlpWeights shared;                // empty when none
};

struct LayerWeights {
  NormWeights attentionNorm, mlpNorm;          // before the block (AfterSum: after the sum)
  NormWeights attentionPostNorm, mlpPostNorm;  // BeforeAndAfter only
  AttentionWeights attention;
  MlpWeights mlp;
  MoeWeights moe;  // when LayerSpec::isMoe
};

struct EmbeddingWeights {
  WeightView tokens;     // rows are vocabulary entries [vocab, d]
  WeightView positions;  // [context, d] or empty
  WeightView segments;   // [types, d] or empty
  NormWeights norm;      // BERT
  // Image input
  WeightView patch;               // [d, channels*patch*patch]
  std::vector<float> patchBias;   // [d]
  std::vector<float> classToken;  // [d]
};

struct HeadWeightsOnTop {  // from the last residual stream to logits
  NormWeights finalNorm;
  Linear transform;  // BERT's dense before decoding, or empty
  Activation transformActivation = Activation::GeluErf;
  NormWeights transformNorm;
  Linear unembedding;  // [vocab or classes, d]; empty when the checkpoint has none
};

class BoundAdapter;  // core/model/bound_adapter.h
class RoleReader;    // core/model/role_reader.h

class Model {
 public:
  /// FOLDER holds config.json and safetensors. Throws Error: unknown family (named, with the known ones), settings that are
  /// not supported (named), shapes that disagree with config (both named). Missing tensors don't fail here: see missing().
  static std::shared_ptr<const Model> open(const std::filesystem::path& folder);

  /// The same weights with an adapter's factors beside them at strength t (default: 1). Throws Error when the adapter does not fit.
  std::shared_ptr<const Model> withAdapter(std::shared_ptr<const Adapter> adapter, double strength = 1.0) const;
  /// The model without its adapter (itself when it has none).
  std::shared_ptr<const Model> withoutAdapter() const;

  const ModelSpec& spec() const { return spec_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  std::string name() const;  // the folder's name
  const std::filesystem::path& folder() const { return checkpoint_->folder(); }
  const Adapter* adapter() const { return adapter_.get(); }
  double strength() const { return strength_; }

  // Weights: each throws Error too when another program has cut a file of the model or of its adapter short.
  EmbeddingWeights embedding() const;
  /// Throws Error listing every tensor that the layer lacks.
  LayerWeights layer(int64_t index) const;
  /// The attention part alone, for weight views: works while other tensors of the layer are missing.
  NormWeights attentionNorm(int64_t index) const;
  AttentionWeights attention(int64_t index) const;
  HeadWeightsOnTop head() const;

  /// Names of tensors that a full forward pass needs and the folder lacks; empty when complete.
  const std::vector<std::string>& missing() const { return missing_; }
  /// True when every attention tensor of the layer is there.
  bool hasAttention(int64_t index) const;
  /// Reads no weights, as missing() and hasAttention().
  bool hasUnembedding() const;
  /// Numbers that the model's roles use (a tied unembedding counts once).
  int64_t parameters() const { return parameters_; }
  /// What is set aside and why: of the config, tensors of the checkpoint that no role uses, adapter tensors that act on nothing shown.
  std::vector<std::string> notes() const;

 private:
  Model() = default;
  RoleReader reader(bool isSurvey = false) const;
  void readAll(RoleReader& reader) const;
  void survey();

  ModelSpec spec_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  const Family* family_ = nullptr;
  std::string prefix_, topPrefix_;  // found at opening: "transformer.", "model.", ...
  std::vector<std::string> missing_, notes_;
  int64_t parameters_ = 0;
  std::shared_ptr<const Adapter> adapter_;
  std::shared_ptr<const BoundAdapter> bound_;
  double strength_ = 1.0;
};

}  // namespace headscope::core
