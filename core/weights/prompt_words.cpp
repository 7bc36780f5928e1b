#include "core/weights/prompt_words.h"

#include <cmath>

#include "core/attention/head_name.h"
#include "core/base/error.h"
#include "core/base/job.h"
#include "core/weights/factored_matrix.h"

namespace headscope::core {
namespace {

/// x as folded weights read it, in place: centred where the norm centres, over its root mean square.
void standardise(const ModelSpec& spec, std::vector<double>& x) {
  const double n = static_cast<double>(x.size());
  double mean = 0, square = 0;
  if (spec.norm == NormKind::LayerNorm) {
    for (const double v : x) mean += v;
    mean /= n;
  }
  for (double& v : x) v -= mean, square += v * v;
  const double scale = 1.0 / std::sqrt(square / n + spec.normEps);
  for (double& v : x) v *= scale;
}

double dot(const std::vector<double>& x, const float* v) {
  double sum = 0;
  for (size_t c = 0; c < x.size(); ++c) sum += x[c] * v[c];
  return sum;
}

}  // namespace

std::vector<DirectionTokens> promptProjections(const Trace& trace, HeadRef head, Circuit circuit, int64_t directions, const Job& job) {
  if (head.layer >= trace.layersRun()) throw Error("the prompt was not run through this layer", headName(head));
  const Model& model = trace.model();
  const Fold fold = defaultFold(model.spec());
  const HeadWeights weights = headWeights(model, head.layer, fold, MlaSplit::Heads, {}, &job);
  const HeadFactors factors = residualFactors(weights, head.head, circuit);
  const SingularVectors vectors = FactoredMatrix(factors.left, factors.right).vectors(directions);
  std::vector<DirectionTokens> found(vectors.sigma.size());
  const ConstMatrixView stream = trace.hidden(head.layer);
  std::vector<double> x(static_cast<size_t>(stream.cols));
  for (int64_t i = 0; i < stream.rows; ++i) {
    job.checkpoint();
    for (int64_t c = 0; c < stream.cols; ++c) x[static_cast<size_t>(c)] = stream(i, c);
    if (fold == Fold::On) standardise(model.spec(), x);
    for (size_t s = 0; s < found.size(); ++s) {
      found[s].read.push_back(static_cast<float>(dot(x, vectors.left.row(static_cast<int64_t>(s)))));
      if (circuit == Circuit::QK) found[s].matched.push_back(static_cast<float>(dot(x, vectors.right.row(static_cast<int64_t>(s)))));
    }
  }
  return found;
}

}  // namespace headscope::core
