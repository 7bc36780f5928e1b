#include "core/model/bound_adapter.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/base/error.h"
#include "core/base/parallel.h"
#include "core/base/printable.h"
#include "core/model/families/family.h"

namespace headscope::core {
namespace {

// Heads of tasks that attention maps don't need, by the names that classes of Hugging Face and PEFT give them.
constexpr std::array<std::string_view, 14> kTaskHeads = {"score",           "classifier",     "qa_outputs",      "v_head",
                                                         "value_head",      "reward_head",    "regression_head", "classification_head",
                                                         "pooler",          "pre_classifier", "summary",         "multiple_choice_head",
                                                         "span_classifier", "dense_head"};

/// "lists a, b, c and 7 more"
std::string listed(const std::vector<std::string>& names, size_t most = 10) {
  std::string text;
  for (size_t i = 0; i < std::min(most, names.size()); ++i) text += (i > 0 ? ", " : "") + printable(names[i]);
  if (names.size() > most) text += " and " + std::to_string(names.size() - most) + " more";
  return text;
}

std::string moduleOfTensor(const std::string& tensor) {
  return tensor.substr(0, tensor.rfind('.') == std::string::npos ? 0 : tensor.rfind('.'));
}

/// Rows of a factor's matrix that a view of the module's outputs has, times `factor`: [view.outputs(), r].
Matrix pickRows(const WeightView& up, const WeightView& view, float factor) {
  Matrix picked(view.outputs(), up.inputs());
  for (int64_t r = 0; r < view.outputs(); ++r) up.decodeRows(view.storedOutput(r), 1, picked.row(r), up.inputs());
  for (int64_t i = 0; i < picked.size(); ++i) picked.data()[i] *= factor;
  return picked;
}

}  // namespace

BoundAdapter::BoundAdapter(std::shared_ptr<const Adapter> adapter, std::shared_ptr<const Checkpoint> base, const Family& family,
                           const RoleReader& survey, double strength)
    : adapter_(std::move(adapter)), base_(std::move(base)), family_(family), strength_(strength) {
  Modules modules;
  for (const StoredModule& module : survey.modules()) modules.emplace(module.name, &module);
  std::vector<std::string> unmatched;
  bindFactors(modules, survey, unmatched);
  bindSaved(modules, survey, unmatched);
  if (!unmatched.empty()) {
    throw Error("the adapter does not fit the model: " + std::to_string(unmatched.size()) + " of its keys match" +
                    (unmatched.size() == 1 ? "es" : "") + " nothing: " + listed(unmatched),
                adapter_->folder().string(),
                adapter_->config().baseModel.empty() ? "" : "it was made for " + printable(adapter_->config().baseModel));
  }
  requireTargets(modules);
}

/// The model's name of a module that the adapter calls `path`; "" when it has none.
std::string BoundAdapter::resolveModule(const std::string& path, const Modules& modules) const {
  const auto known = [&](std::string_view name) {
    const std::string own = family_.moduleOf != nullptr ? family_.moduleOf(name) : std::string(name);
    return modules.count(own) > 0 ? own : std::string();
  };
  for (const std::string_view prefix : family_.prefixes) {
    if (!path.starts_with(prefix)) continue;
    if (std::string own = known(std::string_view(path).substr(prefix.size())); !own.empty()) return own;
  }
  return known(path);
}

/// The same for a tensor: of a module or a norm that the survey met.
std::string BoundAdapter::resolveTensor(const std::string& path, const Modules& modules, const RoleReader& survey) const {
  const std::string module = moduleOfTensor(path);
  const std::string leaf = path.substr(module.empty() ? 0 : module.size() + 1);
  if (const std::string own = resolveModule(module, modules); !own.empty()) {
    if (leaf == "weight" || (leaf == "bias" && modules.at(own)->shape.hasBias)) return own + "." + leaf;
    // A tied unembedding's bias may be its parent's (BERT's cls.predictions.decoder).
    const std::string parent = moduleOfTensor(own) + "." + leaf;
    return survey.roleTensor(parent) != nullptr ? parent : std::string();
  }
  const auto known = [&](std::string_view name) {
    const std::string own = (family_.moduleOf != nullptr ? family_.moduleOf(name) : std::string(name)) + (name.empty() ? "" : ".") + leaf;
    return survey.roleTensor(own) != nullptr ? own : std::string();
  };
  for (const std::string_view prefix : family_.prefixes) {
    if (!path.starts_with(prefix) || module.size() < prefix.size()) continue;
    if (std::string own = known(std::string_view(module).substr(prefix.size())); !own.empty()) return own;
  }
  return known(module);
}

/// Task heads, and tensors of the checkpoint that no role uses: nothing shown depends on them.
bool BoundAdapter::isSetAside(const std::string& path, const RoleReader& survey) const {
  const std::string_view whole = path;
  for (const std::string_view head : kTaskHeads) {
    size_t at = whole.find(head);
    for (; at != std::string_view::npos; at = whole.find(head, at + 1)) {
      const size_t end = at + head.size();
      if ((at == 0 || whole[at - 1] == '.') && (end == whole.size() || whole[end] == '.')) return true;
    }
  }
  for (const std::string& name : adapter_->config().savedNames) {
    const bool isHead = name == "cls" || name == "seq_relationship";
    if (isHead && whole.find(name) != std::string_view::npos) return true;
  }
  return survey.isLeftOver(path);
}

void BoundAdapter::bindFactors(const Modules& modules, const RoleReader& survey, std::vector<std::string>& unmatched) {
  std::vector<std::string> aside;
  for (const AdapterFactors& stored : adapter_->factors()) {
    const std::string own = resolveModule(stored.path, modules);
    if (own.empty()) {
      (isSetAside(stored.path, survey) ? aside : unmatched).push_back(stored.path);
      continue;
    }
    const LinearShape& shape = modules.at(own)->shape;
    const Checkpoint& file = adapter_->checkpoint();
    const int64_t rank = adapter_->config().rankOf(stored.path);
    const auto fits = [&](const TensorInfo& tensor, const std::vector<int64_t>& expected) {
      if (tensor.shape == expected) return;
      TensorInfo wanted;
      wanted.shape = expected;
      throw Error("the adapter does not fit the model: the tensor has shape " + tensor.shapeText() + ", but a module of " +
                      std::to_string(shape.inputs) + " inputs and " + std::to_string(shape.outputs) + " outputs with rank " +
                      std::to_string(rank) + " takes " + wanted.shapeText(),
                  file.whereIs(tensor),
                  adapter_->config().baseModel.empty() ? "" : "it was made for " + printable(adapter_->config().baseModel));
    };
    fits(*stored.down, {rank, shape.inputs});
    fits(*stored.up, {shape.outputs, rank});
    if (stored.upBias != nullptr) fits(*stored.upBias, {shape.outputs});
    if (stored.magnitude != nullptr && stored.magnitude->count() != shape.outputs) fits(*stored.magnitude, {shape.outputs});
    Factors factors;
    factors.stored = &stored;
    factors.down = file.matrix(stored.down->name);
    factors.up = file.matrix(stored.up->name);
    factors.scale = adapter_->config().scaleOf(stored.path);
    if (!factors_.emplace(own, factors).second)
      throw Error("two sets of factors for one module", adapter_->folder().string() + ", " + printable(own));
  }
  if (!aside.empty()) notes_.push_back("adapter modules set aside, nothing shown depends on them: " + listed(aside, 4));
}

void BoundAdapter::bindSaved(const Modules& modules, const RoleReader& survey, std::vector<std::string>& unmatched) {
  std::vector<std::string> aside;
  for (const auto& [path, tensor] : adapter_->saved()) {
    const std::string own = resolveTensor(path, modules, survey);
    if (!own.empty()) {
      const TensorInfo* base = survey.roleTensor(own);  // null for a tied module's own weight
      if (base != nullptr && base->shape != tensor->shape) {
        throw Error("the adapter does not fit the model: the tensor has shape " + tensor->shapeText() + ", but the model's has " +
                        base->shapeText(),
                    adapter_->checkpoint().whereIs(*tensor));
      }
      saved_.emplace(own, tensor);
    } else {
      (isSetAside(path, survey) ? aside : unmatched).push_back(path);
    }
  }
  if (!aside.empty()) notes_.push_back("adapter tensors set aside, nothing shown depends on them: " + listed(aside, 4));
}

/// Modules that the config targets must have factors. Experts are left out: newer classes keep them in one tensor that names can't target.
void BoundAdapter::requireTargets(const Modules& modules) const {
  if (factors_.empty()) return;
  const AdapterConfig& config = adapter_->config();
  // PEFT's names have the prefix that the adapter's own have.
  const auto& [own, first] = *factors_.begin();
  const std::string& path = first.stored->path;
  if (!path.ends_with(own)) return;  // names of newer classes: what they would call the rest is not known here
  std::string prefix;
  for (const auto& [name, factors] : factors_) {
    if (!modules.at(name)->isTop && factors.stored->path.ends_with(name))
      prefix = factors.stored->path.substr(0, factors.stored->path.size() - name.size());
  }
  std::vector<std::string> lacking;
  for (const auto& [name, module] : modules) {
    if (factors_.count(name) > 0 || name.find(".experts.") != std::string::npos || (module->isTop && config.isAllLinear)) continue;
    const std::string called = (module->isTop ? "" : prefix) + name;
    if (config.isTarget(called)) lacking.push_back(called);
  }
  if (!lacking.empty()) {
    throw Error("half an adapter: its config targets " + std::to_string(lacking.size()) +
                    " modules that the file has no factors for: " + listed(lacking),
                adapter_->folder().string());
  }
}

void BoundAdapter::blend(std::vector<float>& values, const std::string& name) const {
  const auto at = saved_.find(name);
  if (at == saved_.end() || strength_ == 0.0) return;
  const std::vector<float> saved = adapter_->checkpoint().vector(at->second->name, static_cast<int64_t>(values.size()));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = strength_ == 1.0 ? saved[i] : static_cast<float>((1.0 - strength_) * values[i] + strength_ * saved[i]);
  }
}

WeightView BoundAdapter::matrix(const WeightView& stored, const std::string& name, const MatrixShape& shape) const {
  const auto at = saved_.find(name);
  if (at == saved_.end()) return stored;
  const WeightView saved = adapter_->checkpoint().matrix(at->second->name, shape);
  if (strength_ == 0.0) return stored;
  if (strength_ == 1.0) return saved;
  const std::scoped_lock lock(blendsMutex_);
  auto& blend = blends_[name];
  if (blend == nullptr) {
    Matrix mixed = saved.decode();  // [out, in]
    std::vector<float> row(static_cast<size_t>(stored.inputs()));
    for (int64_t r = 0; r < mixed.rows(); ++r) {
      stored.decodeRows(r, 1, row.data(), stored.inputs());
      for (int64_t c = 0; c < mixed.cols(); ++c) {
        mixed(r, c) = static_cast<float>((1.0 - strength_) * row[static_cast<size_t>(c)] + strength_ * mixed(r, c));
      }
    }
    blend = std::make_shared<const Matrix>(std::move(mixed));
  }
  WeightView view;
  view.data = reinterpret_cast<const std::byte*>(blend->data());
  view.storedRows = view.outGroupSize = view.outGroupStride = blend->rows();
  view.storedCols = view.inCount = blend->cols();
  view.name = stored.name;
  return view;
}

void BoundAdapter::apply(Linear& linear, const std::string& module, const WeightView& whole) const {
  const auto at = factors_.find(module);
  if (at == factors_.end() || strength_ == 0.0) return;
  const Factors& factors = at->second;
  const WeightView& part = linear.weight;
  const double scale = strength_ * factors.scale;
  auto change = std::make_shared<LinearChange>();
  LowRank term;
  term.down = factors.down.inputsFrom(part.inFirst, part.inCount).decode();
  term.up = pickRows(factors.up, part, static_cast<float>(scale));
  change->terms.push_back(std::move(term));
  if (factors.stored->magnitude != nullptr) change->rowScale = rowScale(module, factors, whole, part);
  if (factors.stored->upBias != nullptr) {
    const std::vector<float> bias = adapter_->checkpoint().vector(factors.stored->upBias->name, factors.up.outputs());
    linear.bias.resize(static_cast<size_t>(part.outputs()), 0.0f);
    for (int64_t r = 0; r < part.outputs(); ++r) {
      linear.bias[static_cast<size_t>(r)] += static_cast<float>(scale * bias[static_cast<size_t>(part.storedOutput(r))]);
    }
  }
  linear.change = std::move(change);
}

std::vector<float> BoundAdapter::rowScale(const std::string& module, const Factors& factors, const WeightView& whole,
                                          const WeightView& part) const {
  const std::shared_ptr<const RowLengths> lengths = lengthsOf(module, factors, whole);
  const std::vector<float> magnitude = adapter_->checkpoint().vector(factors.stored->magnitude->name, factors.up.outputs());
  std::vector<float> scale(static_cast<size_t>(part.outputs()));
  for (int64_t r = 0; r < part.outputs(); ++r) {
    const auto stored = static_cast<size_t>(part.storedOutput(r));
    const double base = lengths->base[stored];
    const double squared = base + 2.0 * strength_ * lengths->cross[stored] + strength_ * strength_ * lengths->change[stored];
    const double target = (1.0 - strength_) * std::sqrt(base) + strength_ * magnitude[stored];
    scale[static_cast<size_t>(r)] = squared > 0.0 ? static_cast<float>(target / std::sqrt(squared)) : 0.0f;
  }
  return scale;
}

/// Streams the module's rows once; kept with the adapter for the next strength.
std::shared_ptr<const RowLengths> BoundAdapter::lengthsOf(const std::string& module, const Factors& factors,
                                                          const WeightView& whole) const {
  {
    const std::scoped_lock lock(adapter_->lengthsMutex_);
    if (adapter_->lengthsBase_.lock() != base_) {
      adapter_->lengths_.clear();
      adapter_->lengthsBase_ = base_;
    }
    if (const auto known = adapter_->lengths_.find(module); known != adapter_->lengths_.end()) return known->second;
  }
  const int64_t outputs = whole.outputs(), inputs = whole.inputs(), rank = factors.down.outputs();
  const Matrix down = factors.down.decode(), up = factors.up.decode();  // [r, in], [out, r]
  auto lengths = std::make_shared<RowLengths>();
  lengths->base.resize(static_cast<size_t>(outputs));
  lengths->cross.resize(static_cast<size_t>(outputs));
  lengths->change.resize(static_cast<size_t>(outputs));
  parallelRanges(outputs, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(inputs)), change(static_cast<size_t>(inputs));
    for (int64_t o = begin; o < end; ++o) {
      whole.decodeRows(o, 1, row.data(), inputs);
      std::fill(change.begin(), change.end(), 0.0f);
      for (int64_t a = 0; a < rank; ++a) {
        const auto factor = static_cast<float>(factors.scale * up(o, a));
        const float* from = down.row(a);
        for (int64_t i = 0; i < inputs; ++i) change[static_cast<size_t>(i)] += factor * from[i];
      }
      double base = 0, cross = 0, own = 0;
      for (size_t i = 0; i < row.size(); ++i) {
        base += static_cast<double>(row[i]) * row[i];
        cross += static_cast<double>(row[i]) * change[i];
        own += static_cast<double>(change[i]) * change[i];
      }
      lengths->base[static_cast<size_t>(o)] = base;
      lengths->cross[static_cast<size_t>(o)] = cross;
      lengths->change[static_cast<size_t>(o)] = own;
    }
  });
  const std::scoped_lock lock(adapter_->lengthsMutex_);
  if (adapter_->lengthsBase_.lock() == base_) adapter_->lengths_.emplace(module, lengths);
  return lengths;
}

}  // namespace headscope::core
