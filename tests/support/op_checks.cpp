#include "tests/support/op_checks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <sstream>

#include "tests/support/naive_ops.h"
#include "tests/support/op_cases.h"

namespace headscope::tests {

using namespace core;

namespace {

/// Raises the check's difference by a result's, relative to the largest expected number (at least 1).
void compare(OpCheck& check, ConstMatrixView got, const Doubles& expected) {
  double scale = 1;
  for (const double e : expected) scale = std::max(scale, std::abs(e));
  for (int64_t r = 0; r < got.rows; ++r) {
    for (int64_t c = 0; c < got.cols; ++c) {
      if (!std::isfinite(got(r, c))) check.isFinite = false;
      check.difference = std::max(check.difference, std::abs(got(r, c) - expected[static_cast<size_t>(r * got.cols + c)]) / scale);
    }
  }
}

Doubles doublesOf(ConstMatrixView m) {
  Doubles out;
  for (int64_t r = 0; r < m.rows; ++r) out.insert(out.end(), m.row(r), m.row(r) + m.cols);
  return out;
}

/// The matrix as part of a wider tensor, so that strides matter; the surroundings are NaN.
Tensor inset(Backend& backend, ConstMatrixView values) {
  Matrix wide(values.rows, values.cols + 5);
  std::fill_n(wide.data(), wide.size(), std::nanf(""));
  const Tensor part = backend.upload(wide).colsFrom(3, values.cols);
  backend.write(values, part);
  return part;
}

std::string sizes(std::initializer_list<int64_t> numbers) {
  std::ostringstream text;
  for (const int64_t n : numbers) text << ' ' << n;
  return text.str();
}

/// A stored tensor of random numbers with a view on it.
struct Stored {
  std::vector<std::byte> bytes;
  std::vector<float> scales;
  WeightView view;
};

void storeElement(DType type, float value, std::byte* to) {
  if (type == DType::F32) std::memcpy(to, &value, 4);
  if (type == DType::F16) {
    // Numbers of about 1: five bits of exponent are enough, the fraction is cut
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const int32_t exponent = static_cast<int32_t>((bits >> 23) & 0xFF) - 127 + 15;
    const uint16_t half = exponent <= 0 ? 0 : static_cast<uint16_t>(((bits >> 16) & 0x8000) | (exponent << 10) | ((bits >> 13) & 0x3FF));
    std::memcpy(to, &half, 2);
  }
  if (type == DType::BF16) {
    const uint16_t half = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
    std::memcpy(to, &half, 2);
  }
  if (type == DType::F8_E4M3) *to = static_cast<std::byte>(static_cast<uint8_t>(static_cast<int>(value * 100) & 0xF7));
}

Stored store(const LinearCase& c, uint64_t seed) {
  Stored s;
  // With groups the stored matrix holds twice the rows; the view takes the second half of every group
  const int64_t outputs = c.groups > 1 ? 2 * c.outputs : c.outputs;
  WeightView& v = s.view;
  v.dtype = c.dtype;
  v.isInByOut = c.isInByOut;
  v.storedRows = c.isInByOut ? c.inputs : outputs;
  v.storedCols = c.isInByOut ? outputs : c.inputs;
  const Matrix values = randomMatrix(v.storedRows, v.storedCols, seed, 1.0 / std::sqrt(static_cast<double>(c.inputs)));
  const size_t size = sizeOf(c.dtype);
  s.bytes.resize(static_cast<size_t>(values.size()) * size);
  for (int64_t i = 0; i < values.size(); ++i) storeElement(c.dtype, values.data()[i], s.bytes.data() + static_cast<size_t>(i) * size);
  v.data = s.bytes.data();
  v.outGroupSize = v.outGroupStride = outputs;
  v.inCount = c.inputs;
  v.name = "case";
  if (c.groups > 1) v = v.inGroups(c.groups).withinGroups(c.outputs / c.groups, c.outputs / c.groups);
  if (c.dtype == DType::F8_E4M3) {
    v.blockRows = 128;
    v.blockCols = 64;
    v.scaleCols = (c.inputs + 63) / 64;
    for (int64_t i = 0; i < v.scaleCols * ((outputs + 127) / 128); ++i) s.scales.push_back(0.01f + 0.003f * static_cast<float>(i));
    v.scales = reinterpret_cast<const std::byte*>(s.scales.data());
    v.scaleType = DType::F32;
  }
  return s;
}

std::shared_ptr<const LinearChange> changeOf(const LinearCase& c) {
  if (c.rank == 0 && !c.hasRowScale) return nullptr;
  auto change = std::make_shared<LinearChange>();
  if (c.rank > 0) change->terms.push_back({randomMatrix(c.rank, c.inputs, 5, 0.2), randomMatrix(c.outputs, c.rank, 6, 0.3)});
  if (c.hasRowScale) {
    for (int64_t o = 0; o < c.outputs; ++o) change->rowScale.push_back(0.5f + 0.01f * static_cast<float>(o));
  }
  return change;
}

OpCheck checkLinearCase(Backend& backend, const LinearCase& c) {
  OpCheck check{Op::Linear, "linear" + sizes({c.rows, c.inputs, c.outputs}) + " " + std::string(nameOf(c.dtype)), 0, 3e-6};
  const Stored stored = store(c, 11);
  Linear linear;
  linear.weight = stored.view;
  if (c.hasBias) linear.bias.resize(static_cast<size_t>(c.outputs), 0.7f);
  linear.change = changeOf(c);
  const Matrix x = randomMatrix(c.rows, c.inputs, 12), before = randomMatrix(c.rows, c.outputs, 13);
  const Tensor out = inset(backend, before);
  Job job;
  backend.linear(inset(backend, x), linear, c.isAdded ? Into::Add : Into::Replace, out, job);
  compare(check, backend.download(out), naiveLinear(x, stored.view.decode(), linear, c.isAdded ? &before : nullptr));
  return check;
}

/// The stored tensor as a table, a few rows in host memory.
OpCheck checkTableProduct(Backend& backend, const LinearCase& c) {
  OpCheck check{Op::TableProduct, "table product" + sizes({c.rows, c.inputs, c.outputs}) + " " + std::string(nameOf(c.dtype)), 0, 3e-6};
  const Stored stored = store(c, 14);
  const Matrix wide = randomMatrix(c.rows, c.inputs + 3, 15);
  const ConstMatrixView x = wide.view().colsFrom(2, c.inputs);
  compare(check, backend.tableProduct(x, stored.view, Job()), naiveLinear(x, stored.view.decode(), {}, nullptr));
  return check;
}

OpCheck checkSquareProduct(Backend& backend, int64_t count, int64_t rows, int64_t cols) {
  OpCheck check{Op::SquareProduct, "square product" + sizes({count, rows, cols}), 0, 3e-6};
  const Matrix x = randomMatrix(count, rows, 81), w = randomMatrix(rows, cols, 82, 1.0 / std::sqrt(static_cast<double>(rows + cols)));
  const Tensor out = inset(backend, randomMatrix(count, rows, 83));
  backend.squareProduct(inset(backend, x), inset(backend, w), out, Job());
  Doubles expected(static_cast<size_t>(count * rows), 0.0);
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t c = 0; c < cols; ++c) {
      double inner = 0;
      for (int64_t r = 0; r < rows; ++r) inner += static_cast<double>(x(n, r)) * w(r, c);
      for (int64_t r = 0; r < rows; ++r) expected[static_cast<size_t>(n * rows + r)] += inner * w(r, c);
    }
  }
  compare(check, backend.download(out), expected);
  return check;
}

OpCheck checkEmbed(Backend& backend) {
  OpCheck check{Op::Embed, "embed", 0, 1e-6};
  const Stored stored = store({1, 33, 50, DType::BF16}, 21);
  const std::vector<int32_t> ids = {49, 0, 7, 7};
  const Matrix before = randomMatrix(4, 33, 22), table = stored.view.decode();
  const Tensor out = inset(backend, before);
  Job job;
  backend.embed(stored.view, ids, 1.0f, Into::Add, out, job);
  backend.embed(stored.view, ids, 2.5f, Into::Add, out, job);
  Doubles expected;
  for (size_t n = 0; n < ids.size(); ++n) {
    for (int64_t c = 0; c < 33; ++c) expected.push_back(before(static_cast<int64_t>(n), c) + 3.5 * table(ids[n], c));
  }
  compare(check, backend.download(out), expected);
  const Tensor fresh = inset(backend, before);
  backend.embed(stored.view, ids, 1.0f, Into::Replace, fresh, job);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = (expected[i] - before.data()[i]) / 3.5;
  compare(check, backend.download(fresh), expected);
  return check;
}

OpCheck checkLogits(Backend& backend, int64_t rows, int64_t vocabulary, double softcap) {
  OpCheck check{Op::LogitSummary, "logits" + sizes({rows, vocabulary}), 0, 3e-6};
  const LinearCase c{rows, 40, vocabulary, DType::F16};
  const Stored stored = store(c, 31);
  Linear linear;
  linear.weight = stored.view;
  const Matrix x = randomMatrix(rows, 40, 32, 4.0);
  std::vector<int32_t> targets;
  for (int64_t n = 0; n < rows; ++n) targets.push_back(static_cast<int32_t>(n * 37 % vocabulary));
  Job job;
  const LogitSummary summary = backend.logitSummary(inset(backend, x), linear, softcap, targets, job);
  const Doubles logits = naiveLinear(x, stored.view.decode(), linear, nullptr);
  for (int64_t n = 0; n < rows; ++n) {
    double sum = 0;
    const auto logit = [&](int64_t o) {
      const double l = logits[static_cast<size_t>(n * vocabulary + o)];
      return softcap > 0 ? softcap * std::tanh(l / softcap) : l;
    };
    for (int64_t o = 0; o < vocabulary; ++o) sum += std::exp(logit(o));
    const float got[2] = {static_cast<float>(summary.logSumExp[static_cast<size_t>(n)]), summary.target[static_cast<size_t>(n)]};
    compare(check, {got, 1, 2, 2}, {std::log(sum), logit(targets[static_cast<size_t>(n)])});
  }
  return check;
}

OpCheck checkNorm(Backend& backend, const RowsCase& c, NormKind kind, bool hasBias) {
  OpCheck check{Op::Norm, std::string(kind == NormKind::LayerNorm ? "layer" : "rms") + " norm" + sizes({c.rows, c.cols, c.groups}), 0,
                3e-6};
  const int64_t width = c.cols / c.groups;
  NormWeights weights;
  for (int64_t i = 0; i < width; ++i) weights.gain.push_back(1.0f + 0.1f * static_cast<float>(i % 7));
  if (hasBias) weights.bias.assign(static_cast<size_t>(width), 0.3f);
  Matrix x = randomMatrix(c.rows, c.cols, 41);
  for (int64_t i = 0; i < x.size(); ++i) x.data()[i] += 3.0f;  // a mean that must be taken off exactly
  const Tensor in = inset(backend, x);
  Job job;
  backend.norm(in, {kind, 1e-5, c.groups}, weights, in, job);
  compare(check, backend.download(in), naiveNorm(x, {kind, 1e-5, c.groups}, weights));
  return check;
}

OpCheck checkRope(Backend& backend, int64_t rows, RopeRule rule, RopeSpec spec) {
  OpCheck check{Op::Rope, "rope" + sizes({rows, rule.heads, rule.headWidth, rule.offset, spec.dims}), 0, 1e-6};
  for (int64_t i = 0; i < spec.dims / 2; ++i) {
    spec.frequencies.push_back(std::pow(spec.base, -2.0 * static_cast<double>(i) / static_cast<double>(spec.dims)));
  }
  const Matrix x = randomMatrix(rows, rule.heads * rule.headWidth, 51);
  const Tensor in = inset(backend, x);
  Job job;
  backend.rope(in, rule, spec, job);
  compare(check, backend.download(in), naiveRope(x, rule, spec));
  rule.isInverse = true;
  backend.rope(in, rule, spec, job);
  compare(check, backend.download(in), doublesOf(x));
  return check;
}

OpCheck checkActivation(Backend& backend, Activation kind) {
  OpCheck check{Op::Activate, "activation " + std::to_string(static_cast<int>(kind)), 0, 4e-7};
  Matrix x(1, 4001), y = randomMatrix(1, 4001, 61);
  for (int64_t i = 0; i < x.size(); ++i) x(0, i) = static_cast<float>(i - 2000) * 0.01f;
  Doubles single, gated;
  for (int64_t i = 0; i < x.size(); ++i) {
    single.push_back(naiveActivation(kind, x(0, i)));
    gated.push_back(single.back() * y(0, i));
  }
  Job job;
  const Tensor a = inset(backend, x), gate = inset(backend, x), b = inset(backend, y);
  backend.activate(a, kind, job);
  compare(check, backend.download(a), single);
  backend.gate(b, gate, kind, job);
  compare(check, backend.download(b), gated);
  return check;
}

/// Sums, factors, caps, copies of heads, gathers, norms of rows.
OpCheck checkSmallOps(Backend& backend, const RowsCase& c) {
  OpCheck check{Op::Add, "small operations" + sizes({c.rows, c.cols, c.groups}), 0, 1e-6};
  const Matrix x = randomMatrix(c.rows, c.cols, 71, 5.0), y = randomMatrix(c.rows, c.cols, 72);
  Doubles expected;
  for (int64_t i = 0; i < x.size(); ++i) expected.push_back(3.0 * std::tanh(0.5 * (static_cast<double>(x.data()[i]) + y.data()[i]) / 3.0));
  Job job;
  const Tensor a = inset(backend, x);
  backend.add(a, inset(backend, y), job);
  backend.scale(a, 0.5f, job);
  backend.softcap(a, 3.0f, job);
  compare(check, backend.download(a), expected);

  const int64_t width = c.cols / c.groups;
  const Tensor heads = inset(backend, Matrix::zeros(c.rows, 3 * (width + 2)));
  backend.copyHeads(inset(backend, x).colsFrom(0, width), 1, heads, 3, 2, job);
  Doubles placed;
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t h = 0; h < 3; ++h) {
      for (int64_t i = -2; i < width; ++i) placed.push_back(i < 0 ? 0.0 : x(r, i));
    }
  }
  compare(check, backend.download(heads), placed);

  std::vector<int32_t> rows;
  std::vector<float> weights;
  for (int64_t r = 0; r < c.rows; r += 2) {
    rows.push_back(static_cast<int32_t>(c.rows - 1 - r));
    weights.push_back(0.25f * static_cast<float>(r + 1));
  }
  const Tensor gathered = inset(backend, Matrix(static_cast<int64_t>(rows.size()), c.cols)), sum = inset(backend, y);
  backend.gatherRows(inset(backend, x), rows, gathered, job);
  backend.scatterRows(gathered, rows, weights, sum, job);
  Doubles scattered = doublesOf(y);
  for (size_t r = 0; r < rows.size(); ++r) {
    for (int64_t i = 0; i < c.cols; ++i)
      scattered[static_cast<size_t>(rows[r] * c.cols + i)] += weights[r] * static_cast<double>(x(rows[r], i));
  }
  compare(check, backend.download(sum), scattered);

  const std::vector<float> norms = backend.rowNorms(inset(backend, x), job);
  Doubles lengths;
  for (int64_t r = 0; r < c.rows; ++r) {
    double square = 0;
    for (int64_t i = 0; i < c.cols; ++i) square += static_cast<double>(x(r, i)) * x(r, i);
    lengths.push_back(std::sqrt(square));
  }
  compare(check, {norms.data(), 1, c.rows, c.rows}, lengths);
  return check;
}

/// Random inputs of a layer, on the host and on the backend.
struct LayerData {
  LayerData(Backend& backend, int64_t count, const AttentionRule& rule, double spread)
      : query(randomMatrix(count, rule.heads * rule.keyWidth, 81, spread)),
        key(randomMatrix(count, rule.kvHeads * rule.keyWidth, 82, spread)),
        value(randomMatrix(count, rule.kvHeads * rule.valueWidth, 83)),
        input{inset(backend, query), inset(backend, key), inset(backend, value), rule} {
    for (int64_t h = 0; h < rule.heads; ++h) {
      maps.push_back(naiveMap(query.view().colsFrom(h * rule.keyWidth, rule.keyWidth),
                              key.view().colsFrom(rule.kvHeadOf(h) * rule.keyWidth, rule.keyWidth), rule));
    }
  }
  Matrix query, key, value;
  AttentionInput input;
  std::vector<NaiveMap> maps;  // [H]
};

std::string nameOfRule(const std::string& op, int64_t count, const AttentionRule& r) {
  return op + sizes({count, r.heads, r.kvHeads, r.keyWidth, r.valueWidth, r.window}) + (r.isCausal ? " causal" : "") +
         (r.softcap > 0 ? " capped" : "");
}

OpCheck checkAttentionCase(Backend& backend, const AttentionCase& c) {
  OpCheck check{Op::Attention, nameOfRule("attention", c.count, c.rule), 0, 5e-6};
  const LayerData data(backend, c.count, c.rule, c.spread);
  const int64_t width = c.rule.valueWidth;
  const Tensor out = inset(backend, Matrix(c.count, c.rule.heads * width));
  Job job;
  const AttentionStatistics rows = backend.attention(data.input, out, job);
  Doubles expected(static_cast<size_t>(c.count * c.rule.heads * width), 0.0);
  for (int64_t h = 0; h < c.rule.heads; ++h) {
    const NaiveMap& map = data.maps[static_cast<size_t>(h)];
    const ConstMatrixView value = data.value.view().colsFrom(c.rule.kvHeadOf(h) * width, width);
    for (int64_t i = 0; i < c.count; ++i) {
      for (int64_t j = 0; j < c.count; ++j) {
        for (int64_t x = 0; x < width; ++x) {
          expected[static_cast<size_t>((i * c.rule.heads + h) * width + x)] += map.at(i, j) * value(j, x);
        }
      }
    }
    const auto row = [&](const Tensor& t) { return backend.download(t.rowsFrom(h, 1)); };
    compare(check, row(rows.max), map.max);
    compare(check, row(rows.logSumExp), map.logSumExp);
    compare(check, row(rows.entropy), map.entropy);
    compare(check, row(rows.distance), map.distance);
  }
  compare(check, backend.download(out), expected);
  return check;
}

OpCheck checkTiles(Backend& backend, const TileCase& c) {
  OpCheck check{Op::MapTile, nameOfRule("map tile", c.count, c.rule), 0, 5e-6};
  const LayerData data(backend, c.count, c.rule, 2.0);
  const Tensor out = backend.allocate(c.count, c.rule.heads * c.rule.valueWidth);
  Job job;
  const AttentionStatistics rows = backend.attention(data.input, out, job);
  for (int64_t level = 0; level == 0 || (c.count - 1) >> (level - 1) > 0; ++level) {
    const int64_t side = (c.count + (int64_t{1} << level) - 1) >> level;
    for (const Pooling pooling : {Pooling::Max, Pooling::Mean}) {
      // The whole, and a part that starts and ends inside
      const TileRequest whole{level, 0, side, 0, side, pooling}, part{level, side / 3, side / 2, side / 4, side / 2, pooling};
      for (const TileRequest& request : {whole, part}) {
        const Matrix tile = backend.mapTile(data.input, rows, 1, request, job);
        Doubles expected;
        for (int64_t r = 0; r < request.rows; ++r) {
          for (int64_t k = 0; k < request.cols; ++k) {
            expected.push_back(naiveCell(data.maps[1], level, request.firstRow + r, request.firstCol + k, pooling));
            if (expected.back() == 0.0 && tile(r, k) != 0.0f) check.isMaskExact = false;
          }
        }
        compare(check, tile, expected);
      }
    }
  }
  return check;
}

OpCheck checkSums(Backend& backend, const TileCase& c) {
  OpCheck check{Op::PatternSums, nameOfRule("sums", c.count, c.rule), 0, 1e-5};
  const LayerData data(backend, c.count, c.rule, 2.0);
  const Tensor out = backend.allocate(c.count, c.rule.heads * c.rule.valueWidth);
  Job job;
  const AttentionStatistics rows = backend.attention(data.input, out, job);
  Doubles mass(static_cast<size_t>(c.count), 0.0);
  for (int64_t i = 0; i < c.count; ++i) {
    for (int64_t j = 0; j < c.count; ++j) mass[static_cast<size_t>(j)] += data.maps[0].at(i, j);
  }
  const std::vector<float> got = backend.columnMass(data.input, rows, 0, job);
  compare(check, {got.data(), 1, c.count, c.count}, mass);
  for (const int64_t step : {int64_t{1}, int64_t{3}, int64_t{40}}) {  // dense, and so sparse that single dots pay
    RowPattern pattern;
    pattern.firstRow = c.count / 5;
    pattern.starts.push_back(0);
    for (int64_t i = pattern.firstRow; i < c.count; ++i) {
      for (int64_t j = i % step; j < c.count; j += step) pattern.cols.push_back(static_cast<int32_t>(j));
      pattern.starts.push_back(static_cast<int64_t>(pattern.cols.size()));
    }
    Doubles expected;
    for (int64_t h = 0; h < c.rule.heads; ++h) {
      for (int64_t i = pattern.firstRow; i < c.count; ++i) {
        double sum = 0;
        for (int64_t j = i % step; j < c.count; j += step) sum += data.maps[static_cast<size_t>(h)].at(i, j);
        expected.push_back(sum);
      }
    }
    compare(check, backend.patternSums(data.input, rows, pattern, job), expected);
  }
  return check;
}

/// Counts may differ by one where a sum lands on the threshold.
OpCheck checkKeysNeeded(Backend& backend, const TileCase& c) {
  OpCheck check{Op::KeysNeeded, nameOfRule("keys needed", c.count, c.rule), 0, 1.0};
  const LayerData data(backend, c.count, c.rule, 2.0);
  const Tensor out = backend.allocate(c.count, c.rule.heads * c.rule.valueWidth);
  Job job;
  const AttentionStatistics rows = backend.attention(data.input, out, job);
  const double shares[] = {0.5, 0.8, 0.999};
  Matrix weights = randomMatrix(c.rule.heads, c.count, 91);
  for (int64_t i = 0; i < weights.size(); ++i) weights.data()[i] = std::abs(weights.data()[i]) + 0.1f;
  const KeysNeeded needed = backend.keysNeeded(data.input, rows, &weights, shares, job);
  int64_t apart = 0;
  for (int64_t h = 0; h < c.rule.heads; ++h) {
    for (int64_t s = 0; s < 3; ++s) {
      for (int64_t i = 0; i < c.count; ++i) {
        Doubles plain, weighted;
        double sum = 0;
        for (int64_t j = 0; j < c.count; ++j) {
          plain.push_back(data.maps[static_cast<size_t>(h)].at(i, j));
          weighted.push_back(plain.back() * weights(h, j));
          sum += weighted.back();
        }
        for (double& w : weighted) w /= sum;
        for (const double difference : {needed.plain(h * 3 + s, i) - naiveKeysNeeded(plain, shares[s]),
                                        needed.weighted(h * 3 + s, i) - naiveKeysNeeded(weighted, shares[s])}) {
          check.difference = std::max(check.difference, std::abs(difference));
          if (difference != 0) ++apart;
        }
      }
    }
  }
  if (apart * 50 > c.rule.heads * 6 * c.count + 50) check.difference = 2;  // more than 2 % on a threshold is no accident
  return check;
}

/// A NaN among the queries stays in its row: statistics, map, counts.
OpCheck checkNotANumber(Backend& backend) {
  OpCheck check{Op::KeysNeeded, "a row that is not a number", 0, 0};
  const AttentionRule rule{1, 1, 4, 4, 0.5, 0, 0, true};
  Matrix q = randomMatrix(100, 4, 1);
  q(70, 2) = std::nanf("");
  const AttentionInput input{inset(backend, q), inset(backend, randomMatrix(100, 4, 2)), inset(backend, randomMatrix(100, 4, 3)), rule};
  const Tensor out = backend.allocate(100, 4);
  Job job;
  const AttentionStatistics rows = backend.attention(input, out, job);
  const double shares[] = {0.9};
  const KeysNeeded needed = backend.keysNeeded(input, rows, nullptr, shares, job);
  const Matrix sums = backend.download(rows.logSumExp), values = backend.download(out);
  for (int64_t i = 0; i < 100; ++i) {
    if (std::isnan(sums(0, i)) != (i == 70) || std::isnan(values(i, 0)) != (i == 70) || std::isnan(needed.plain(0, i)) != (i == 70))
      check.difference = 1;
  }
  const Matrix row = backend.mapTile(input, rows, 0, {0, 70, 1, 0, 100, Pooling::Max}, job),
               pooled = backend.mapTile(input, rows, 0, {3, 8, 1, 0, 13, Pooling::Max}, job);
  if (!std::isnan(row(0, 3)) || !std::isnan(pooled(0, 0))) check.difference = 1;
  check.isMaskExact = row(0, 71) == 0.0f;
  return check;
}

void append(std::vector<OpCheck>& all, const Backend& backend, Op op, const std::function<OpCheck()>& check) {
  if (backend.supports(op)) all.push_back(check());
}

}  // namespace

std::vector<OpCheck> checkLinear(Backend& backend) {
  std::vector<OpCheck> all;
  for (const LinearCase& c : linearCases()) {
    if (isLeftOut(c.rows * c.inputs * c.outputs, 200'000)) continue;
    append(all, backend, Op::Linear, [&] { return checkLinearCase(backend, c); });
    if (c.rank > 0 || c.hasRowScale || c.isAdded || c.hasBias) continue;
    append(all, backend, Op::TableProduct, [&] { return checkTableProduct(backend, c); });
  }
  for (const auto& [count, rows, cols] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {16, 130, 61}, {3, 40, 300}})
    append(all, backend, Op::SquareProduct,
           [&, count = count, rows = rows, cols = cols] { return checkSquareProduct(backend, count, rows, cols); });
  append(all, backend, Op::Embed, [&] { return checkEmbed(backend); });
  append(all, backend, Op::LogitSummary, [&] { return checkLogits(backend, 3, 700, 0); });
  if (!onlySmallCases()) append(all, backend, Op::LogitSummary, [&] { return checkLogits(backend, 530, 300, 8.0); });
  return all;
}

std::vector<OpCheck> checkRowOps(Backend& backend) {
  std::vector<OpCheck> all;
  for (const RowsCase& c : rowsCases()) {
    if (isLeftOut(c.rows * c.cols, 10'000)) continue;
    append(all, backend, Op::Norm, [&] { return checkNorm(backend, c, NormKind::RmsNorm, false); });
    append(all, backend, Op::Norm, [&] { return checkNorm(backend, c, NormKind::LayerNorm, true); });
    append(all, backend, Op::Add, [&] { return checkSmallOps(backend, c); });
  }
  RopeSpec spec;
  for (const bool isInterleaved : {false, true}) {
    spec.isInterleaved = isInterleaved;
    spec.dims = 8;
    append(all, backend, Op::Rope, [&] { return checkRope(backend, 70, {3, 8, 0}, spec); });
    append(all, backend, Op::Rope, [&] { return checkRope(backend, 5, {2, 24, 16, 100}, spec); });
    spec.magnitude = 1.3;
    append(all, backend, Op::Rope, [&] { return checkRope(backend, 1, {1, 8, 0}, spec); });
    spec.dims = 2;
    append(all, backend, Op::Rope, [&] { return checkRope(backend, 9, {4, 3, 0}, spec); });
  }
  for (const Activation kind : {Activation::GeluErf, Activation::GeluTanh, Activation::GeluQuick, Activation::Silu, Activation::Relu,
                                Activation::ReluSquared, Activation::Tanh, Activation::Sigmoid, Activation::Identity}) {
    append(all, backend, Op::Activate, [&] { return checkActivation(backend, kind); });
  }
  return all;
}

std::vector<OpCheck> checkAttention(Backend& backend) {
  std::vector<OpCheck> all;
  for (const AttentionCase& c : attentionCases()) {
    if (isLeftOut(c.count, 140)) continue;
    append(all, backend, Op::Attention, [&] { return checkAttentionCase(backend, c); });
  }
  return all;
}

std::vector<OpCheck> checkMaps(Backend& backend) {
  std::vector<OpCheck> all;
  append(all, backend, Op::KeysNeeded, [&] { return checkNotANumber(backend); });
  for (const TileCase& c : tileCases()) {
    if (isLeftOut(c.count, 150)) continue;
    append(all, backend, Op::MapTile, [&] { return checkTiles(backend, c); });
    append(all, backend, Op::PatternSums, [&] { return checkSums(backend, c); });
    append(all, backend, Op::KeysNeeded, [&] { return checkKeysNeeded(backend, c); });
  }
  return all;
}

std::vector<OpCheck> checkAllOps(Backend& backend) {
  std::vector<OpCheck> all;
  for (const auto checks : {checkRowOps, checkLinear, checkAttention, checkMaps, checkWeights, checkMasks}) {
    for (OpCheck& check : checks(backend)) all.push_back(std::move(check));
  }
  return all;
}

}  // namespace headscope::tests
