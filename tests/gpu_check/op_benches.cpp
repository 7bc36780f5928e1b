#include "tests/gpu_check/op_benches.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "tests/support/naive_ops.h"

namespace headscope::tests {
namespace {

using namespace core;

double timeOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double quickest(int runs, const std::function<void()>& work) {
  double best = INFINITY;
  for (int i = 0; i < runs + 1; ++i) {  // one to warm up
    const double seconds = timeOf(work);
    if (i > 0) best = std::min(best, seconds);
  }
  return best;
}

class Benches {
 public:
  Benches(Backend& backend, bool isSmall) : backend_(backend), part_(isSmall ? 16 : 1) {}

  void all() {
    backend_.keepWeights(owner_);
    limits();
    fusedSpectra("spectra_gpt2_288_fused", 288, 64, 768, 1);
    fusedSpectra("spectra_32x32_d4096_all_fused", 64, 128, 4096, 32);
    deepseekLayer();
    composition();
    llama();
    windowed();
    mapScreen();
  }

 private:
  int64_t scaled(int64_t n) const { return std::max<int64_t>(8, n / part_); }

  /// operations: multiply-adds times two. uploaded: bytes from host memory. Shares are of what the card did in limits(). more: further
  /// fields, each begun with a comma. storedRate: of products with weights of the kind the bench has, where it isn't float32.
  void line(const std::string& name, double seconds, double operations, double uploaded, const std::string& more = {},
            double storedRate = 0) const {
    std::printf("{\"bench\": \"%s\", \"device\": \"%s\", \"ours_s\": %.6g, \"gflop\": %.4g, \"uploaded_gb\": %.4g", name.c_str(),
                backend_.device().c_str(), seconds, operations / 1e9, uploaded / 1e9);
    const bool isBf16 = backend_.precision() == Precision::Bf16, isStored = !isBf16 && storedRate > 0;
    const double rate = isBf16 ? bf16Rate_ : isStored ? storedRate : float32Rate_;
    if (rate > 0 && operations > 0)
      std::printf(", \"share_of_%s_product_rate%s\": %.3g", std::string(nameOf(backend_.precision())).c_str(),
                  isStored ? "_with_bf16_weights" : "", operations / seconds / rate);
    if (uploadRate_ > 0 && uploaded > 0) std::printf(", \"share_of_upload_rate\": %.3g", uploaded / seconds / uploadRate_);
    std::printf("%s}\n", more.c_str());
    std::fflush(stdout);
  }

  /// Waits for the device: a number must come back.
  void finish(const Tensor& tensor) { backend_.download(tensor.rowsFrom(0, 1).colsFrom(0, 1)); }

  bool hasPrecision(Precision precision) {
    try {
      backend_.setPrecision(precision);
      return true;
    } catch (const Error&) {
      return false;  // not a device's
    }
  }

  /// What the card can do, measured: large products, numbers from host memory, numbers through its own memory.
  void limits() {
    const int64_t n = scaled(8192);
    const Matrix w = randomMatrix(n, n, 1);
    const Linear linear = linearOf(w);
    const Tensor x = backend_.upload(randomMatrix(n, n, 2)), out = backend_.allocate(n, n);
    Job job;
    const double cells = static_cast<double>(n) * static_cast<double>(n), operations = 2.0 * cells * static_cast<double>(n);
    for (const Precision precision : {Precision::Float32, Precision::Bf16}) {
      if (!hasPrecision(precision)) continue;
      const double seconds = quickest(5, [&] {
        backend_.linear(x, linear, Into::Replace, out, job);
        finish(out);
      });
      (precision == Precision::Bf16 ? bf16Rate_ : float32Rate_) = operations / seconds;
      line("limit_product_" + std::to_string(n) + "_" + std::string(nameOf(precision)), seconds, operations, 0);
    }
    backend_.setPrecision(Precision::Float32);
    const std::vector<uint16_t> numbers = bf16Numbers(n * n);
    const Linear stored = linearOf(numbers, n, n);
    const double split = quickest(5, [&] {
      backend_.linear(x, stored, Into::Replace, out, job);
      finish(out);
    });
    storedRate_ = operations / split;
    line("limit_product_" + std::to_string(n) + "_float32_with_bf16_weights", split, operations, 0);
    const double upload = quickest(5, [&] { backend_.write(w, x); });
    uploadRate_ = 4 * cells / upload;
    line("limit_upload", upload, 0, 4 * cells);
    const double through = quickest(5, [&] {
      backend_.copy(x, out);
      finish(out);
    });
    line("limit_memory", through, 0, 0, ", \"gb_per_s\": " + std::to_string(8 * cells / through / 1e9));
  }

  static Linear linearOf(const Matrix& w) {
    Linear linear;
    linear.weight.data = reinterpret_cast<const std::byte*>(w.data());
    linear.weight.storedRows = w.rows(), linear.weight.storedCols = w.cols();
    linear.weight.outGroupSize = linear.weight.outGroupStride = w.rows();
    linear.weight.inCount = w.cols();
    return linear;
  }

  /// `count` products of two factors [k, d] in each of `layers` layers, from host memory to singular values.
  void fusedSpectra(const std::string& name, int64_t count, int64_t k, int64_t d, int64_t layers) {
    count = scaled(count), layers = std::max<int64_t>(1, layers / part_);
    std::vector<Matrix> factors;
    SpectraBatch batch;
    for (int64_t i = 0; i < 2 * count; ++i) factors.push_back(randomMatrix(k, d, static_cast<uint64_t>(i)));
    for (const Matrix& f : factors) batch.factors.push_back({f, nullptr});
    for (int64_t i = 0; i < count; ++i) batch.products.push_back({2 * i, 2 * i + 1, nullptr});
    const double factor = static_cast<double>(k * k) * static_cast<double>(d), core = static_cast<double>(k * k * k),
                 all = static_cast<double>(count * layers);
    const double seconds = quickest(2, [&] {
      for (int64_t l = 0; l < layers; ++l) backend_.spectra(batch, Job());  // the same numbers: times don't depend on them
    });
    line(name, seconds, all * (4 * factor + 60 * core), 2 * all * static_cast<double>(k * d) * 4);
  }

  /// W_Q, W_K, W_V, W_O of 128 heads of a DeepSeek-V3 layer in latent coordinates, and W_QK and W_OV of each.
  void deepseekLayer() {
    const int64_t heads = scaled(128), k = 128, widths[] = {1536, 512, 512, 7168};
    std::vector<Matrix> factors;
    SpectraBatch batch;
    double bytes = 0, operations = 0;
    for (int64_t h = 0; h < heads; ++h) {
      for (const int64_t d : widths) {
        factors.push_back(randomMatrix(k, d, factors.size()));
        bytes += 4.0 * static_cast<double>(k * d), operations += 2.0 * static_cast<double>(k * k) * static_cast<double>(d);
      }
    }
    for (const Matrix& f : factors) batch.factors.push_back({f, nullptr});
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 4 * h; i < 4 * h + 4; ++i) batch.products.push_back({i, -1, nullptr});
      batch.products.push_back({4 * h, 4 * h + 1, nullptr}), batch.products.push_back({4 * h + 2, 4 * h + 3, nullptr});
    }
    operations += 60.0 * static_cast<double>(k * k * k) * static_cast<double>(batch.products.size());
    line("spectra_deepseek_v3_layer_all", quickest(2, [&] { backend_.spectra(batch, Job()); }), operations, bytes);
  }

  /// Q, K and V of 32 x 32 heads of width 128 at d 4096: the pair sums over all strips of the model axis, as core/weights asks for them.
  void composition() {
    const int64_t layers = std::max<int64_t>(2, 32 / part_), heads = 32 / std::min<int64_t>(4, part_), k = 128, d = scaled(4096),
                  width = std::min<int64_t>(d, 512);
    const Matrix rows = randomMatrix(k, width, 9);  // the same numbers for every head and strip: times don't depend on them
    PairStrip strip{width, width, {}, {}};
    PairPlan plan;
    for (int64_t i = 0; i < (layers - 1) * heads; ++i) strip.writers.push_back({rows.data(), k});
    for (int64_t i = 0; i < (layers - 1) * heads * 3; ++i) strip.readers.push_back({rows.data(), k});
    for (int64_t l = 1; l < layers; l += 4) {  // four later layers at a time, as core/weights asks for them
      const int64_t last = std::min(l + 4, layers);
      plan.groups.push_back({0, (last - 1) * heads, (l - 1) * 3 * heads, (last - l) * 3 * heads});
    }
    std::vector<double> sums(strip.writers.size() * strip.readers.size());
    const PairStrip other = strip;
    const int64_t strips = d / width;
    const double seconds = quickest(1, [&] {
      for (int64_t a = 0; a < strips; ++a) {
        strip.owner = std::make_shared<char>();  // the first strip stays on the card, the others pass by
        for (int64_t b = a; b < strips; ++b) backend_.addPairSums(strip, a == b ? strip : other, plan, sums, Job());
      }
    });
    const double pairs = 1.5 * static_cast<double>(heads * heads * layers * (layers - 1)), area = static_cast<double>(d * d),
                 thin = static_cast<double>(strip.writers.size() + strip.readers.size());
    line("composition_32x32_d4096_qkv", seconds, pairs * area + thin * area * static_cast<double>(k),
         4 * thin * static_cast<double>(k * width) * static_cast<double>(strips * (strips + 1)) / 2);
  }

  /// One layer's weights in bf16, as they are stored, in host memory of its own.
  struct LlamaLayer {
    std::vector<uint16_t> qkv, o, up, down;
  };

  static Linear linearOf(const std::vector<uint16_t>& bf16, int64_t outputs, int64_t inputs) {
    Linear linear;
    linear.weight.data = reinterpret_cast<const std::byte*>(bf16.data());
    linear.weight.dtype = DType::BF16;
    linear.weight.storedRows = outputs, linear.weight.storedCols = inputs;
    linear.weight.outGroupSize = linear.weight.outGroupStride = outputs;
    linear.weight.inCount = inputs;
    return linear;
  }

  /// `count` small numbers of both signs. The same for each matrix: times don't depend on them.
  static std::vector<uint16_t> bf16Numbers(int64_t count) {
    std::vector<uint16_t> numbers(static_cast<size_t>(count));
    uint32_t state = 1;
    for (uint16_t& n : numbers) {
      state = state * 1664525u + 1013904223u;
      n = static_cast<uint16_t>(0x3C00u + (state >> 25) + ((state >> 9) & 0x8000u));  // 0.0078 to 0.0156
    }
    return numbers;
  }

  /// All layers of Llama 8B's shapes on 4,096 tokens, with norms, rotary positions and head scores, without embedding and logits: the
  /// first pass with the weights still in host memory, and further ones. No two layers share memory, so that the first one uploads all.
  void llama() {
    const int64_t n = scaled(4096), d = scaled(4096), groups = std::max<int64_t>(1, 8 / part_), heads = 4 * groups, k = 128,
                  inner = scaled(14336), layers = std::max<int64_t>(2, 32 / part_), read = (heads + 2 * groups) * k;
    std::vector<LlamaLayer> model(1);
    model[0] = {bf16Numbers(read * d), bf16Numbers(d * heads * k), bf16Numbers(2 * inner * d), bf16Numbers(d * inner)};
    while (static_cast<int64_t>(model.size()) < layers) model.push_back(model[0]);
    const double weights = static_cast<double>(layers * (read * d + d * heads * k + 3 * inner * d)), tokens = static_cast<double>(n),
                 operations = 2 * weights * tokens + static_cast<double>(layers) * 2 * tokens * tokens * static_cast<double>(heads * k);
    for (const Precision precision : {Precision::Float32, Precision::Bf16}) {
      if (!hasPrecision(precision)) continue;
      backend_.dropCopies();
      const std::string name = "llama_8b_" + std::to_string(layers) + "_layers_" + std::to_string(n) + "_" + std::string(nameOf(precision));
      line(name + "_first", timeOf([&] { llamaPass(model, n, d, heads, groups, k, inner); }), operations, 2 * weights, {}, storedRate_);
      line(name, quickest(1, [&] { llamaPass(model, n, d, heads, groups, k, inner); }), operations, 0, {}, storedRate_);
    }
    backend_.dropCopies();
    backend_.setPrecision(Precision::Float32);
  }

  void llamaPass(const std::vector<LlamaLayer>& model, int64_t n, int64_t d, int64_t heads, int64_t groups, int64_t k, int64_t inner) {
    const int64_t width = (heads + 2 * groups) * k;
    const Tensor x = backend_.upload(randomMatrix(n, d, 7)), normed = backend_.allocate(n, d), read = backend_.allocate(n, width),
                 out = backend_.allocate(n, heads * k), gate = backend_.allocate(n, inner), wide = backend_.allocate(n, inner);
    Job job;
    const AttentionRule rule{heads, groups, k, k, 1 / std::sqrt(static_cast<double>(k)), 0, 0, true};
    const AttentionInput input{read.colsFrom(0, heads * k), read.colsFrom(heads * k, groups * k),
                               read.colsFrom((heads + groups) * k, groups * k), rule};
    NormWeights gain;
    gain.gain.assign(static_cast<size_t>(d), 1.0f);
    RopeSpec turns;
    turns.dims = k;
    for (int64_t i = 0; i < k / 2; ++i)
      turns.frequencies.push_back(std::pow(500000.0, -2.0 * static_cast<double>(i) / static_cast<double>(k)));
    const RowPattern before = previousOwnFirst(n);
    for (size_t l = 0; l < model.size(); ++l) {
      const auto expect = [&](const LlamaLayer& layer) {
        const WeightView views[] = {linearOf(layer.qkv, width, d).weight, linearOf(layer.o, d, heads * k).weight,
                                    linearOf(layer.up, 2 * inner, d).weight, linearOf(layer.down, d, inner).weight};
        backend_.expectWeights(views);
      };
      if (l == 0) expect(model[0]);
      if (l + 1 < model.size()) expect(model[l + 1]);  // one layer ahead, as the forward pass does
      const Linear up = linearOf(model[l].up, 2 * inner, d);
      Linear first = up, second = up;
      first.weight = up.weight.outputsFrom(0, inner), second.weight = up.weight.outputsFrom(inner, inner);
      backend_.norm(x, {NormKind::RmsNorm, 1e-5, 1}, gain, normed, job);
      backend_.linear(normed, linearOf(model[l].qkv, width, d), Into::Replace, read, job);
      backend_.rope(input.query, {heads, k, 0, 0, false}, turns, job);
      backend_.rope(input.key, {groups, k, 0, 0, false}, turns, job);
      const AttentionStatistics rows = backend_.attention(input, out, job);
      backend_.patternSums(input, rows, before, job);
      backend_.linear(out, linearOf(model[l].o, d, heads * k), Into::Add, x, job);
      backend_.norm(x, {NormKind::RmsNorm, 1e-5, 1}, gain, normed, job);
      backend_.linear(normed, first, Into::Replace, gate, job);
      backend_.linear(normed, second, Into::Replace, wide, job);
      backend_.gate(wide, gate, Activation::Silu, job);
      backend_.linear(wide, linearOf(model[l].down, d, inner), Into::Add, x, job);
    }
    finish(x);
  }

  /// The keys of the scores previous, own and first.
  static RowPattern previousOwnFirst(int64_t n) {
    RowPattern pattern;
    pattern.starts.push_back(0);
    for (int64_t i = 0; i < n; ++i) {
      for (const int64_t j : {int64_t{0}, i - 1, i}) {
        const bool isFirst = static_cast<size_t>(pattern.starts.back()) == pattern.cols.size();
        if (j >= 0 && (isFirst || pattern.cols.back() < j)) pattern.cols.push_back(static_cast<int32_t>(j));
      }
      pattern.starts.push_back(static_cast<int64_t>(pattern.cols.size()));
    }
    return pattern;
  }

  double attention(const std::string& name, int64_t n, int64_t window, const std::string& more = {}, double beside = 0) {
    const int64_t heads = 16, k = 64;
    const AttentionRule rule{heads, heads, k, k, 0.125, 0, window, true};
    const AttentionInput input{backend_.upload(randomMatrix(n, heads * k, 11)), backend_.upload(randomMatrix(n, heads * k, 12)),
                               backend_.upload(randomMatrix(n, heads * k, 13)), rule};
    const Tensor out = backend_.allocate(n, heads * k);
    Job job;
    const double seconds = quickest(3, [&] {
      backend_.attention(input, out, job);
      finish(out);
    });
    const double keys = window > 0 ? static_cast<double>(window) : static_cast<double>(n) / 2;
    line(name, seconds, 4 * static_cast<double>(n) * keys * static_cast<double>(heads * k), 0,
         beside > 0 ? more + ", \"share_of_dense_time\": " + std::to_string(seconds / beside) : more);
    return seconds;
  }

  /// A window of 64 of 8,192 keys beside all of them: the share of time, and of the causal 64 x 64 blocks. One head of it as a mask too.
  void windowed() {
    const int64_t n = scaled(8192), blocks = (n + 63) / 64;
    const double dense = attention("attention_causal_8192", n, 0);
    const double share = static_cast<double>(2 * blocks - 1) / (0.5 * static_cast<double>(blocks * (blocks + 1)));
    attention("attention_window_64_of_8192", n, 64, ", \"share_of_causal_blocks\": " + std::to_string(share), dense);
    const Matrix q = randomMatrix(n, 64, 17), key = randomMatrix(n, 64, 18), value = randomMatrix(n, 64, 19);
    Matrix out(n, 64);
    RangeList seen;
    for (int64_t i = 0; i < n; ++i) {
      seen.ranges.push_back({std::max<int64_t>(0, i - 63), i + 1});
      seen.begin.push_back(seen.ranges.size());
    }
    const MaskedHead head{q, key, value, 0.125, 0, 0, 0};
    const double size = static_cast<double>(n);
    line("mask_window_64_of_8192_one_head", quickest(3, [&] { backend_.maskedAttention(head, seen, out.view(), Job()); }),
         4 * size * 64 * 64, 3 * size * 64 * 4);
  }

  /// 1,600 x 1,000 cells of one head's map of 32,768 tokens: whole, and exact entries.
  void mapScreen() {
    const int64_t n = scaled(32768), k = 128;
    const AttentionRule rule{1, 1, k, k, 1 / std::sqrt(static_cast<double>(k)), 0, 0, true};
    const AttentionInput input{backend_.upload(randomMatrix(n, k, 14)), backend_.upload(randomMatrix(n, k, 15)),
                               backend_.upload(randomMatrix(n, k, 16)), rule};
    const Tensor out = backend_.allocate(n, k);
    Job job;
    const AttentionStatistics rows = backend_.attention(input, out, job);
    const int64_t level = 5, side = (n + 31) / 32, exact = std::min<int64_t>(n, 1000);
    const double whole = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(k);
    line("map_32768_whole", quickest(3, [&] { backend_.mapTile(input, rows, 0, {level, 0, side, 0, side, Pooling::Max}, job); }), whole, 0);
    line("map_32768_exact",
         quickest(3,
                  [&] {
                    backend_.mapTile(input, rows, 0, {0, n - exact, exact, 0, std::min<int64_t>(n, 1600), Pooling::Max}, job);
                  }),
         2.0 * static_cast<double>(exact * std::min<int64_t>(n, 1600) * k), 0);
  }

  Backend& backend_;
  std::shared_ptr<const void> owner_ = std::make_shared<char>();  // of weights: while it lives they stay on the card
  int64_t part_;
  double float32Rate_ = 0, bf16Rate_ = 0, storedRate_ = 0, uploadRate_ = 0;
};

}  // namespace

int benchOps(Backend& backend, bool isSmall) {
  Benches(backend, isSmall).all();
  return 0;
}

}  // namespace headscope::tests
