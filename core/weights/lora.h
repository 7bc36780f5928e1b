#pragma once
// Lora: what an adapter changed in every head: dW_QK = W_QK(after) - W_QK(base) and dW_OV, without forming a d x d matrix.
//
// With F_Q -> F_Q + C_Q D_Q and so on (lora_sides.h), dW_QK = F_Q^T C_K D_K + (C_Q D_Q)^T F_K + (C_Q D_Q)^T (C_K D_K), rank at most
// r_q + r_k, from k x k and r x r inner products. Nothing is folded (inner norms' gains are always). Rotary positions put R(Delta)
// between the factors (default: offset 0). Under multi-head latent attention the matrices are those of the residual stream, W_QK the
// joint one (both parts), its latent norms' division left out as in spectra.h; the product rule is in lora_sides.h.
// Sources: PEFT's LoRA, rsLoRA, DoRA; intruder dimensions: arXiv 2410.21228; principal angles: Bjorck & Golub 1973.
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/model/model.h"
#include "core/weights/spectrum.h"

namespace headscope::core {

class Backend;
class Job;

/// One circuit (QK or OV) of one head. Terms: the change of the first side alone (Q or V), of the second alone (K or O), both.
struct LoraCircuit {
  Spectrum before, after;  // [k]
  Spectrum change;         // [min(d, 2k)], zeros beyond the rank
  double relative = 0;     // ||dW|| / ||W||, infinite when the base is zero and the change is not
  std::array<double, 3> termNorms{};
  std::array<std::vector<double>, 3> termSigma;     // with details
  int64_t intrudersLeft = -1, intrudersRight = -1;  // of the top 10 after; -1: not computed
};

struct HeadLora {
  int64_t layer = 0, head = 0;
  LoraCircuit qk, ov;
  double shareQ = 0, shareK = 0, shareV = 0, shareO = 0;  // of the module's squared change that lies in this head; 0 when unchanged
  std::vector<double> writeCosines;  // with details: cosines of the principal angles between what the change and the base write
};

/// One adapted module, attention or not.
struct LoraModule {
  std::string path;
  int64_t rank = 0;           // r
  double scale = 0;           // alpha / r or alpha / sqrt(r), times strength
  std::vector<double> sigma;  // of scale B A [r]
  int64_t effectiveRank = 0;  // at 0.1 % energy
  int64_t wastedRank = 0;     // r less that
  bool isAttention = false;
};

/// Intruder dimensions of a whole attention matrix: of the top 10 left singular vectors after, those far from all of the base's.
struct WholeIntruders {
  std::string module;
  int64_t layer = 0, count = 0;
  int64_t undecided = 0;  // of the count and the rest: see intruders.h
};

struct LoraOptions {
  int64_t offset = 0;                // of the query after its key, where the model has rotary positions
  bool withDetails = true;           // term spectra, intruders, principal angles
  int64_t denseIntruderWidth = 256;  // whole matrices up to this width are decomposed; of wider ones only what the count needs
  std::shared_ptr<Backend> backend;  // a device for the heads' inner products and the SVDs of their cores (default: none, the CPU's way)
};

struct LoraLayer {
  int64_t layer = 0;
  std::vector<HeadLora> heads;
  std::vector<WholeIntruders> intruders;
  std::vector<std::string> notes;
};

/// `adapted` is `base` with an adapter. Throws Error: missing tensors, an offset without rotary positions; Cancelled.
LoraLayer layerLora(const Model& base, const Model& adapted, int64_t layer, const LoraOptions& options, const Job& job);

/// Every module that the adapter has factors for.
std::vector<LoraModule> loraModules(const Model& adapted, const Job& job);

}  // namespace headscope::core
