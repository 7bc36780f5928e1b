#include "core/mechanisms/replaced_maps.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <utility>

#include "core/mechanisms/layer_heads.h"

namespace headscope::core {
namespace {

constexpr size_t kKept = 8;  // bound heads: a layer of a small model, and little memory where features grow with N

class ReplacedMaps : public EffectiveMaps {
 public:
  ReplacedMaps(const Trace& trace, std::map<HeadRef, std::shared_ptr<const Mechanism>> mechanisms)
      : trace_(std::shared_ptr<void>(), &trace), mechanisms_(std::move(mechanisms)) {}

  std::string mechanismOf(HeadRef head) const override {
    const auto found = mechanisms_.find(head);
    return found == mechanisms_.end() ? std::string() : found->second->spelled();
  }
  bool isNormalised(HeadRef head) const override { return mechanisms_.at(head)->isNormalised(); }
  bool readsOwnValues(HeadRef head) const override {
    const Mechanism& mechanism = *mechanisms_.at(head);
    return mechanism.name() != "dense_attention" && mechanism.readsLayer(head.layer) < 0;
  }
  std::vector<std::string> notes(HeadRef head, Job& job) const override { return bound(head, job)->run->notes(); }
  void rows(HeadRef head, int64_t first, MatrixView rows, Job& job) const override {
    bound(head, job)->run->mapRows(first, rows.rows, rows, job);
  }

  std::optional<Matrix> tile(HeadRef head, const TileRequest& request, Job& job) const override {
    return bound(head, job)->run->tile(request, job);
  }

 private:
  struct Bound {
    HeadRef head;
    std::shared_ptr<const LayerHeads> layer;  // of mechanisms that read the weights
    std::unique_ptr<HeadRun> run;
  };

  std::shared_ptr<const Bound> kept(HeadRef head) const {
    const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const auto& bound) { return bound->head == head; });
    if (found == kept_.end()) return nullptr;
    kept_.splice(kept_.begin(), kept_, found);
    return kept_.front();
  }

  std::shared_ptr<const Bound> bound(HeadRef head, Job& job) const {
    {
      const std::lock_guard lock(mutex_);
      if (auto found = kept(head)) return found;
    }
    // Bound without the lock, because binding uses the thread pool; two that come at once do the same work, and one of them stays
    auto fresh = std::make_shared<Bound>();
    fresh->head = head;
    const Mechanism& mechanism = *mechanisms_.at(head);
    if (mechanism.name() == "dense_attention") {
      fresh->layer = layerOf(head.layer, job);
      fresh->run = mechanism.bind(fresh->layer->input(head.head), job);
    } else {
      fresh->run = mechanism.bind(headInput(trace_, head), job);
    }
    const std::lock_guard lock(mutex_);
    if (auto found = kept(head)) return found;
    kept_.push_front(fresh);
    if (kept_.size() > kKept) kept_.pop_back();
    return fresh;
  }

  std::shared_ptr<const LayerHeads> layerOf(int64_t layer, Job& job) const {
    {
      const std::lock_guard lock(mutex_);
      for (const auto& bound : kept_) {
        if (bound->layer && bound->layer->layer() == layer) return bound->layer;
      }
    }
    return std::make_shared<const LayerHeads>(trace_, layer, job);
  }

  std::shared_ptr<const Trace> trace_;  // owns nothing
  std::map<HeadRef, std::shared_ptr<const Mechanism>> mechanisms_;
  mutable std::mutex mutex_;
  mutable std::list<std::shared_ptr<const Bound>> kept_;  // the one asked last in front
};

}  // namespace

std::shared_ptr<const EffectiveMaps> replacedMaps(const Trace& trace, std::map<HeadRef, std::shared_ptr<const Mechanism>> mechanisms) {
  return std::make_shared<ReplacedMaps>(trace, std::move(mechanisms));
}

}  // namespace headscope::core
