#include "core/weights/layer_factors.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/head_grams.h"
#include "core/weights/large_svd.h"
#include "core/weights/small_norms.h"

namespace headscope::core {
namespace {

FactorSet perHead(const Matrix& stack, int64_t heads, int64_t stride, int64_t first, int64_t count, std::string module) {
  FactorSet set;
  set.module = std::move(module);
  for (int64_t h = 0; h < heads; ++h) set.rows.push_back(stack.view().rowsFrom(h * stride + first, count));
  return set;
}

/// The leading block of an upper triangle: the triangle of the leading columns' QR.
std::shared_ptr<const DoubleMatrix> leadingBlock(const DoubleMatrix& r, int64_t n) {
  auto block = std::make_shared<DoubleMatrix>(n, n);
  for (int64_t i = 0; i < n; ++i) std::copy_n(r.row(i), n, block->row(i));
  return block;
}

std::shared_ptr<const DoubleMatrix> exactTriangle(DoubleMatrix factor, const Job& job) {
  const int64_t m = factor.rows;
  const DoubleMatrix r = largeThinQrR(std::move(factor), job);
  auto square = std::make_shared<DoubleMatrix>(m, m);
  std::copy(r.values.begin(), r.values.end(), square->values.begin());
  return square;
}

/// R with R^T R = F F^T, square [m, m] also where F has fewer columns than rows.
std::shared_ptr<const DoubleMatrix> triangleOf(ConstMatrixView factor, bool isExact, const Job& job) {
  if (!isAllFinite(factor)) {  // so is everything seen through it
    auto broken = std::make_shared<DoubleMatrix>(factor.rows, factor.rows);
    std::fill(broken->values.begin(), broken->values.end(), std::numeric_limits<double>::quiet_NaN());
    return broken;
  }
  if (!isExact) return std::make_shared<DoubleMatrix>(choleskyFactor(gramTiled(factor, &job)));
  return exactTriangle(DoubleMatrix::from(factor), job);
}

/// A map's rows [first, first + count) in double, times gains by column and by row (of the map, again and again), less their means between
/// the two where asked: what headWeights() does, without its roundings.
struct GainedRows {
  Linear linear;
  std::vector<float> columnGain, rowGain;  // empty: none
  bool isCentred = false;

  DoubleMatrix rows(int64_t first, int64_t count) const {
    Matrix raw(count, linear.inputs());
    decodeTile(linear, first, count, 0, raw.view());
    DoubleMatrix out = DoubleMatrix::from(raw);
    for (int64_t r = 0; r < count; ++r) {
      double* row = out.row(r);
      for (int64_t c = 0; c < out.cols && !columnGain.empty(); ++c) row[c] *= columnGain[static_cast<size_t>(c)];
      if (isCentred) takeMean(row, out.cols);
      for (int64_t c = 0; c < out.cols && !rowGain.empty(); ++c) row[c] *= rowGain[static_cast<size_t>(first + r) % rowGain.size()];
    }
    return out;
  }
  DoubleMatrix all() const { return rows(0, linear.outputs()); }

  static void takeMean(double* row, int64_t count) {
    const double mean = std::accumulate(row, row + count, 0.0) / static_cast<double>(count);
    for (int64_t c = 0; c < count; ++c) row[c] -= mean;
  }
};

/// Heads of `stride` rows, of which `count` from `first` on.
std::function<DoubleMatrix(int64_t)> headsIn(GainedRows map, int64_t stride, int64_t first, int64_t count) {
  return [map = std::move(map), stride, first, count](int64_t h) { return map.rows(h * stride + first, count); };
}

/// W_O of a head [v, d] from its columns of the output map.
std::function<DoubleMatrix(int64_t)> outputHeads(Linear output, int64_t width, bool isCentred) {
  return [output = std::move(output), width, isCentred](int64_t h) {
    Matrix raw(output.outputs(), width);
    decodeTile(output, 0, raw.rows(), h * width, raw.view());
    DoubleMatrix rows = DoubleMatrix::from(raw).transposed();
    for (int64_t r = 0; r < width && isCentred; ++r) GainedRows::takeMean(rows.row(r), rows.cols);
    return rows;
  };
}

/// rows * R^T in place.
void throughTriangle(Matrix& rows, const Matrix& triangle) {
  cblas_strmm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, static_cast<int>(rows.rows()), static_cast<int>(rows.cols()),
              1.0F, triangle.data(), static_cast<int>(triangle.cols()), rows.data(), static_cast<int>(rows.cols()));
}

bool uses(const std::vector<MatrixPlan>& plans, const std::string& set) {
  return std::any_of(plans.begin(), plans.end(), [&](const MatrixPlan& p) { return p.left == set || p.right == set; });
}

}  // namespace

DoubleMatrix FactorSet::exact(int64_t head) const {
  assert(rows[static_cast<size_t>(head)].data != nullptr);
  const DoubleMatrix own = inDouble ? inDouble(head) : DoubleMatrix::from(rows[static_cast<size_t>(head)]);
  return through ? multiplyTransposed(own, *through) : own;
}

DoubleMatrix rotationMatrix(const RopeSpec& rope, int64_t width, int64_t first, int64_t offset) {
  DoubleMatrix r = DoubleMatrix::identity(width);
  const int64_t pairs = rope.dims / 2;
  for (int64_t i = 0; i < pairs; ++i) {
    const double angle = static_cast<double>(offset) * rope.frequencies[static_cast<size_t>(i)];
    const int64_t a = first + (rope.isInterleaved ? 2 * i : i), b = first + (rope.isInterleaved ? 2 * i + 1 : i + pairs);
    r(a, a) = r(b, b) = std::cos(angle);
    r(a, b) = std::sin(angle);
    r(b, a) = -std::sin(angle);
  }
  return r;
}

std::vector<MatrixPlan> matrixPlans(const ModelSpec& spec, const std::vector<int64_t>& offsets) {
  if (!offsets.empty() && spec.positions != PositionKind::Rope) {
    throw Error("the model has no rotary positions, so W_QK does not depend on an offset", spec.familyTitle, "leave --rope-offset out");
  }
  std::vector<MatrixPlan> plans;
  if (spec.mla) {
    plans = {{"W_UQ_nope", "UQ_nope", "", {}},
             {"W_UQ_rope", "UQ_rope", "", {}},
             {"W_UK", "UK", "", {}},
             {"W_UV", "UV", "", {}},
             {"W_O", "O", "", {}},
             {"W_QK_nope_latent", "UQ_nope", "UK", {}},
             {"W_OV_latent", "UV", "O", {}},
             {"W_QK_nope", "Q_nope", "K_nope", {}},
             {"W_QK_rope", "Q_rope", "K_rope", {}},
             {"W_QK", "Q", "K", {}},
             {"W_OV", "V", "O", {}}};
    for (const int64_t n : offsets) {
      plans.push_back({"W_QK_rope@" + std::to_string(n), "Q_rope", "K_rope", n});
      plans.push_back({"W_QK@" + std::to_string(n), "Q", "K", n});
    }
    return plans;
  }
  plans = {{"W_Q", "Q", "", {}}, {"W_K", "K", "", {}},   {"W_V", "V", "", {}},
           {"W_O", "O", "", {}}, {"W_QK", "Q", "K", {}}, {"W_OV", "V", "O", {}}};
  for (const int64_t n : offsets) plans.push_back({"W_QK@" + std::to_string(n), "Q", "K", n});
  return plans;
}

LayerFactors::LayerFactors(const Model& model, int64_t layer, Fold fold, MlaSplit split, const std::vector<MatrixPlan>& plans, bool isExact,
                           const Job& job, const LayerInput* input, bool keepsRows, bool withCores)
    : keepsRows_(keepsRows || isExact || input != nullptr),
      weights_(keepsRows_ || model.spec().mla ? headWeights(model, layer, fold, split, {.withOutput = keepsRows_}, &job)
                                              : headShapes(model, layer, fold)),
      rope_(model.spec().rope) {
  if (!keepsRows_ && !model.spec().mla) {
    addStreamed(model, plans, job);
    return;
  }
  const AttentionWeights attention = model.attention(layer);
  if (weights_.isFolded) gain_ = model.attentionNorm(layer).gain;
  const bool isCentred = weights_.isFolded && model.spec().norm == NormKind::LayerNorm;
  const bool isLatentInDouble = isExact && weights_.latent && input == nullptr && split == MlaSplit::Heads;
  makesTrianglesLater_ = isLatentInDouble && !gain_.empty();
  if (weights_.latent) {
    if (input != nullptr) {
      HeadWeights::Latent& l = *weights_.latent;
      const Matrix triangle = input->triangle->toFloat();
      for (Matrix* reading : {l.queryDown.size() > 0 ? &l.queryDown : &l.queryUp, &l.latentDown, &l.ropeKey})
        throughTriangle(*reading, triangle);
    }
    addLatent(attention, plans, isExact, job);
  } else {
    addStandard(attention, input);
  }
  if (isExact && !weights_.latent) foldStandardInDouble(attention, isCentred);
  if (isLatentInDouble) foldLatentInDouble(attention, job);
  for (auto it = sets_.begin(); it != sets_.end();) it = uses(plans, it->first) ? std::next(it) : sets_.erase(it);
  if (!isExact && withCores) computeCores(job);
}

void LayerFactors::addStreamed(const Model& model, const std::vector<MatrixPlan>& plans, const Job& job) {
  HeadWeights& w = weights_;
  const AttentionWeights a = model.attention(w.layer);
  const std::vector<float> gain = w.isFolded ? model.attentionNorm(w.layer).gain : std::vector<float>{};
  const bool isCentred = w.isFolded && model.spec().norm == NormKind::LayerNorm;
  const auto add = [&](const char* name, const HeadMap& map, std::vector<float>& means) {
    if (uses(plans, name)) means = addFromStored(name, map, job);
  };
  add("Q", {&a.query, false, w.heads, w.keyWidth, &gain, &a.queryNorm.gain, isCentred}, w.means.query);
  add("K", {&a.key, false, w.kvHeads, w.keyWidth, &gain, &a.keyNorm.gain, isCentred}, w.means.key);
  add("V", {&a.value, false, w.kvHeads, w.valueWidth, &gain, nullptr, isCentred}, w.means.value);
  add("O", {&a.output, true, w.heads, w.valueWidth, nullptr, nullptr, isCentred}, w.means.output);
}

/// Returns the rows' means where the map is centred.
std::vector<float> LayerFactors::addFromStored(const char* name, const HeadMap& map, const Job& job) {
  HeadGrams grams = headGrams(map, job);
  FactorSet& set = sets_[name];
  set.module = map.linear->module;
  set.rows.assign(grams.gram.size(), ConstMatrixView{nullptr, map.width, 0, 0});
  set.cores.resize(grams.gram.size());
  parallelFor(
      set.heads(),
      [&](int64_t h) {
        const size_t s = static_cast<size_t>(h);
        set.cores[s] = factorCore(std::move(grams.gram[s]), map.depth());
      },
      &job);
  return std::move(grams.means);
}

void LayerFactors::addStandard(const AttentionWeights& a, const LayerInput* input) {
  const HeadWeights& w = weights_;
  sets_["Q"] = perHead(w.query, w.heads, w.keyWidth, 0, w.keyWidth, a.query.module);
  sets_["K"] = perHead(w.key, w.kvHeads, w.keyWidth, 0, w.keyWidth, a.key.module);
  sets_["V"] = perHead(w.value, w.kvHeads, w.valueWidth, 0, w.valueWidth, a.value.module);
  sets_["O"] = perHead(w.output, w.heads, w.valueWidth, 0, w.valueWidth, a.output.module);
  for (const char* reading : {"Q", "K", "V"}) {
    if (input != nullptr) sets_[reading].through = input->triangle, sets_[reading].throughModule = "the heads' input";
  }
}

void LayerFactors::foldStandardInDouble(const AttentionWeights& a, bool isCentred) {
  const HeadWeights& w = weights_;
  if (gain_.empty() && a.queryNorm.empty() && a.keyNorm.empty() && !isCentred) return;
  sets_["Q"].inDouble = headsIn({a.query, gain_, a.queryNorm.gain, isCentred}, w.keyWidth, 0, w.keyWidth);
  sets_["K"].inDouble = headsIn({a.key, gain_, a.keyNorm.gain, isCentred}, w.keyWidth, 0, w.keyWidth);
  sets_["V"].inDouble = headsIn({a.value, gain_, {}, isCentred}, w.valueWidth, 0, w.valueWidth);
  sets_["O"].inDouble = outputHeads(a.output, w.valueWidth, isCentred);
}

void LayerFactors::foldLatentInDouble(const AttentionWeights& a, const Job& job) {
  const HeadWeights& w = weights_;
  const int64_t k = w.nope + w.rope;
  const bool hasQueryLatent = !a.queryDown.empty();
  const GainedRows query{hasQueryLatent || a.query.empty() ? a.queryUp : a.query, hasQueryLatent ? a.queryLatentNorm.gain : gain_, {}},
      key{a.keyUp, a.latentNorm.gain, {}}, value{a.valueUp, a.latentNorm.gain, {}};
  const auto set = [&](const char* name, const std::function<DoubleMatrix(int64_t)>& rows) {
    if (const auto it = sets_.find(name); it != sets_.end()) it->second.inDouble = rows;
  };
  set("UQ_nope", headsIn(query, k, 0, w.nope)), set("Q_nope", headsIn(query, k, 0, w.nope));
  set("UQ_rope", headsIn(query, k, w.nope, w.rope)), set("Q_rope", headsIn(query, k, w.nope, w.rope));
  set("Q", headsIn(query, k, 0, k));
  set("UK", headsIn(key, w.nope, 0, w.nope)), set("K_nope", headsIn(key, w.nope, 0, w.nope));
  set("UV", headsIn(value, w.valueWidth, 0, w.valueWidth)), set("V", headsIn(value, w.valueWidth, 0, w.valueWidth));
  set("K_rope", headsIn({a.ropeKey, gain_, {}}, w.rope, 0, w.rope));
  if (sets_.count("K") > 0) {
    set("K", [up = headsIn(key, w.nope, 0, w.nope), nope = w.nope, rope = w.rope](int64_t h) {  // [W_UK,h^T 0; 0 I]
      const DoubleMatrix keys = up(h);
      DoubleMatrix rows(nope + rope, keys.cols + rope);
      for (int64_t r = 0; r < nope; ++r) std::copy_n(keys.row(r), keys.cols, rows.row(r));
      for (int64_t r = 0; r < rope; ++r) rows(nope + r, keys.cols + r) = 1;
      return rows;
    });
  }
  if (gain_.empty()) return;  // down-projections are as stored
  const auto isUsed = [&](const char* name) { return sets_.count(name) > 0 && sets_[name].through; };
  if (isUsed("Q") && isAllFinite(w.latent->queryDown)) {
    const auto triangle = exactTriangle(GainedRows{a.queryDown, gain_, {}}.all(), job);
    for (const char* name : {"Q", "Q_nope", "Q_rope"}) sets_[name].through = triangle;
  }
  if (isUsed("V") && isAllFinite(w.latent->latentDown) && isAllFinite(w.latent->ropeKey)) {
    const DoubleMatrix latent = GainedRows{a.latentDown, gain_, {}}.all();
    DoubleMatrix down(latent.rows + w.rope, latent.cols);
    std::copy(latent.values.begin(), latent.values.end(), down.values.begin());
    if (w.rope > 0) {
      const DoubleMatrix rope = GainedRows{a.ropeKey, gain_, {}}.all();
      std::copy(rope.values.begin(), rope.values.end(), down.row(latent.rows));
    }
    const auto joint = exactTriangle(std::move(down), job);
    sets_["K_nope"].through = sets_["V"].through = leadingBlock(*joint, latent.rows);
    sets_["K"].through = joint;
  }
}

void LayerFactors::addLatent(const AttentionWeights& a, const std::vector<MatrixPlan>& plans, bool isExact, const Job& job) {
  const HeadWeights& w = weights_;
  const HeadWeights::Latent& l = *w.latent;
  const int64_t H = w.heads, k = w.nope + w.rope;
  const std::string queryModule = a.queryUp.empty() ? a.query.module : a.queryUp.module;
  sets_["UQ_nope"] = perHead(l.queryUp, H, k, 0, w.nope, queryModule);
  sets_["UQ_rope"] = perHead(l.queryUp, H, k, w.nope, w.rope, queryModule);
  sets_["UK"] = perHead(l.keyUp, H, w.nope, 0, w.nope, a.keyUp.module);
  sets_["UV"] = perHead(l.valueUp, H, w.valueWidth, 0, w.valueWidth, a.valueUp.module);
  if (keepsRows_) {
    sets_["O"] = perHead(w.output, H, w.valueWidth, 0, w.valueWidth, a.output.module);
  } else if (uses(plans, "O")) {
    addFromStored("O", {&a.output, true, H, w.valueWidth, nullptr, nullptr, false}, job);
  }

  if (uses(plans, "Q") || uses(plans, "Q_nope") || uses(plans, "Q_rope")) {
    sets_["Q"] = perHead(l.queryUp, H, k, 0, k, queryModule);
    sets_["Q_nope"] = sets_["UQ_nope"];
    sets_["Q_rope"] = sets_["UQ_rope"];
    for (const char* name : {"Q_nope", "Q_rope"}) sets_[name].whole = "Q";
    sets_["Q_rope"].firstRow = w.nope;
    if (l.queryDown.size() > 0) {
      const auto triangle =
          makesTrianglesLater_ && isAllFinite(l.queryDown) ? std::make_shared<const DoubleMatrix>() : triangleOf(l.queryDown, isExact, job);
      for (const char* name : {"Q", "Q_nope", "Q_rope"}) sets_[name].through = triangle, sets_[name].throughModule = a.queryDown.module;
    }
  }
  if (uses(plans, "K") || uses(plans, "K_nope") || uses(plans, "V")) {
    // Latent and rotary key share the residual stream: the triangle of both stacked, its leading block that of the latent.
    const int64_t c = l.latentDown.rows(), rope = l.ropeKey.rows();
    owned_.emplace_back(c + rope, l.latentDown.cols());
    Matrix& down = owned_.back();
    std::copy_n(l.latentDown.data(), l.latentDown.size(), down.row(0));
    if (rope > 0) std::copy_n(l.ropeKey.data(), l.ropeKey.size(), down.row(c));
    const bool isLater = makesTrianglesLater_ && isAllFinite(down);
    const auto joint = isLater ? std::make_shared<const DoubleMatrix>() : triangleOf(down, isExact, job);
    const auto latent = isLater ? joint : leadingBlock(*joint, c);
    down = Matrix();
    sets_["K_nope"] = sets_["UK"];
    sets_["K_nope"].through = latent;
    sets_["K_nope"].throughModule = a.latentDown.module;
    sets_["K_nope"].whole = "K";  // whose triangle has zeros beside the latent's
    sets_["V"] = sets_["UV"];
    sets_["V"].through = latent;
    sets_["V"].throughModule = a.latentDown.module;
    FactorSet both;
    both.module = a.keyUp.module;
    both.through = joint;
    both.throughModule = a.latentDown.module;
    for (int64_t h = 0; uses(plans, "K") && h < H; ++h) {
      Matrix rows = Matrix::zeros(k, c + rope);  // [W_UK,h^T 0; 0 I]
      for (int64_t r = 0; r < w.nope; ++r) std::copy_n(l.keyUp.row(h * w.nope + r), c, rows.row(r));
      for (int64_t r = 0; r < rope; ++r) rows(w.nope + r, c + r) = 1;
      owned_.push_back(std::move(rows));
      both.rows.push_back(owned_.back());
    }
    sets_["K"] = std::move(both);
  }
  sets_["K_rope"] = perHead(l.ropeKey, 1, l.ropeKey.rows(), 0, l.ropeKey.rows(), a.ropeKey.module);
}

void LayerFactors::computeCores(const Job& job) {
  struct Piece {
    FactorSet* set;
    int64_t head;
    const Matrix* through;
  };
  std::vector<Piece> pieces;
  std::map<const DoubleMatrix*, Matrix> narrow;
  std::vector<Piece> parts;  // of factors whose Gram matrices are made anyway
  for (auto& [name, set] : sets_) {
    if (!set.hasRows()) continue;
    set.cores.resize(set.rows.size());
    if (sets_.count(set.whole) > 0) {
      for (int64_t h = 0; h < set.heads(); ++h) parts.push_back({&set, h, nullptr});
      continue;
    }
    const Matrix* through = nullptr;
    if (set.through) {
      if (!narrow.count(set.through.get())) narrow[set.through.get()] = set.through->toFloat();
      through = &narrow[set.through.get()];
    }
    for (int64_t h = 0; h < set.heads(); ++h) pieces.push_back({&set, h, through});
  }
  parallelFor(
      static_cast<int64_t>(pieces.size()),
      [&](int64_t i) {
        const auto [set, head, through] = pieces[static_cast<size_t>(i)];
        const ConstMatrixView rows = set->rows[static_cast<size_t>(head)];
        FactorCore& core = set->cores[static_cast<size_t>(head)];
        if (through == nullptr) {
          core = factorCore(rows);
          return;
        }
        Matrix product(rows.rows, rows.cols);
        for (int64_t r = 0; r < rows.rows; ++r) std::copy_n(rows.row(r), rows.cols, product.row(r));
        throughTriangle(product, *through);
        core = factorCore(product);
      },
      &job);
  parallelFor(
      static_cast<int64_t>(parts.size()),
      [&](int64_t i) {
        const auto [set, head, through] = parts[static_cast<size_t>(i)];
        const ConstMatrixView rows = set->rows[static_cast<size_t>(head)];
        const DoubleMatrix& gram = sets_.at(set->whole).cores[static_cast<size_t>(head)].gram;
        DoubleMatrix own(rows.rows, rows.rows);
        for (int64_t r = 0; r < rows.rows; ++r) std::copy_n(gram.row(set->firstRow + r) + set->firstRow, rows.rows, own.row(r));
        set->cores[static_cast<size_t>(head)] = factorCore(std::move(own), rows.cols);
      },
      &job);
}

bool LayerFactors::hasRows(const MatrixPlan& plan) const {
  return set(plan.left).hasRows() && (plan.right.empty() || set(plan.right).hasRows());
}

int64_t LayerFactors::indexIn(const FactorSet& set, int64_t head) const {
  if (set.heads() == weights_.heads) return head;
  return set.heads() == 1 ? 0 : weights_.kvHeadOf(head);
}

int64_t LayerFactors::headsOf(const MatrixPlan& plan) const { return plan.right.empty() ? set(plan.left).heads() : weights_.heads; }

std::unique_ptr<const DoubleMatrix> LayerFactors::middle(const MatrixPlan& plan) const {
  if (!plan.offset) return nullptr;
  const bool isRopePart = plan.left == "Q_rope";
  const int64_t width = isRopePart ? weights_.rope : weights_.keyWidth;
  const int64_t first = weights_.latent && !isRopePart ? weights_.nope : 0;
  return std::make_unique<const DoubleMatrix>(rotationMatrix(rope_, width, first, *plan.offset));
}

std::vector<Spectrum> LayerFactors::gramSpectra(const MatrixPlan& plan, int64_t first, int64_t count, const DoubleMatrix* middle) const {
  const FactorSet& left = set(plan.left);
  std::vector<const FactorCore*> lefts;
  for (int64_t h = first; h < first + count; ++h)
    lefts.push_back(&left.cores[static_cast<size_t>(plan.right.empty() ? h : indexIn(left, h))]);
  if (plan.right.empty()) return factorSpectra(lefts);
  const FactorSet& right = set(plan.right);
  // The square of a core whose values lie within four decades keeps them to 1e-11 of the largest, in half the time.
  constexpr double kTame = 1e4;
  std::vector<CorePair> pairs, tame;
  std::vector<size_t> whose;
  for (size_t i = 0; i < lefts.size(); ++i) {
    pairs.push_back({lefts[i], &right.cores[static_cast<size_t>(indexIn(right, first + static_cast<int64_t>(i)))]});
    if (pairs[i].left->condition * pairs[i].right->condition <= kTame) tame.push_back(pairs[i]), whose.push_back(i);
  }
  std::vector<Spectrum> out(pairs.size()), squared = fusedSpectra(tame, middle);
  for (size_t i = 0; i < whose.size(); ++i) out[whose[i]] = std::move(squared[i]);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const FactorCore &l = *pairs[i].left, &r = *pairs[i].right;
    if (!(l.condition * r.condition <= kTame)) out[i] = fusedSpectrum(l, r, middle);
    // A product with a shared triangle was rounded to float32 on the way.
    if (left.through || right.through) out[i].noise += 6e-8 * l.norm * r.norm;
  }
  return out;
}

Spectrum LayerFactors::exactSpectrum(const MatrixPlan& plan, int64_t head, const DoubleMatrix* middle) const {
  const FactorSet& left = set(plan.left);
  if (plan.right.empty()) return householderSpectrum(left.exact(head));
  const FactorSet& right = set(plan.right);
  return householderSpectrum(left.exact(indexIn(left, head)), right.exact(indexIn(right, head)), middle);
}

std::string LayerFactors::note(const FactorSet& set, int64_t head) {
  if (set.through && isAllFinite(set.rows[static_cast<size_t>(head)])) return set.throughModule + ": NaN or infinite values";
  return set.module + ": NaN or infinite values" + (set.heads() > 1 ? " in head " + std::to_string(head) : "");
}

std::vector<std::string> LayerFactors::notes() const {
  std::set<std::string> found;
  for (const auto& [name, set] : sets_) {
    const bool hasBrokenShare =
        set.cores.empty() && set.through &&
        !std::all_of(set.through->values.begin(), set.through->values.end(), [](double v) { return std::isfinite(v); });
    for (int64_t h = 0; h < set.heads(); ++h) {
      const size_t s = static_cast<size_t>(h);
      if (set.cores.empty() ? !hasBrokenShare && isAllFinite(set.rows[s]) : set.cores[s].isFinite) continue;
      found.insert(note(set, h));
    }
  }
  return {found.begin(), found.end()};
}

}  // namespace headscope::core
