// Adapters under multi-head latent attention: a head's factor in the residual stream is E T, E [k, m] its up-projection (norm gains
// inside) and T [m, d] the shared down-projection. Keys: T = [W_DKV; W_KR], E = [W_UK,h 0; 0 I].
#include <algorithm>
#include <cstring>

#include "core/backend/backend.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/lora_sides.h"

namespace headscope::core {
namespace {

using Kind = LoraSide::Kind;

/// Rows of one part of T and what changes them.
struct DownPart {
  const Linear *before, *after;
};

/// One side as E_h T: the stored maps that make it.
struct Product {
  const Linear *up = nullptr, *upAfter = nullptr;  // rows of head h: [h * stride, + rows)
  int64_t rows = 0, stride = 0;                    // of the up-projection; the factor's remaining rows read T's last ones directly
  const std::vector<float>*gain = nullptr, *gainAfter = nullptr;  // of the latent norm
  std::vector<DownPart> down;                                     // parts of T, one below the other; empty: T is the identity
};

bool isMergedMap(const Linear& before, const Linear& after) {
  return before.weight.data != after.weight.data || (after.change && !after.change->rowScale.empty());
}

Matrix stackDown(const std::vector<DownPart>& parts, bool isAfter, const Job& job) {
  int64_t rows = 0, cols = 0;
  for (const DownPart& p : parts) rows += p.before->outputs(), cols = p.before->inputs();
  Matrix t(rows, cols);
  int64_t at = 0;
  for (const DownPart& p : parts) {
    const Matrix part = decodeLinear(isAfter ? *p.after : *p.before, 0, -1, &job);
    std::copy_n(part.data(), part.size(), t.row(at));
    at += part.rows();
  }
  return t;
}

DoubleMatrix below(const DoubleMatrix& a, const DoubleMatrix& b) {
  DoubleMatrix out(a.rows + b.rows, std::max(a.cols, b.cols));
  std::copy(a.values.begin(), a.values.end(), out.values.begin());
  std::copy(b.values.begin(), b.values.end(), out.values.begin() + static_cast<int64_t>(a.values.size()));
  return out;
}

/// What the closures need after the side is made.
struct State {
  std::shared_ptr<const LoraMaps> maps;  // what product points into
  Product product;
  int64_t width = 0, inner = 0;  // k, m
  Matrix down, downAfter;        // T [m, d]; empty when E is the factor. downAfter only where rows are merged
  DoubleMatrix directions;       // D [r, d] of the unmerged side

  /// E_h [k, m].
  DoubleMatrix up(int64_t h, bool isAfter) const {
    const Linear& linear = isAfter ? *product.upAfter : *product.up;
    const std::vector<float>* gain = isAfter ? product.gainAfter : product.gain;
    Matrix rows(product.rows, linear.inputs());
    decodeTile(linear, h * product.stride, product.rows, 0, rows.view());
    DoubleMatrix e(width, inner);
    for (int64_t r = 0; r < product.rows; ++r) {
      for (int64_t c = 0; c < rows.cols(); ++c) {
        const bool hasGain = gain != nullptr && !gain->empty();
        e(r, c) = static_cast<double>(rows(r, c)) * (hasGain ? static_cast<double>((*gain)[static_cast<size_t>(c)]) : 1.0);
      }
    }
    for (int64_t r = product.rows; r < width; ++r) e(r, inner - width + r) = 1.0;
    return e;
  }
  DoubleMatrix factor(int64_t h, bool isAfter) const {
    const Matrix& t = isAfter ? downAfter : down;
    return t.size() == 0 ? up(h, isAfter) : multiply(up(h, isAfter), DoubleMatrix::from(t));
  }
};

Product productOf(Kind kind, const AttentionWeights& b, const AttentionWeights& a, const ModelSpec& spec) {
  const MlaSpec& mla = *spec.mla;
  Product p;
  if (kind == Kind::Query) {
    const bool hasLatent = !b.queryDown.empty();
    p.up = hasLatent ? &b.queryUp : &b.query, p.upAfter = hasLatent ? &a.queryUp : &a.query;
    p.rows = p.stride = mla.nope + mla.rope;
    if (hasLatent) p.gain = &b.queryLatentNorm.gain, p.gainAfter = &a.queryLatentNorm.gain, p.down = {{&b.queryDown, &a.queryDown}};
    return p;
  }
  p.gain = &b.latentNorm.gain, p.gainAfter = &a.latentNorm.gain;
  p.down = {{&b.latentDown, &a.latentDown}};
  if (kind == Kind::Key) {
    p.up = &b.keyUp, p.upAfter = &a.keyUp, p.rows = p.stride = mla.nope;
    p.down.push_back({&b.ropeKey, &a.ropeKey});
  } else {
    p.up = &b.valueUp, p.upAfter = &a.valueUp, p.rows = p.stride = spec.valueWidth;
  }
  return p;
}

/// D and, head by head, C of an unmerged side.
struct Change {
  DoubleMatrix directions;  // [r, d]
  DoubleMatrix upDown;      // A_up with the gain, [r_up, m]
  Matrix upUp;              // B_up [all rows, r_up]
  DoubleMatrix downUp;      // B_down [m, r_down]
};

Change changeOf(const State& s) {
  Change c;
  StackedTerms up = stackTerms(s.product.upAfter->change.get());
  c.upDown = DoubleMatrix(up.down.rows(), s.inner);
  for (int64_t r = 0; r < up.down.rows(); ++r) {
    for (int64_t i = 0; i < up.down.cols(); ++i) {
      const bool hasGain = s.product.gain != nullptr && !s.product.gain->empty();
      c.upDown(r, i) =
          static_cast<double>(up.down(r, i)) * (hasGain ? static_cast<double>((*s.product.gain)[static_cast<size_t>(i)]) : 1.0);
    }
  }
  c.upUp = std::move(up.up);
  c.directions = s.down.size() == 0 ? c.upDown : multiply(c.upDown, DoubleMatrix::from(s.down));
  // The parts of T are views of one stored map where an adapter changes both: their A is the same and is taken once.
  int64_t at = 0;
  Matrix last;
  c.downUp = DoubleMatrix(s.inner, 0);
  for (const DownPart& part : s.product.down) {
    StackedTerms terms = stackTerms(part.after->change.get());
    const int64_t r = terms.down.rows();
    const bool isSame = r > 0 && last.size() == terms.down.size() &&
                        std::memcmp(last.data(), terms.down.data(), static_cast<size_t>(last.size()) * sizeof(float)) == 0;
    const int64_t first = isSame ? c.downUp.cols - r : c.downUp.cols;
    if (r > 0 && !isSame) {
      DoubleMatrix wider(s.inner, first + r);
      for (int64_t i = 0; i < s.inner; ++i) std::copy_n(c.downUp.row(i), first, wider.row(i));
      c.downUp = std::move(wider);
      c.directions = below(c.directions, DoubleMatrix::from(terms.down));
    }
    for (int64_t i = 0; i < terms.up.rows(); ++i) {
      for (int64_t j = 0; j < r; ++j) c.downUp(at + i, first + j) = static_cast<double>(terms.up(i, j));
    }
    at += part.before->outputs();
    if (!isSame) last = std::move(terms.down);
  }
  return c;
}

}  // namespace

LatentSide latentSide(Kind kind, std::shared_ptr<const LoraMaps> maps, const Job& job, Backend* backend) {
  const ModelSpec& spec = maps->spec;
  const auto state = std::make_shared<State>();
  state->maps = maps;
  state->product = productOf(kind, maps->before, maps->after, spec);
  const Product& p = state->product;
  state->width = kind == Kind::Value ? spec.valueWidth : spec.headWidth;
  bool isMerged = isMergedMap(*p.up, *p.upAfter) || (p.gain != nullptr && *p.gain != *p.gainAfter);
  bool hasTerms = p.upAfter->change && !p.upAfter->change->terms.empty();
  for (const DownPart& part : p.down) {
    isMerged = isMerged || isMergedMap(*part.before, *part.after);
    hasTerms = hasTerms || (part.after->change && !part.after->change->terms.empty());
  }
  if (!p.down.empty()) state->down = stackDown(p.down, false, job);
  if (isMerged && !p.down.empty()) state->downAfter = stackDown(p.down, true, job);
  state->inner = p.down.empty() ? p.up->inputs() : state->down.rows();
  const int64_t H = spec.heads, k = state->width, d = p.down.empty() ? p.up->inputs() : state->down.cols();

  LatentSide out;
  out.isChanged = isMerged || hasTerms;
  out.heads.resize(static_cast<size_t>(H));
  const auto difference = [state](int64_t h) {
    DoubleMatrix f = state->factor(h, true);
    const DoubleMatrix old = state->factor(h, false);
    for (size_t i = 0; i < f.values.size(); ++i) f.values[i] -= old.values[i];
    return f;
  };
  out.stacksOf = [state, isMerged, difference](int64_t h) {
    return HeadStacks{state->factor(h, false), isMerged ? difference(h) : state->directions};
  };
  DoubleMatrix square, meeting, shared;  // T T^T [m, m], D T^T [r, m], D D^T [r, r]
  Change change;
  if (!isMerged) {
    change = changeOf(*state);
    state->directions = change.directions;
    const Matrix narrow = state->directions.toFloat();  // A times T in float32 is what the forward pass adds
    if (state->down.size() > 0 && backend != nullptr) {
      const FactorPair pairs[] = {{state->down, state->down}, {narrow, state->down}, {narrow, narrow}};
      std::vector<DoubleMatrix> products = backend->innerProducts(pairs, job);
      square = std::move(products[0]), meeting = std::move(products[1]), shared = std::move(products[2]);
    } else {
      if (state->down.size() > 0) square = gramTiled(state->down, &job);
      meeting = state->down.size() > 0 ? crossGram(narrow, state->down) : state->directions;
      shared = core::gram(narrow);
    }
  }
  parallelFor(
      H,
      [&](int64_t h) {
        HeadSide& side = out.heads[static_cast<size_t>(h)];
        side.width = k, side.depth = d, side.coefficients = DoubleMatrix(k, 0);
        if (isMerged) {
          const DoubleMatrix f = state->factor(h, false), changed = difference(h);
          side.coefficients = DoubleMatrix::identity(k);
          side.gram = multiplyTransposed(f, f), side.cross = multiplyTransposed(changed, f);
          side.directionGram = multiplyTransposed(changed, changed);
          return;
        }
        const DoubleMatrix e = state->up(h, false);
        side.gram = square.rows > 0 ? multiplyTransposed(multiply(e, square), e) : multiplyTransposed(e, e);
        if (!out.isChanged) return;
        side.directionGram = shared;
        side.cross = multiplyTransposed(meeting, e);
        const int64_t ru = change.upUp.cols(), rd = change.downUp.cols;
        DoubleMatrix own(k, ru), after = e;  // rows of B_up; E + B_up A_up
        for (int64_t r = 0; ru > 0 && r < p.rows; ++r) {
          for (int64_t j = 0; j < ru; ++j) own(r, j) = static_cast<double>(change.upUp(h * p.stride + r, j));
        }
        const DoubleMatrix added = multiply(own, change.upDown);
        for (size_t i = 0; i < added.values.size(); ++i) after.values[i] += added.values[i];
        const DoubleMatrix through = multiply(after, change.downUp);
        side.coefficients = DoubleMatrix(k, ru + rd);
        for (int64_t r = 0; r < k; ++r) {
          std::copy_n(own.row(r), ru, side.coefficients.row(r));
          std::copy_n(through.row(r), rd, side.coefficients.row(r) + ru);
        }
      },
      &job);
  return out;
}

}  // namespace headscope::core
