#pragma once
// Spectra: singular values of every head's matrices, layer by layer, with the layer's shared and whole matrices beside them.
// One layer is decoded at a time; a layer that was computed before comes from the disk cache, which is also how a stopped run
// goes on. NaN and infinite weights mark their head and are named; the rest is computed.
// Definitions: docs and golden README; routes and accuracy: factored_matrix.h.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/weights/bias_share.h"
#include "core/weights/disk_cache.h"
#include "core/weights/head_weights.h"
#include "core/weights/spectrum.h"

namespace headscope::core {

class Backend;
class Job;
struct LayerInput;

struct SpectraOptions {
  Fold fold = Fold::On;  // as defaultFold() says for the model
  MlaSplit split = MlaSplit::Heads;
  std::vector<std::string> matrices;  // empty: all per-head ones, and MLA's shared projections
  std::vector<int64_t> offsets;       // W_QK@n
  SpectrumRoute route = SpectrumRoute::Gram;
  std::vector<double> epsilons = {0.01, 0.001};  // effective ranks that must not depend on rounding
  std::shared_ptr<Backend> backend;              // takes over what it supports of the Gram route; null: all here
};

struct MatrixSpectra {
  std::string name;             // "W_QK"
  std::vector<Spectrum> heads;  // one a query head; a key/value head for W_K, W_V; one for a whole matrix
  bool isWhole = false;
  PowerLaw tail;  // of a whole matrix
};

struct LayerSpectra {
  int64_t layer = 0;
  std::vector<MatrixSpectra> matrices;
  std::vector<std::string> notes;  // NaN and infinite weights by stored name and head
  bool isFromCache = false;

  const MatrixSpectra* find(const std::string& name) const;
};

/// Names that SpectraOptions::matrices may hold, in order: the per-head ones of the golden data, MLA's W_DQ, W_DKV, W_KR, and
/// "whole_W_Q" ...: a layer's heads stacked, for heavy tails.
std::vector<std::string> spectraNames(const ModelSpec& spec, const std::vector<int64_t>& offsets);

/// The layer seen through the input's covariance (input_statistics.h), both sides of W_QK and the reading side of W_OV; W_O as it
/// is. options.fold must be Off: gains are in the input. `shares` (when given) receives the bias shares of options.matrices.
LayerSpectra weightedLayerSpectra(const Model& model, int64_t layer, const SpectraOptions& options, const LayerInput& input, const Job& job,
                                  std::vector<BiasShare>* shares = nullptr);

/// One layer. Throws Error: unknown matrix name, fold that is refused, missing tensors; Cancelled.
LayerSpectra layerSpectra(const Model& model, int64_t layer, const SpectraOptions& options, const Job& job);

/// Every layer in order, from the cache where it holds them; `done` gets each as it is finished. Cancelled leaves what was
/// done in the cache. Progress is reported by layer.
void eachLayerSpectra(const Model& model, const SpectraOptions& options, const DiskCache& cache, Job& job,
                      const std::function<void(LayerSpectra)>& done);

/// The cache's form of a layer: packed little-endian. parse returns false on anything that is not one.
std::string packSpectra(const LayerSpectra& spectra);
bool parseSpectra(std::string_view bytes, LayerSpectra& spectra);

}  // namespace headscope::core
