#pragma once
// RoleReader: how families take tensors out of a checkpoint. A family says what it needs once, and the reader serves four uses:
// reading weights, listing what is missing, listing what is used (so that the rest can be named), and finding the modules
// that an adapter may change. In a survey nothing is decoded.
//
// Names are below the backbone's prefix ("layers.3.mlp.up_proj"); those of the head on top go through `top`.
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/checkpoint/checkpoint.h"
#include "core/model/model.h"
#include "core/model/model_spec.h"

namespace headscope::core {

struct LinearShape {
  int64_t outputs = 0, inputs = 0;
  bool hasBias = false;
  bool isInByOut = false;
};

/// A linear map of the checkpoint as stored, which an adapter may name.
struct StoredModule {
  std::string name;  // without prefix: "layers.3.mlp.up_proj"
  LinearShape shape;
  bool isTop = false;  // of the head on top
};

class RoleReader {
 public:
  using View = std::function<WeightView(const WeightView&)>;

  RoleReader(const Checkpoint& checkpoint, const ModelSpec& spec, std::string prefix, std::string topPrefix, const BoundAdapter* adapter,
             bool isSurvey)
      : spec(spec),
        checkpoint_(checkpoint),
        prefix_(std::move(prefix)),
        topPrefix_(std::move(topPrefix)),
        adapter_(adapter),
        isSurvey_(isSurvey) {}

  const ModelSpec& spec;

  /// True when a tensor of the head on top is in the files (or was: the index lists it).
  bool hasTop(std::string_view name) const;

  /// A table or matrix "NAME" (a full tensor name below the prefix). Absent: noted as missing, an empty view.
  WeightView matrix(const std::string& name, int64_t outputs, int64_t inputs);
  /// A vector "NAME"; in a survey always empty.
  std::vector<float> vector(const std::string& name, int64_t length);
  /// "MODULE.weight" and, where asked, "MODULE.bias"; in old files "gamma" and "beta".
  NormWeights norm(const std::string& module, int64_t width, bool hasBias);
  /// "MODULE.weight" and ".bias" as a linear map, of which `view` picks outputs and inputs (default: all).
  Linear linear(const std::string& module, const LinearShape& shape, const View& view = {});

  /// The same for the head on top.
  NormWeights topNorm(const std::string& module, int64_t width, bool hasBias);
  Linear topLinear(const std::string& module, const LinearShape& shape);
  std::vector<float> topVector(const std::string& name, int64_t length);
  /// A head whose matrix is another role's tensor (tied to the embedding): `weightName` below the backbone's prefix, `module` the
  /// name an adapter would use, `biasName` on top or "".
  Linear tiedTop(const std::string& module, const std::string& weightName, const LinearShape& shape, const std::string& biasName = {});

  /// Throws Error listing what was missing since the reader was made; `what` names the whole ("layer 3").
  void throwIfMissing(const std::string& what) const;
  const std::vector<std::string>& missing() const { return missing_; }
  const std::vector<const TensorInfo*>& used() const { return used_; }
  const std::vector<StoredModule>& modules() const { return modules_; }
  /// After a survey: the tensor of this name below its prefix, if some role uses it; else null.
  const TensorInfo* roleTensor(const std::string& name) const;
  /// After a survey: whether the checkpoint has tensors of this full name or module that no role uses.
  bool isLeftOver(const std::string& path) const;

 private:
  const TensorInfo* need(const std::string& name);
  WeightView readMatrix(const std::string& prefix, const std::string& name, const LinearShape& shape);
  std::vector<float> readVector(const std::string& prefix, const std::string& name, int64_t length);
  NormWeights readNorm(const std::string& prefix, const std::string& module, int64_t width, bool hasBias);
  Linear assemble(const std::string& module, const WeightView& whole, std::vector<float> bias, const LinearShape& shape, const View& view,
                  bool isTop);

  const Checkpoint& checkpoint_;
  std::string prefix_, topPrefix_;
  const BoundAdapter* adapter_;
  bool isSurvey_;
  std::vector<std::string> missing_;
  std::vector<const TensorInfo*> used_;
  std::vector<StoredModule> modules_;
};

}  // namespace headscope::core
