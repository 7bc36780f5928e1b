#pragma once
// BoundAdapter: an adapter laid over one model at one strength: which of its tensors belongs to which module, and what reading a
// linear map, a vector or a table of the model yields with it. Base weights are never copied; the one exception are modules that
// the adapter saved whole, which are blended when the strength is neither 0 nor 1.
//
// At strength t factors count t times, and magnitudes, biases and saved tensors lie on the line from the base to the adapter's: t = 0
// is the base exactly.
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/model/adapter.h"
#include "core/model/model.h"
#include "core/model/role_reader.h"

namespace headscope::core {

struct Family;

class BoundAdapter {
 public:
  /// `survey` has gone through all roles of the model. Throws Error: keys that match nothing (listed), shapes that don't fit, modules
  /// that the config targets and the file lacks (listed).
  BoundAdapter(std::shared_ptr<const Adapter> adapter, std::shared_ptr<const Checkpoint> base, const Family& family,
               const RoleReader& survey, double strength);

  /// Adds what the adapter does to a linear map. `whole` is the module's stored weight (saved weights already in), linear.weight the
  /// part of it that the role has.
  void apply(Linear& linear, const std::string& module, const WeightView& whole) const;
  /// A vector's values with the adapter's.
  void blend(std::vector<float>& values, const std::string& name) const;
  /// A matrix with the adapter's.
  WeightView matrix(const WeightView& stored, const std::string& name, const MatrixShape& shape) const;
  /// What was set aside, for people.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  struct Factors {
    const AdapterFactors* stored = nullptr;
    WeightView down, up;  // [r, in], [out, r]
    double scale = 1.0;
  };
  using Modules = std::map<std::string, const StoredModule*>;

  std::string resolveModule(const std::string& path, const Modules& modules) const;
  std::string resolveTensor(const std::string& path, const Modules& modules, const RoleReader& survey) const;
  bool isSetAside(const std::string& path, const RoleReader& survey) const;
  void bindFactors(const Modules& modules, const RoleReader& survey, std::vector<std::string>& unmatched);
  void bindSaved(const Modules& modules, const RoleReader& survey, std::vector<std::string>& unmatched);
  void requireTargets(const Modules& modules) const;
  std::shared_ptr<const RowLengths> lengthsOf(const std::string& module, const Factors& factors, const WeightView& whole) const;
  std::vector<float> rowScale(const std::string& module, const Factors& factors, const WeightView& whole, const WeightView& part) const;

  std::shared_ptr<const Adapter> adapter_;
  std::shared_ptr<const Checkpoint> base_;
  const Family& family_;
  double strength_;
  std::map<std::string, Factors> factors_;          // by the model's name of the module
  std::map<std::string, const TensorInfo*> saved_;  // by the model's name of the tensor
  std::vector<std::string> notes_;
  mutable std::mutex blendsMutex_;
  mutable std::map<std::string, std::shared_ptr<const Matrix>> blends_;  // saved matrices at this strength
};

}  // namespace headscope::core
