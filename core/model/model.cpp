#include "core/model/model.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cmath>
#include <map>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/printable.h"
#include "core/model/bound_adapter.h"
#include "core/model/families/family.h"
#include "core/model/role_reader.h"

namespace headscope::core {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kLongestConfig = 64u << 20;

std::string readConfig(const fs::path& folder) {
  std::error_code code;
  if (!fs::exists(folder, code)) throw Error("no such folder", folder.string());
  if (!fs::is_directory(folder, code)) throw Error("not a folder", folder.string(), "give the folder that holds config.json");
  if (!fs::exists(folder / "config.json", code)) {
    const bool isAdapter = fs::exists(folder / "adapter_config.json", code);
    throw Error("no config.json in the folder", folder.string(),
                isAdapter ? "this is an adapter: open its base model and give this folder to --adapter" : "");
  }
  return readTextFile(folder / "config.json", kLongestConfig);
}

/// The prefix under which the backbone's layers lie; the first one when no layer's tensor is there.
std::string findPrefix(const Checkpoint& checkpoint, const Family& family) {
  for (const std::string_view prefix : family.prefixes) {
    if (checkpoint.hasPrefix(std::string(prefix) + std::string(family.stem))) return std::string(prefix);
  }
  return std::string(family.prefixes.front());
}

std::string findTopPrefix(const Checkpoint& checkpoint, const Family& family) {
  return checkpoint.hasPrefix("language_model." + std::string(family.topStem)) ? "language_model." : "";
}

/// "7 tensors that no role uses: a, b, c, ..."
void noteUnused(std::vector<std::string>& notes, const std::vector<std::string_view>& unused) {
  if (unused.empty()) return;
  constexpr size_t kListed = 4;
  std::string text = std::to_string(unused.size()) + (unused.size() == 1 ? " tensor that no role uses: " : " tensors that no role uses: ");
  for (size_t i = 0; i < std::min(kListed, unused.size()); ++i) text += (i > 0 ? ", " : "") + printable(unused[i]);
  if (unused.size() > kListed) text += ", ...";
  notes.push_back(text);
}

/// The layer number in a tensor's name below the prefix ("layers.61.eh_proj.weight"); -1 when it has none.
int64_t layerOf(std::string_view name, std::string_view stem) {
  if (!name.starts_with(stem)) return -1;
  const std::string_view rest = name.substr(stem.size());
  int64_t number = -1;
  const auto [end, code] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  return code == std::errc() && end != rest.data() + rest.size() && *end == '.' ? number : -1;
}

}  // namespace

std::shared_ptr<const Model> Model::open(const fs::path& folder) {
  std::shared_ptr<Model> model(new Model());
  model->spec_ = parseModelSpec(readConfig(folder), (folder / "config.json").string());
  model->family_ = findFamily(model->spec_.family);
  assert(model->family_ != nullptr);
  model->checkpoint_ = Checkpoint::open(folder);
  model->prefix_ = findPrefix(*model->checkpoint_, *model->family_);
  model->topPrefix_ = findTopPrefix(*model->checkpoint_, *model->family_);
  model->family_->complete(model->spec_, model->reader(true));
  model->survey();
  return model;
}

RoleReader Model::reader(bool isSurvey) const {
  if (!isSurvey) {
    checkpoint_->requireWhole();
    if (adapter_) adapter_->checkpoint().requireWhole();
  }
  return RoleReader(*checkpoint_, spec_, prefix_, topPrefix_, bound_.get(), isSurvey);
}

void Model::readAll(RoleReader& all) const {
  family_->embedding(all);
  for (int64_t l = 0; l < spec_.layers; ++l) {
    LayerWeights weights;
    family_->attentionNorm(all, l);
    family_->attention(all, l);
    family_->rest(all, l, weights);
  }
  family_->head(all);
}

/// Goes through every role once: shapes are checked, what is missing and what is left over is noted.
void Model::survey() {
  RoleReader all = reader(true);
  readAll(all);

  missing_ = all.missing();
  std::sort(missing_.begin(), missing_.end());
  missing_.erase(std::unique(missing_.begin(), missing_.end()), missing_.end());

  std::vector<const TensorInfo*> used = all.used();
  const auto byName = [](const TensorInfo* a, const TensorInfo* b) { return a->name < b->name; };
  std::sort(used.begin(), used.end(), byName);
  used.erase(std::unique(used.begin(), used.end()), used.end());
  if (used.empty()) {
    throw Error("no tensor in the folder fits the " + spec_.familyTitle + " family, which needs " + printable(missing_.front()) + " and " +
                    std::to_string(missing_.size() - 1) + " more",
                folder().string(), "does config.json belong to these files?");
  }
  parameters_ = 0;
  for (const TensorInfo* tensor : used) {
    if (!tensor->name.ends_with("_scale_inv")) parameters_ += tensor->count();
  }
  std::vector<std::string_view> unused;
  std::map<int64_t, int64_t> beyond;  // layers after the last: tensors
  for (const TensorInfo* tensor : checkpoint_->tensors()) {
    if (std::binary_search(used.begin(), used.end(), tensor, byName)) continue;
    const std::string_view name = tensor->name;
    const std::string_view below = name.starts_with(prefix_) ? name.substr(prefix_.size()) : std::string_view();
    const int64_t layer = layerOf(below, family_->stem);
    if (layer >= spec_.layers) {
      ++beyond[layer];
    } else if (below.empty() || !family_->isIgnored(below)) {
      unused.push_back(name);
    }
  }
  constexpr size_t kNotedLayers = 4;
  for (const auto& [layer, count] : beyond) {
    if (notes_.size() == kNotedLayers) {
      notes_.push_back("and so do " + std::to_string(beyond.size() - kNotedLayers) + " more layers");
      break;
    }
    notes_.push_back("layer " + std::to_string(layer) + " (" + std::to_string(count) + " tensors) comes after the " +
                     std::to_string(spec_.layers) + " layers of config.json and is not shown: a next-token prediction module or the like");
  }
  noteUnused(notes_, unused);
}

std::shared_ptr<const Model> Model::withAdapter(std::shared_ptr<const Adapter> adapter, double strength) const {
  if (!std::isfinite(strength)) throw Error("the adapter's strength must be a number", adapter->folder().string());
  std::shared_ptr<Model> adapted(new Model(*this));
  adapted->bound_ = nullptr;
  RoleReader roles = adapted->reader(true);
  adapted->readAll(roles);
  adapted->bound_ = std::make_shared<const BoundAdapter>(adapter, checkpoint_, *family_, roles, strength);
  adapted->adapter_ = std::move(adapter);
  adapted->strength_ = strength;
  return adapted;
}

std::shared_ptr<const Model> Model::withoutAdapter() const {
  std::shared_ptr<Model> base(new Model(*this));
  base->adapter_ = nullptr;
  base->bound_ = nullptr;
  base->strength_ = 1.0;
  return base;
}

std::string Model::name() const {
  const fs::path whole = fs::absolute(folder()).lexically_normal();
  return whole.has_filename() ? whole.filename().string() : whole.parent_path().filename().string();
}

EmbeddingWeights Model::embedding() const {
  RoleReader from = reader();
  EmbeddingWeights weights = family_->embedding(from);
  from.throwIfMissing("the embedding");
  return weights;
}

LayerWeights Model::layer(int64_t index) const {
  assert(index >= 0 && index < spec_.layers);
  RoleReader from = reader();
  LayerWeights weights;
  weights.attentionNorm = family_->attentionNorm(from, index);
  weights.attention = family_->attention(from, index);
  family_->rest(from, index, weights);
  from.throwIfMissing("layer " + std::to_string(index));
  return weights;
}

NormWeights Model::attentionNorm(int64_t index) const {
  assert(index >= 0 && index < spec_.layers);
  RoleReader from = reader();
  NormWeights weights = family_->attentionNorm(from, index);
  from.throwIfMissing("the attention norm of layer " + std::to_string(index));
  return weights;
}

AttentionWeights Model::attention(int64_t index) const {
  assert(index >= 0 && index < spec_.layers);
  RoleReader from = reader();
  AttentionWeights weights = family_->attention(from, index);
  from.throwIfMissing("the attention of layer " + std::to_string(index));
  return weights;
}

bool Model::hasAttention(int64_t index) const {
  assert(index >= 0 && index < spec_.layers);
  RoleReader from = reader(true);
  family_->attention(from, index);
  return from.missing().empty();
}

HeadWeightsOnTop Model::head() const {
  RoleReader from = reader();
  HeadWeightsOnTop weights = family_->head(from);
  from.throwIfMissing("the head on top");
  return weights;
}

bool Model::hasUnembedding() const {
  RoleReader from = reader(true);
  return !family_->head(from).unembedding.empty();
}

std::vector<std::string> Model::notes() const {
  std::vector<std::string> all = spec_.notes;
  all.insert(all.end(), notes_.begin(), notes_.end());
  if (bound_ != nullptr) all.insert(all.end(), bound_->notes().begin(), bound_->notes().end());
  return all;
}

}  // namespace headscope::core
