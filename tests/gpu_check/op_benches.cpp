#include "tests/gpu_check/op_benches.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "tests/support/naive_ops.h"

namespace headscope::tests {
namespace {

using namespace core;

double quickest(int runs, const std::function<void()>& work) {
  double best = INFINITY;
  for (int i = 0; i < runs + 1; ++i) {  // one to warm up
    const auto start = std::chrono::steady_clock::now();
    work();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i > 0) best = std::min(best, seconds);
  }
  return best;
}

class Benches {
 public:
  Benches(Backend& backend, bool isSmall) : backend_(backend), part_(isSmall ? 16 : 1) {}

  void all() {
    productRate();
    fusedSpectra("spectra_gpt2_288_fused", 288, 64, 768);
    fusedSpectra("spectra_32x32_d4096_one_layer_fused", 64, 128, 4096);
    fusedSpectra("spectra_deepseek_v3_layer_latent_fused", 256, 128, 1536);
    composition();
    for (const Precision precision : {Precision::Float32, Precision::Bf16}) llamaLayer(precision);
    attention("attention_window_64_of_8192", 8192, 64);
    attention("attention_causal_8192", 8192, 0);
    mapScreen();
  }

 private:
  int64_t scaled(int64_t n) const { return std::max<int64_t>(8, n / part_); }

  /// operations: multiply-adds times two.
  void line(const std::string& name, double seconds, double operations, double bytes) const {
    std::printf("{\"bench\": \"%s\", \"device\": \"%s\", \"ours_s\": %.6g, \"gflop\": %.4g, \"gb\": %.4g", name.c_str(),
                backend_.device().c_str(), seconds, operations / 1e9, bytes / 1e9);
    if (rate_ > 0) std::printf(", \"share_of_float32_product_rate\": %.3g", operations / seconds / rate_);
    std::printf("}\n");
    std::fflush(stdout);
  }

  /// Waits for the device: a number must come back.
  void finish(const Tensor& tensor) { backend_.download(tensor.rowsFrom(0, 1).colsFrom(0, 1)); }

  void productRate() {
    const int64_t n = scaled(4096);
    const Matrix w = randomMatrix(n, n, 1);
    const Linear linear = linearOf(w);
    const Tensor x = backend_.upload(randomMatrix(n, n, 2)), out = backend_.allocate(n, n);
    Job job;
    const double operations = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
    const double seconds = quickest(5, [&] {
      backend_.linear(x, linear, Into::Replace, out, job);
      finish(out);
    });
    rate_ = operations / seconds;
    line("product_" + std::to_string(n), seconds, operations, 12.0 * static_cast<double>(n * n));
  }

  static Linear linearOf(const Matrix& w) {
    Linear linear;
    linear.weight.data = reinterpret_cast<const std::byte*>(w.data());
    linear.weight.storedRows = w.rows(), linear.weight.storedCols = w.cols();
    linear.weight.outGroupSize = linear.weight.outGroupStride = w.rows();
    linear.weight.inCount = w.cols();
    return linear;
  }

  /// `count` products of two factors [k, d], from host memory to singular values.
  void fusedSpectra(const std::string& name, int64_t count, int64_t k, int64_t d) {
    count = scaled(count);
    std::vector<Matrix> factors;
    SpectraBatch batch;
    for (int64_t i = 0; i < 2 * count; ++i) factors.push_back(randomMatrix(k, d, static_cast<uint64_t>(i)));
    for (const Matrix& f : factors) batch.factors.push_back({f, nullptr});
    for (int64_t i = 0; i < count; ++i) batch.products.push_back({2 * i, 2 * i + 1, nullptr});
    const double factor = static_cast<double>(k * k) * static_cast<double>(d), core = static_cast<double>(k * k * k);
    line(name, quickest(3, [&] { backend_.spectra(batch, Job()); }), static_cast<double>(count) * (4 * factor + 60 * core),
         static_cast<double>(2 * count * k * d) * 4);
  }

  /// Q, K and V of 32 x 32 heads of width 128 at d 4096: the pair sums over one strip of the model axis, whole in extent.
  void composition() {
    const int64_t layers = scaled(32), heads = 32, k = 128, d = 4096, width = scaled(512);
    const Matrix rows = randomMatrix(k, width, 9);  // the same numbers for every head: times don't depend on them
    PairStrip strip{width, width, {}, {}};
    PairPlan plan;
    for (int64_t i = 0; i < (layers - 1) * heads; ++i) strip.writers.push_back({rows.data(), k});
    for (int64_t i = 0; i < (layers - 1) * heads * 3; ++i) strip.readers.push_back({rows.data(), k});
    for (int64_t l = 1; l < layers; ++l) plan.groups.push_back({0, l * heads, (l - 1) * 3 * heads, 3 * heads});
    std::vector<double> sums(strip.writers.size() * strip.readers.size());
    const double seconds = quickest(1, [&] { backend_.addPairSums(strip, strip, plan, sums, Job()); });
    const double pairs = 1.5 * static_cast<double>(heads * heads * layers * (layers - 1)), area = static_cast<double>(width * width);
    line("composition_32x32_strip_of_" + std::to_string(width) + "_of_" + std::to_string(d), seconds, pairs * area, 0);
  }

  /// The products and the attention of one Llama 8B layer, 4,096 tokens.
  void llamaLayer(Precision precision) {
    const int64_t n = scaled(4096), d = 4096, heads = 32, groups = 8, k = 128, inner = 14336;
    try {
      backend_.setPrecision(precision);
    } catch (const Error&) {
      return;  // not a device's
    }
    const Matrix qkv = randomMatrix((heads + 2 * groups) * k, d, 3, 0.02), o = randomMatrix(d, heads * k, 4, 0.02),
                 up = randomMatrix(2 * inner, d, 5, 0.02), down = randomMatrix(d, inner, 6, 0.02);
    const Linear a = linearOf(qkv), b = linearOf(o), c = linearOf(up), e = linearOf(down);
    const Tensor x = backend_.upload(randomMatrix(n, d, 7)), read = backend_.allocate(n, (heads + 2 * groups) * k),
                 out = backend_.allocate(n, heads * k), wide = backend_.allocate(n, 2 * inner), result = backend_.allocate(n, d);
    Job job;
    const AttentionRule rule{heads, groups, k, k, 1 / std::sqrt(static_cast<double>(k)), 0, 0, true};
    const AttentionInput input{read.colsFrom(0, heads * k), read.colsFrom(heads * k, groups * k),
                               read.colsFrom((heads + groups) * k, groups * k), rule};
    const double seconds = quickest(3, [&] {
      backend_.linear(x, a, Into::Replace, read, job);
      backend_.attention(input, out, job);
      backend_.linear(out, b, Into::Replace, result, job);
      backend_.linear(x, c, Into::Replace, wide, job);
      backend_.linear(wide.colsFrom(0, inner), e, Into::Replace, result, job);
      finish(result);
    });
    const double weights = static_cast<double>(qkv.size() + o.size() + up.size() + down.size()), tokens = static_cast<double>(n);
    line("llama_8b_layer_4096_" + std::string(nameOf(precision)), seconds,
         2 * weights * tokens + 2 * tokens * tokens * static_cast<double>(heads * k), weights * 4);
    backend_.setPrecision(Precision::Float32);
  }

  void attention(const std::string& name, int64_t n, int64_t window) {
    n = scaled(n);
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
    line(name, seconds, 4 * static_cast<double>(n) * keys * static_cast<double>(heads * k), 0);
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
  int64_t part_;
  double rate_ = 0;
};

}  // namespace

int benchOps(Backend& backend, bool isSmall) {
  Benches(backend, isSmall).all();
  return 0;
}

}  // namespace headscope::tests
