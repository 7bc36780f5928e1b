#pragma once
// CachedResults: LoRA layers, compositions and shared subspaces through the disk cache, by the content of the weights, the adapter and the
// options, so that a model that is opened again shows them at once and a stopped analysis goes on at the layer where it was. Looking one up
// costs a pass over the attention tensors (content_hash.h).
#include <functional>

#include "core/weights/composition.h"
#include "core/weights/disk_cache.h"
#include "core/weights/lora.h"
#include "core/weights/subspace.h"

namespace headscope::core {

/// layerLora through the cache.
LoraLayer cachedLayerLora(const Model& base, const Model& adapted, int64_t layer, const LoraOptions& options, const DiskCache& cache,
                          const Job& job);

/// composition through the cache. Large ones (more than 64 MB) are not kept.
Composition cachedComposition(const Model& model, const CompositionOptions& options, const DiskCache& cache, Job& job);

/// A layer's heads for the subspaces: decoded only where something must be computed.
struct SubspaceSource {
  const Model& model;
  int64_t layer = 0;
  Fold fold = Fold::Off;
  SubspaceSide side = SubspaceSide::Output;
  std::function<const HeadWeights&()> weights;
  std::shared_ptr<Backend> backend{};  // a device for the shared subspace; null: here
};
/// sharedSubspace and subspaceOverlaps through the cache.
SharedSubspace cachedSubspace(const SubspaceSource& source, const DiskCache& cache, const Job& job,
                              const std::function<void(double)>& progress = {});
Matrix cachedOverlaps(const SubspaceSource& source, const DiskCache& cache, const Job& job);

/// The kept forms; parse is false on damage.
std::string packLora(const LoraLayer& layer);
bool parseLora(std::string_view bytes, LoraLayer& layer);
std::string packComposition(const Composition& composition);
bool parseComposition(std::string_view bytes, Composition& composition);
std::string packSubspace(const SharedSubspace& space);
bool parseSubspace(std::string_view bytes, SharedSubspace& space);

}  // namespace headscope::core
