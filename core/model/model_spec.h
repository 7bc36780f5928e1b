#pragma once
// ModelSpec: what config.json says about a model, validated once, immutable. It names shapes and rules, never tensors: which
// tensor plays which role is Model's business, through the family table (families/family.h). The forward pass and every
// analysis read only this and Model, so nothing outside families/ knows a family's name.
// Letters: L layers, d width (d_model), H query heads, G key/value heads, k head width (of queries and keys), N tokens.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace headscope::core {

enum class NormKind { LayerNorm, RmsNorm };  // RmsNorm gains are stored ready to multiply (Gemma's 1 + w is added on loading)
/// Where norms sit: before each block (most), after each block's residual sum (BERT), before and after each block (Gemma 2).
enum class NormPlacement { Before, AfterSum, BeforeAndAfter };
enum class PositionKind { None, Learned, Rope };
enum class Activation { GeluErf, GeluTanh, GeluQuick, Silu, Relu, ReluSquared, Tanh, Sigmoid, Identity };
enum class InputKind { Tokens, Image };
enum class HeadKind { CausalLanguage, MaskedLanguage, Classifier, None };  // what the logits are

/// Rotary positions. Pair i turns by position * frequencies[i]. Rotate-half pairs (i, i + dims/2); interleaved (2i, 2i + 1).
/// The frequencies are float32 numbers, rounded step by step as Hugging Face rounds them, and the angle is their float32 product
/// with the position: at position 500 a frequency in double would turn by 3e-5 more or less than the model was trained with.
struct RopeSpec {
  int64_t dims = 0;  // rotated dimensions of a head, even, <= k; the rest pass through
  bool isInterleaved = false;
  double base = 10000.0;
  std::string scaling = "default";  // "default", "linear", "llama3", "yarn", for display
  std::vector<double> frequencies;  // [dims / 2], radians a token, after scaling
  double magnitude = 1.0;           // factor on cos and sin (YaRN's attention factor)
};

/// Multi-head latent attention (DeepSeek-V2 report). queryRank 0: queries come straight from the residual stream.
/// Then k = nope + rope, values have valueWidth, and all heads share the rotary key.
struct MlaSpec {
  int64_t queryRank = 0, latentRank = 0, nope = 0, rope = 0;
  double normEps = 1e-6;  // of the two latent norms, whatever the model's own is
};

struct MoeSpec {
  enum class Scoring { Softmax, Sigmoid };
  enum class GroupScore { None, Max, SumOfTopTwo };
  int64_t experts = 0, expertsPerToken = 0, sharedExperts = 0, expertIntermediate = 0;
  int64_t groups = 1, groupsPerToken = 1;
  Scoring scoring = Scoring::Softmax;
  GroupScore groupScore = GroupScore::None;
  bool hasCorrectionBias = false;  // chosen by score + bias, weighted by score
  bool isNormalised = false;       // chosen weights divided by their sum
  double scale = 1.0;              // routed_scaling_factor
};

struct LayerSpec {
  int64_t window = 0;  // keys a query sees, itself included; 0: all
  bool isMoe = false;
  int64_t intermediate = 0;
  double attentionScale = 1.0;  // multiplies q.k
};

/// How tensors are stored, for those who read them; Model has resolved all of it.
struct StorageSpec {
  bool hasQkvBias = false, hasOutputBias = false;  // of the attention's projections
  bool hasMlpBias = false;
  bool isGainLessOne = false;                // the stored norm gain is the factor - 1 (Gemma)
  int64_t blockRows = 128, blockCols = 128;  // of float8 block scales
};

struct ImageSpec {
  int64_t height = 0, width = 0, patch = 0, channels = 3;
  int64_t patches() const { return (height / patch) * (width / patch); }
};

struct ModelSpec {
  std::string family;                      // model_type of config.json ("llama")
  std::string familyTitle;                 // for people ("Llama")
  std::vector<std::string> architectures;  // classes that config.json names ("LlamaForCausalLM"), may be empty

  int64_t layers = 0, width = 0, heads = 0, kvHeads = 0, headWidth = 0 /* q and k */, valueWidth = 0;
  int64_t vocabulary = 0, context = 0;
  InputKind input = InputKind::Tokens;
  HeadKind head = HeadKind::CausalLanguage;
  bool isCausal = true;

  NormKind norm = NormKind::RmsNorm;
  NormPlacement normPlacement = NormPlacement::Before;
  double normEps = 1e-5;
  bool isParallelResidual = false;  // attention and MLP both read the block's input (NeoX)
  bool hasEmbeddingNorm = false;    // BERT
  bool hasFinalNorm = true;
  bool hasHeadNorms = false;  // Qwen 3's RMS norm of each query and key head

  PositionKind positions = PositionKind::Rope;
  RopeSpec rope;
  int64_t positionOffset = 0;  // added to positions before the learned table is read
  int64_t segments = 0;        // token types; 0: none

  Activation activation = Activation::Silu;
  bool isGatedMlp = true;
  double embeddingScale = 1.0;
  double attentionSoftcap = 0.0;  // c * tanh(s / c) before the mask; 0: none
  double logitSoftcap = 0.0;
  bool isTied = false;  // unembedding is the embedding
  int64_t classes = 0;  // of a Classifier

  std::optional<MlaSpec> mla;
  std::optional<MoeSpec> moe;
  std::optional<ImageSpec> image;
  StorageSpec storage;
  std::vector<LayerSpec> layer;    // [L]
  std::vector<std::string> notes;  // what was set aside and why ("1 next-token module after the last layer is not shown")

  /// Key/value head that query head h reads.
  int64_t kvHeadOf(int64_t h) const { return h * kvHeads / heads; }
};

/// Reads the text of a config.json; `where` names it in errors. Keys that are absent mean what they mean to Hugging Face.
/// Throws Error naming the field: not JSON, wrong type or out of range, unknown family (with the known ones), anything the
/// config asks for that is not supported.
ModelSpec parseModelSpec(const std::string& text, const std::string& where);

}  // namespace headscope::core
