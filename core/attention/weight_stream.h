#pragma once
// WeightStream: how a forward pass walks over a model that memory can't hold: layer by layer from the mapped files, giving each
// layer's pages back once it has run. Below that size it does nothing. Nothing is copied; routed experts that no token visits are
// never read.
#include <cstdint>
#include <string>

#include "core/model/model.h"

namespace headscope::core {

/// Bytes that a layer's matrices take in the files, each stored tensor once; all experts together.
uint64_t storedBytes(const LayerWeights& layer);

class WeightStream {
 public:
  /// memoryBytes: what the weights of layers 0 .. layers - 1 may fill. Looks at every layer's views, about 10 microseconds each.
  WeightStream(const Model& model, int64_t layers, uint64_t memoryBytes);

  bool isStreaming() const { return bytes_ > memoryBytes_; }
  uint64_t bytes() const { return bytes_; }
  /// "layer 3 of 61", and while streaming "layer 3 of 61, read from disk (685 GB, 20 GB of memory free)".
  std::string stage(int64_t layer) const;
  /// To be called when a layer has run.
  void release(const LayerWeights& layer) const;

 private:
  int64_t layers_;
  uint64_t bytes_ = 0, memoryBytes_;
};

}  // namespace headscope::core
