#include "core/backend/self_test.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <sstream>

#include "core/backend/device_fault.h"
#include "core/weights/content_hash.h"

namespace headscope::core {
namespace {

constexpr double kTolerance = 2e-5;
constexpr double kInfinite = std::numeric_limits<double>::infinity();

/// Numbers in [-1, 1), the same everywhere.
Matrix numbers(int64_t rows, int64_t cols, uint32_t seed) {
  Matrix m(rows, cols);
  uint32_t state = seed * 747796405u + 2891336453u;
  for (int64_t i = 0; i < m.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    m.data()[i] = static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
  }
  return m;
}

using Numbers = std::vector<double>;

void append(Numbers& to, const Matrix& m) { to.insert(to.end(), m.data(), m.data() + m.size()); }
template <class T>
void append(Numbers& to, const std::vector<T>& v) {
  to.insert(to.end(), v.begin(), v.end());
}

struct Case {
  Op op;
  std::function<Numbers(Backend&)> run;
};

WeightView viewOf(const Matrix& m) {
  WeightView view;
  view.data = reinterpret_cast<const std::byte*>(m.data());
  view.storedRows = m.rows(), view.storedCols = m.cols();
  view.outGroupSize = view.outGroupStride = m.rows();
  view.inCount = m.cols();
  return view;
}

/// What an operation that works in place makes of a matrix.
std::function<Numbers(Backend&)> inPlace(int64_t rows, int64_t cols, std::function<void(Backend&, const Tensor&, Job&)> work) {
  return [=](Backend& b) {
    const Tensor x = b.upload(numbers(rows, cols, 1));
    Job job;
    work(b, x, job);
    Numbers out;
    append(out, b.download(x));
    return out;
  };
}

/// A long product with bf16 weights whose terms cancel in pairs, all but an eighth: what keeps only 16 bits of x, or adds with
/// fewer bits than float32, fails it.
Case splitCase() {
  return {Op::Linear, [](Backend& b) {
            constexpr int64_t kRows = 5, kInputs = 4096, kOutputs = 40;
            const Matrix random = numbers(kOutputs, kInputs, 13);
            std::vector<uint16_t> weights(static_cast<size_t>(random.size()));
            for (size_t i = 0; i < weights.size(); ++i) {
              uint32_t bits = 0;
              std::memcpy(&bits, random.data() + i, sizeof bits);
              weights[i] = static_cast<uint16_t>(i % 2 == 0 ? bits >> 16 : weights[i - 1] ^ 0x8000u);
            }
            Matrix x = numbers(kRows, kInputs, 14);
            for (int64_t i = 1; i < x.size(); i += 2) x.data()[i] = x.data()[i - 1] + x.data()[i] / 8;
            Linear linear;
            linear.weight = viewOf(random);
            linear.weight.data = reinterpret_cast<const std::byte*>(weights.data()), linear.weight.dtype = DType::BF16;
            const Tensor out = b.allocate(kRows, kOutputs);
            Job job;
            b.linear(b.upload(x), linear, Into::Replace, out, job);
            Numbers found;
            append(found, b.download(out));
            return found;
          }};
}

std::vector<Case> rowCases() {
  std::vector<Case> cases;
  cases.push_back(splitCase());
  cases.push_back({Op::Embed, inPlace(3, 20, [](Backend& b, const Tensor& x, Job& job) {
                     const Matrix table = numbers(9, 20, 2);
                     const int32_t ids[] = {8, 0, 3};
                     b.embed(viewOf(table), ids, 1.5f, Into::Add, x, job);
                   })});
  cases.push_back({Op::Linear, inPlace(5, 33, [](Backend& b, const Tensor& x, Job& job) {
                     const Matrix w = numbers(33, 70, 3);
                     auto change = std::make_shared<LinearChange>();
                     change->terms.push_back({numbers(2, 70, 4), numbers(33, 2, 5)});
                     Linear linear;
                     linear.weight = viewOf(w), linear.bias.assign(33, 0.25f), linear.change = change;
                     b.linear(b.upload(numbers(5, 70, 6)), linear, Into::Add, x, job);
                   })});
  for (const NormKind kind : {NormKind::RmsNorm, NormKind::LayerNorm}) {
    cases.push_back({Op::Norm, inPlace(4, 66, [kind](Backend& b, const Tensor& x, Job& job) {
                       NormWeights w;
                       w.gain.assign(33, 1.25f), w.bias.assign(33, 0.5f);
                       b.norm(x, {kind, 1e-5, 2}, w, x, job);
                     })});
  }
  cases.push_back({Op::Rope, inPlace(7, 24, [](Backend& b, const Tensor& x, Job& job) {
                     RopeSpec spec;
                     spec.dims = 8, spec.frequencies = {1.0, 0.1, 0.01, 0.001};
                     b.rope(x, {2, 12, 3, 40, false}, spec, job);
                   })});
  for (const Activation kind : {Activation::GeluErf, Activation::GeluTanh, Activation::GeluQuick, Activation::Silu, Activation::Relu,
                                Activation::ReluSquared, Activation::Tanh, Activation::Sigmoid}) {
    cases.push_back({Op::Activate, inPlace(3, 50, [kind](Backend& b, const Tensor& x, Job& job) { b.activate(x, kind, job); })});
  }
  cases.push_back({Op::Gate, inPlace(3, 50, [](Backend& b, const Tensor& x, Job& job) {
                     b.gate(x, b.upload(numbers(3, 50, 7)), Activation::Silu, job);
                   })});
  cases.push_back({Op::Add, inPlace(3, 50, [](Backend& b, const Tensor& x, Job& job) { b.add(x, b.upload(numbers(3, 50, 8)), job); })});
  cases.push_back({Op::Scale, inPlace(3, 50, [](Backend& b, const Tensor& x, Job& job) { b.scale(x, 0.3f, job); })});
  cases.push_back({Op::Softcap, inPlace(3, 50, [](Backend& b, const Tensor& x, Job& job) { b.softcap(x, 0.7f, job); })});
  cases.push_back({Op::CopyHeads, inPlace(3, 30, [](Backend& b, const Tensor& x, Job& job) {
                     b.copyHeads(b.upload(numbers(3, 8, 9)), 2, x, 5, 1, job);
                   })});
  cases.push_back({Op::GatherRows, inPlace(2, 50, [](Backend& b, const Tensor& x, Job& job) {
                     const int32_t rows[] = {5, 1};
                     b.gatherRows(b.upload(numbers(6, 50, 10)), rows, x, job);
                   })});
  cases.push_back({Op::ScatterRows, inPlace(6, 50, [](Backend& b, const Tensor& x, Job& job) {
                     const int32_t rows[] = {5, 1};
                     const float weights[] = {0.5f, 2.0f};
                     b.scatterRows(b.upload(numbers(2, 50, 11)), rows, weights, x, job);
                   })});
  cases.push_back({Op::RowNorms, [](Backend& b) {
                     Job job;
                     Numbers out;
                     append(out, b.rowNorms(b.upload(numbers(4, 99, 12)), job));
                     return out;
                   }});
  return cases;
}

/// One causal layer of two head groups, long enough for windows to hide whole blocks.
struct Layer {
  explicit Layer(Backend& b, int64_t window)
      : input{b.upload(numbers(300, 4 * 24, 21)),
              b.upload(numbers(300, 2 * 24, 22)),
              b.upload(numbers(300, 2 * 16, 23)),
              {4, 2, 24, 16, 0.5, 10.0, window, true}},
        out(b.allocate(300, 4 * 16)),
        rows(b.attention(input, out, job)) {}
  Job job;
  AttentionInput input;
  Tensor out;
  AttentionStatistics rows;
};

std::vector<Case> attentionCases() {
  std::vector<Case> cases;
  for (const int64_t window : {0, 20}) {
    cases.push_back({Op::Attention, [window](Backend& b) {
                       const Layer l(b, window);
                       Numbers out;
                       for (const Tensor& t : {l.out, l.rows.max, l.rows.logSumExp, l.rows.entropy}) append(out, b.download(t));
                       return out;
                     }});
    cases.push_back({Op::MapTile, [window](Backend& b) {
                       Layer l(b, window);
                       Numbers out;
                       append(out, b.mapTile(l.input, l.rows, 3, {0, 7, 40, 11, 60, Pooling::Max}, l.job));
                       append(out, b.mapTile(l.input, l.rows, 1, {4, 0, 19, 0, 19, Pooling::Mean}, l.job));
                       return out;
                     }});
  }
  cases.push_back({Op::ColumnMass, [](Backend& b) {
                     Layer l(b, 0);
                     Numbers out;
                     append(out, b.columnMass(l.input, l.rows, 2, l.job));
                     return out;
                   }});
  cases.push_back({Op::PatternSums, [](Backend& b) {
                     Layer l(b, 0);
                     RowPattern pattern;
                     pattern.firstRow = 290;
                     for (int32_t i = 0; i <= 10; ++i) pattern.starts.push_back(2 * i);
                     for (int32_t i = 0; i < 10; ++i) pattern.cols.push_back(i), pattern.cols.push_back(280 + i);
                     Numbers out;
                     append(out, b.patternSums(l.input, l.rows, pattern, l.job));
                     return out;
                   }});
  cases.push_back({Op::KeysNeeded, [](Backend& b) {
                     Layer l(b, 0);
                     const double shares[] = {0.5, 0.95};
                     // Counts may differ by one on a threshold: their means are compared
                     Numbers out;
                     const Matrix plain = b.keysNeeded(l.input, l.rows, nullptr, shares, l.job).plain;
                     for (int64_t r = 0; r < plain.rows(); ++r) {
                       double sum = 0;
                       for (int64_t c = 0; c < plain.cols(); ++c) sum += plain(r, c);
                       out.push_back(std::round(sum / 300));
                     }
                     return out;
                   }});
  cases.push_back({Op::LogitSummary, [](Backend& b) {
                     const Matrix w = numbers(500, 32, 31);
                     Linear linear;
                     linear.weight = viewOf(w);
                     const int32_t targets[] = {499, 0, 77};
                     Job job;
                     const LogitSummary s = b.logitSummary(b.upload(numbers(3, 32, 32)), linear, 4.0, targets, job);
                     Numbers out;
                     append(out, s.logSumExp);
                     append(out, s.target);
                     return out;
                   }});
  return cases;
}

/// A causal head.
struct ChosenHead {
  explicit ChosenHead(int64_t n) : query(numbers(n, 40, 61)), key(numbers(n, 40, 62)), value(numbers(n, 24, 63)) {
    for (int64_t i = 0; i < n; ++i) seen.ranges.push_back({0, i + 1}), seen.begin.push_back(seen.ranges.size());
    head = {query, key, value, 0.8, 6.0, 0.01, 0};
  }
  Matrix query, key, value;
  RangeList seen;
  MaskedHead head;
};

/// Every third key and a stretch behind each query: full tiles, partial ones, and rows that see nothing.
std::vector<Case> maskCases() {
  std::vector<Case> cases;
  cases.push_back({Op::MaskedAttention, [](Backend& b) {
                     const Matrix query = numbers(150, 40, 51), key = numbers(150, 40, 52), value = numbers(150, 24, 53);
                     RangeList seen;
                     for (int64_t i = 0; i < 150; ++i) {
                       for (int64_t j = 0; i % 50 != 7 && j < i - 70; j += 3) seen.ranges.push_back({j, j + 1});
                       if (i % 50 != 7) seen.ranges.push_back({std::max<int64_t>(0, i - 66), i + 1});
                       seen.begin.push_back(seen.ranges.size());
                     }
                     Matrix out(150, 24);
                     MaskedHead head{query, key, value, 0.5, 6.0, 0.01, 0};
                     MaskedRows rows = b.maskedAttention(head, seen, out.view(), Job());
                     for (float& v : rows.logSumExp) v = v == -std::numeric_limits<float>::infinity() ? -1000.0f : v;
                     Numbers found;
                     append(found, out);
                     for (const float v : rows.logSumExp) found.push_back(v * 1e-3);
                     return found;
                   }});
  for (const KeyChoice& rule : {KeyChoice{}, KeyChoice{nullptr, 9, 0}, KeyChoice{nullptr, 0, 0.8}}) {
    cases.push_back({Op::ChosenAttention, [rule](Backend& b) {
                       const ChosenHead head(50);
                       Matrix out(50, 24);
                       const ChosenRows rows = b.chosenAttention(head.head, {&head.seen, rule.keys, rule.mass}, out.view(), Job());
                       Numbers found{rows.kept * 1e-3};
                       append(found, out);
                       append(found, rows.logSumExp), append(found, rows.logSumSquares);
                       return found;
                     }});
    cases.push_back({Op::ChosenTile, [rule](Backend& b) {
                       const ChosenHead head(50);
                       Numbers found;
                       for (const Pooling pooling : {Pooling::Max, Pooling::Mean})
                         append(found, b.chosenTile(head.head, {&head.seen, rule.keys, rule.mass}, {1, 0, 25, 7, 15, pooling}, Job()));
                       return found;
                     }});
  }
  return cases;
}

std::vector<Case> weightCases() {
  std::vector<Case> cases;
  cases.push_back({Op::Spectra, [](Backend& b) {
                     const Matrix left = numbers(16, 60, 41), right = numbers(16, 50, 42);
                     SpectraBatch batch;
                     batch.factors = {{left, nullptr}, {right, nullptr}};
                     batch.products = {{0, 1, nullptr}, {0, -1, nullptr}};
                     Numbers out;
                     for (const SpectrumRoute route : {SpectrumRoute::Gram, SpectrumRoute::Householder}) {
                       batch.route = route;
                       for (const Spectrum& s : b.spectra(batch, Job()).spectra) append(out, s.sigma);
                     }
                     return out;
                   }});
  cases.push_back({Op::InnerProducts, [](Backend& b) {
                     const Matrix left = numbers(16, 600, 43), right = numbers(12, 600, 44);
                     const FactorPair pairs[] = {{left, left}, {left, right}};
                     Numbers out;
                     for (const DoubleMatrix& m : b.innerProducts(pairs, Job())) append(out, m.values);
                     return out;
                   }});
  cases.push_back({Op::SmallSvds, [](Backend& b) {
                     const Matrix m = numbers(20, 20, 45);
                     DoubleMatrix wide(20, 20);
                     for (int64_t i = 0; i < 400; ++i) wide.data()[i] = m.data()[i];
                     Numbers out;
                     append(out, b.smallSvds({&wide, 1}, false, Job())[0].sigma);
                     return out;
                   }});
  cases.push_back({Op::WholeSpectrum, [](Backend& b) {
                     Numbers out;
                     for (const SpectrumRoute route : {SpectrumRoute::Gram, SpectrumRoute::Householder})
                       append(out, b.wholeSpectrum(numbers(40, 90, 46), route, Job()));
                     return out;
                   }});
  for (const int64_t rows : {24, 90}) {  // fewer and more than columns
    cases.push_back({Op::StackDirections, [rows](Backend& b) {
                       const StackDirections found = b.stackDirections(numbers(rows, 40, 49), 6, Job());
                       Numbers out;
                       append(out, found.sigma);
                       for (const auto& head : found.energy) append(out, head);
                       return out;
                     }});
  }
  cases.push_back({Op::SquareProduct, [](Backend& b) {
                     const Tensor x = b.upload(numbers(5, 60, 50)), w = b.upload(numbers(60, 70, 51)), out = b.allocate(5, 60);
                     b.squareProduct(x, w, out, Job());
                     Numbers found;
                     append(found, b.download(out));
                     return found;
                   }});
  cases.push_back({Op::TableProduct, [](Backend& b) {
                     const Matrix table = numbers(300, 40, 52);
                     Numbers out;
                     append(out, b.tableProduct(numbers(3, 40, 53), viewOf(table), Job()));
                     return out;
                   }});
  cases.push_back({Op::PairSums, [](Backend& b) {
                     const Matrix w = numbers(6, 70, 47), r = numbers(9, 70, 48);
                     const PairStrip strip{70, 70, {{w.data(), 2}, {w.row(2), 4}}, {{r.data(), 5}, {r.row(5), 4}}};
                     PairPlan plan;
                     plan.side = 32, plan.groups = {{0, 2, 0, 2}};
                     Numbers sums(4, 0.0);
                     b.addPairSums(strip, strip, plan, sums, Job());
                     return sums;
                   }});
  return cases;
}

double differenceOf(const Numbers& got, const Numbers& expected) {
  if (got.size() != expected.size()) return kInfinite;
  double largest = 0, difference = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    const double d = std::abs(got[i] - expected[i]);
    if (!std::isfinite(d)) return kInfinite;
    difference = std::max(difference, d);
  }
  return largest > 0 ? difference / largest : difference;
}

constexpr const char* kLeftWord = "unsplit";

/// "ok", then "unsplit" where split products were left, then the failed operations' numbers: what the cache holds.
std::string packed(const SelfTest& test) {
  std::string text = "ok";
  if (test.leftSplitProducts) text += std::string(" ") + kLeftWord;
  for (const SelfTest::Failure& f : test.failures) text += " " + std::to_string(static_cast<int>(f.op));
  return text;
}

bool parse(const std::string& text, SelfTest& test) {
  std::istringstream in(text);
  std::string word;
  if (!(in >> word) || word != "ok") return false;
  while (in >> word) {
    if (word == kLeftWord) {
      test.leftSplitProducts = true;
      continue;
    }
    int op = 0;
    const auto [end, fault] = std::from_chars(word.data(), word.data() + word.size(), op);
    if (fault != std::errc() || end != word.data() + word.size() || op < 0 || op >= kOpCount) return false;
    test.failures.push_back({static_cast<Op>(op), kInfinite, "failed when this card was first used"});
  }
  return true;
}

/// A fault of the device is left for the other cases to find.
void leaveSplitProductsThatFail(Backend& device, Backend& host, SelfTest& test) {
  if (!device.splitsProducts()) return;
  const Case c = splitCase();
  try {
    test.leftSplitProducts = differenceOf(c.run(device), c.run(host)) > kTolerance;
  } catch (const Error&) {
    test.leftSplitProducts = true;
  }
  if (test.leftSplitProducts) device.leaveSplitProducts();
}

/// Few heads, and for bf16 as many as fill a card, which then takes larger blocks.
std::vector<Case> precisionCases(Precision precision) {
  const auto attention = [](int64_t count, AttentionRule rule) {
    return Case{Op::Attention, [=](Backend& b) {
                  const AttentionInput input{b.upload(numbers(count, rule.heads * rule.keyWidth, 61)),
                                             b.upload(numbers(count, rule.kvHeads * rule.keyWidth, 62)),
                                             b.upload(numbers(count, rule.kvHeads * rule.valueWidth, 63)), rule};
                  const Tensor out = b.allocate(count, rule.heads * rule.valueWidth);
                  Job job;
                  const AttentionStatistics rows = b.attention(input, out, job);
                  Numbers found;
                  append(found, b.download(out));
                  for (const Tensor& t : {rows.max, rows.logSumExp, rows.entropy}) {
                    const Matrix m = b.download(t);
                    for (int64_t i = 0; i < m.size(); ++i) found.push_back(0.1 * m.data()[i]);  // of the outputs' size
                  }
                  return found;
                }};
  };
  std::vector<Case> cases = {splitCase(), attention(130, {2, 1, 40, 24, 0.2, 5.0, 20, true}),
                             attention(100, {1, 1, 192, 200, 0.1, 0, 0, false})};
  if (precision == Precision::Bf16) cases.push_back(attention(66, {320, 160, 24, 65, 0.1, 0, 0, true}));
  return cases;
}

}  // namespace

SelfTest runSelfTest(Backend& device, Backend& host) {
  SelfTest test;
  leaveSplitProductsThatFail(device, host, test);
  const auto failed = [&](Op op, double difference, const std::string& what) {
    const auto isSame = [&](const SelfTest::Failure& f) { return f.op == op; };
    if (std::none_of(test.failures.begin(), test.failures.end(), isSame)) test.failures.push_back({op, difference, what});
  };
  for (const auto& cases : {rowCases(), attentionCases(), weightCases(), maskCases()}) {
    for (const Case& c : cases) {
      if (!device.supports(c.op)) continue;
      try {
        const double difference = differenceOf(c.run(device), c.run(host));
        if (difference > kTolerance) failed(c.op, difference, "");
      } catch (const DeviceFault& fault) {
        failed(c.op, kInfinite, fault.what());
        test.isLost = test.isLost || fault.isLost();
        if (test.isLost) return test;
      } catch (const Error& error) {
        failed(c.op, kInfinite, error.what());
      }
    }
  }
  return test;
}

SelfTest cachedSelfTest(Backend& device, Backend& host, const DiskCache& cache) {
  ContentHash hash;
  hash.add(std::string_view("self-test 2"));
  hash.add(std::string_view(device.identity()));
  const std::string key = hash.text();
  if (cache.isOn()) {
    SelfTest kept;
    const auto text = cache.read(key);
    if (text && parse(*text, kept)) {
      kept.isFromCache = true;
      if (kept.leftSplitProducts) device.leaveSplitProducts();
      return kept;
    }
  }
  const SelfTest test = runSelfTest(device, host);
  if (cache.isOn() && !test.isLost) cache.write(key, packed(test));
  return test;
}

std::string wrongAtPrecision(Backend& device, Backend& host) {
  const Precision precision = device.precision();
  const double allowed = precision == Precision::Bf16 ? 3e-2 : precision == Precision::Tf32 ? 5e-3 : kTolerance;
  for (const Case& c : precisionCases(precision)) {
    const double difference = differenceOf(c.run(device), c.run(host));
    if (difference <= allowed) continue;
    std::ostringstream text;
    text << nameOf(c.op) << " is off by " << difference;
    return text.str();
  }
  return {};
}

}  // namespace headscope::core
