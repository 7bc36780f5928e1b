// Weight space: spectra, composition, subspaces and adapters at real sizes, on synthetic checkpoints. Floors are the operations of the
// products alone at the SGEMM rate; where they are done in double their own floor is twice that.
#include <algorithm>
#include <chrono>
#include <ostream>
#include <random>
#include <thread>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/parallel.h"
#include "core/bench/benches.h"
#include "core/bench/python_peer.h"
#include "core/checkpoint/safetensors_writer.h"
#include "core/model/adapter.h"
#include "core/weights/composition.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/intruders.h"
#include "core/weights/lora.h"
#include "core/weights/spectra.h"
#include "core/weights/subspace.h"
#include "core/weights/synthetic_checkpoint.h"

namespace headscope::core {
namespace {

using Kind = SyntheticCheckpoint::Family;

std::shared_ptr<const Model> synthetic(const std::filesystem::path& folder, const SyntheticCheckpoint& plan) {
  plan.write(folder);
  return Model::open(folder);
}

SyntheticCheckpoint gpt2Small() {
  SyntheticCheckpoint plan;
  plan.family = Kind::Gpt2, plan.layers = 12, plan.width = 768, plan.heads = plan.kvHeads = 12, plan.headWidth = 64;
  return plan;
}

SyntheticCheckpoint wide(int64_t layers) {
  SyntheticCheckpoint plan;
  plan.layers = layers, plan.width = 4096, plan.heads = plan.kvHeads = 32, plan.headWidth = 128, plan.dtype = DType::BF16;
  return plan;
}

void spectraOf(const Model& model, const std::vector<std::string>& matrices) {
  SpectraOptions options;
  options.fold = defaultFold(model.spec());
  options.matrices = matrices;
  Job job;
  eachLayerSpectra(model, options, DiskCache(), job, [](LayerSpectra) {});
}

/// Seconds from cancelling until the work has stopped, the longest of some points on its way. `seconds`: about what it takes in all.
double cancelSeconds(double seconds, const std::function<void(Job&)>& work, const std::vector<double>& parts = {0.15, 0.45, 0.75}) {
  double longest = 0;
  for (const double part : parts) {
    Job job;
    std::chrono::steady_clock::time_point cancelled;
    bool isStopped = false;
    std::thread canceller([&] {
      std::this_thread::sleep_for(std::chrono::duration<double>(part * seconds));
      cancelled = std::chrono::steady_clock::now();
      job.cancel();
    });
    try {
      work(job);
    } catch (const Cancelled&) {
      isStopped = true;
    }
    const auto stopped = std::chrono::steady_clock::now();
    canceller.join();
    if (isStopped) longest = std::max(longest, std::chrono::duration<double>(stopped - cancelled).count());
  }
  return longest;
}

void addCancel(BenchResult& r, double seconds, const std::function<void(Job&)>& work) {
  r.more["cancel_s"] = cancelSeconds(seconds, work);
  r.more["cancel_limit_s"] = 0.2;
}

/// Of Q-, K- and V-composition by d x d Gram matrices, upper triangles only: forming every head's, and every causal pair's product.
double compositionOperations(double layers, double heads, double k, double d) {
  return d * d * (4 * heads * layers * k + 3 * heads * heads * layers * (layers - 1) / 2);
}

/// Operations of the Gram route on `factors` factors [k, m]: what its floor at SGEMM rate is.
double gramOperations(double factors, double k, double m) { return factors * k * k * m; }

Matrix randomRows(int64_t rows, int64_t cols, uint64_t seed) {
  std::mt19937 engine(static_cast<unsigned>(seed));
  std::uniform_real_distribution<float> uniform(-1, 1);
  Matrix m(rows, cols);
  for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = uniform(engine);
  return m;
}

void writeAdapter(const std::filesystem::path& folder, const SyntheticCheckpoint& plan, int64_t rank) {
  std::filesystem::create_directories(folder);
  SafetensorsWriter writer;
  for (int64_t l = 0; l < plan.layers; ++l) {
    for (const std::string& weight : {plan.queryName(l), plan.keyName(l), plan.valueName(l), plan.outputName(l)}) {
      const std::string module = "base_model.model." + weight.substr(0, weight.size() - 7);
      const auto values = [](const Matrix& m) { return std::vector<float>(m.data(), m.data() + m.size()); };
      writer.add(module + ".lora_A.weight", {rank, plan.width}, values(randomRows(rank, plan.width, 1)));
      writer.add(module + ".lora_B.weight", {plan.width, rank}, values(randomRows(plan.width, rank, 2)));
    }
  }
  writer.write(folder / "adapter_model.safetensors");
  writeFileWhole(folder / "adapter_config.json", [&](std::ostream& out) {
    out << "{\"peft_type\": \"LORA\", \"r\": " << rank << ", \"lora_alpha\": " << rank
        << ", \"target_modules\": [\"q_proj\", \"k_proj\", \"v_proj\", \"o_proj\"]}";
  });
}

}  // namespace

std::vector<BenchResult> benchSpectra(BenchContext& context) {
  std::vector<BenchResult> results;
  const PythonPeer peer(context.scratch);
  {
    const auto model = synthetic(context.scratch / "gpt2_spectra", gpt2Small());
    BenchResult r;
    r.bench = "spectra_gpt2_288_fused";
    r.ours = quickest(5, [&] { spectraOf(*model, {"W_QK", "W_OV"}); });
    const HeadWeights w = headWeights(*model, 0, Fold::On);
    r.naive =
        288 * quickest(1, [&] { singularValues(transposedMultiply(DoubleMatrix::from(w.queryOf(0)), DoubleMatrix::from(w.keyOf(0)))); });
    r.floor = gramOperations(4 * 144, 64, 768) / (context.sgemmGflops * 1e9);
    r.limit = 0.12;
    r.more = {{"ours_processor_s", thriftiest(3,
                                              [&] {
                                                spectraOf(*model, {"W_QK", "W_OV"});
                                              })},
              {"thin_qr_s", 288 * quickest(3, [&] { householderSpectrum(w.queryOf(0), w.keyOf(0)); }) / threadCount()}};
    peer.addSpectra(r, {{288, 64, 768, 768}});
    results.push_back(r);
  }
  {
    const auto model = synthetic(context.scratch / "wide_spectra", wide(2));
    BenchResult r;
    r.bench = "spectra_32x32_d4096_by_2_layers";
    r.ours = 16 * quickest(2, [&] { spectraOf(*model, {"W_QK", "W_OV"}); });
    r.floor = gramOperations(4 * 1024, 128, 4096) / (context.sgemmGflops * 1e9);
    r.limit = 10;
    r.more = {{"ours_processor_s", 16 * thriftiest(1, [&] { spectraOf(*model, {"W_QK", "W_OV"}); })}};
    addCancel(r, r.ours / 16, [&](Job& job) {
      SpectraOptions spectra;
      spectra.matrices = {"W_QK", "W_OV"};
      eachLayerSpectra(*model, spectra, DiskCache(), job, [](LayerSpectra) {});
    });
    peer.addSpectra(r, {{32, 128, 4096, 4096}}, 64);
    results.push_back(r);
  }
  return results;
}

std::vector<BenchResult> benchLatentSpectra(BenchContext& context) {
  SyntheticCheckpoint plan;
  plan.family = Kind::DeepSeekV3, plan.layers = 1, plan.width = 7168, plan.heads = plan.kvHeads = 128, plan.headWidth = 128;
  plan.queryRank = 1536, plan.latentRank = 512, plan.nope = 128, plan.rope = 64, plan.dtype = DType::F8_E4M3;
  const auto model = synthetic(context.scratch / "mla", plan);
  const std::vector<std::string> latent = {"W_UQ_nope", "W_UQ_rope", "W_UK", "W_UV", "W_O", "W_QK_nope_latent", "W_OV_latent"};
  std::vector<std::string> all = latent;
  for (const char* name : {"W_QK_nope", "W_QK_rope", "W_QK", "W_OV"}) all.emplace_back(name);
  BenchResult r, s;
  r.bench = "spectra_deepseek_v3_layer_latent";
  r.ours = quickest(2, [&] { spectraOf(*model, latent); });
  r.limit = 1.5;
  const double up = gramOperations(128, 128, 1536) + gramOperations(128, 64, 1536) + gramOperations(256, 128, 512),
               output = gramOperations(128, 128, 7168);
  r.floor = (up + output) / (context.sgemmGflops * 1e9);
  r.more = {{"ours_processor_s", thriftiest(1, [&] { spectraOf(*model, latent); })}};
  PythonPeer(context.scratch).addSpectra(r, {{128, 128, 1536, 512}, {128, 128, 512, 7168}});
  s.bench = "spectra_deepseek_v3_layer_all";
  s.ours = quickest(2, [&] { spectraOf(*model, all); });
  s.limit = 3;
  // The shared projections' Gram matrices; every head's rows through their triangles, and the Gram matrices of those.
  const double shared = gramOperations(1, 1536, 7168) + gramOperations(1, 576, 7168),
               through = 128.0 * (192 * 1536 * 1536 + 192 * 576 * 576 + 128 * 512 * 512.0) + gramOperations(128, 192, 1536) +
                         gramOperations(128, 192, 576) + gramOperations(128, 128, 512);
  s.floor = (up + output + shared + through) / (context.sgemmGflops * 1e9);
  s.more = {{"ours_processor_s", thriftiest(1, [&] { spectraOf(*model, all); })}};
  return {r, s};
}

/// 32 layers of 32 heads, reckoned from 4 layers by operations; memory beside the strips grows with the pairs (compositionBytes).
BenchResult wideComposition(BenchContext& context) {
  const auto model = synthetic(context.scratch / "wide_compose", wide(4));
  const double scale = compositionOperations(32, 32, 128, 4096) / compositionOperations(4, 32, 128, 4096);
  BenchResult r;
  r.bench = "composition_32x32_d4096_by_4_layers";
  const auto compose = [&](Job& job) { composition(*model, {}, job); };
  double seconds = 0, extra = 0;
  const double processor = thriftiest(1, [&] {
    const PeakMemory memory;
    seconds = quickest(1, [&] {
      Job job;
      compose(job);
    });
    extra = memory.peakBytes();
  });
  r.ours = scale * seconds;
  r.floor = compositionOperations(32, 32, 128, 4096) / (context.sgemmGflops * 1e9);
  r.limit = 360;
  r.more = {{"ours_processor_s", scale * processor}, {"extra_mb_of_4_layers", extra / 1e6}, {"extra_limit_mb", 2000}};
  addCancel(r, seconds, compose);
  return r;
}

/// The whole of it, to its end.
std::vector<BenchResult> benchWholeComposition(BenchContext& context) {
  const auto model = synthetic(context.scratch / "whole_compose", wide(32));
  BenchResult r;
  r.bench = "composition_32x32_d4096_whole";
  const auto compose = [&](Job& job) { composition(*model, {}, job); };
  double extra = 0;
  const double processor = thriftiest(1, [&] {
    const PeakMemory memory;
    r.ours = quickest(1, [&] {
      Job job;
      compose(job);
    });
    extra = memory.peakBytes();
  });
  r.floor = compositionOperations(32, 32, 128, 4096) / (context.sgemmGflops * 1e9);
  r.limit = 360;
  r.more = {{"ours_processor_s", processor}, {"extra_mb", extra / 1e6}, {"extra_limit_mb", 2000}};
  r.more["cancel_s"] = cancelSeconds(r.ours, compose, {0.01, 0.06, 0.12});  // among the layers' small matrices, in strips, in products
  r.more["cancel_limit_s"] = 0.2;
  return {r};
}

std::vector<BenchResult> benchComposition(BenchContext& context) {
  const auto model = synthetic(context.scratch / "gpt2_compose", gpt2Small());
  CompositionOptions options;
  BenchResult r;
  r.bench = "composition_gpt2_qkv";
  double extra = 0;
  {
    const PeakMemory memory;
    Job job;
    composition(*model, options, job);
    extra = memory.peakBytes();
  }
  const auto once = [&] {
    Job job;
    composition(*model, options, job);
  };
  r.ours = quickest(3, once);
  const HeadWeights w = headWeights(*model, 0, Fold::On);
  const FactoredMatrix ov(w.valueOf(0), w.outputOf(0)), qk(w.queryOf(1), w.keyOf(1));
  r.naive = 3 * 66 * 144 * quickest(3, [&] { ov.productFrobenius(qk); }) / threadCount();
  r.limit = 0.6;
  r.floor = compositionOperations(12, 12, 64, 768) / (context.sgemmGflops * 1e9);
  r.more = {{"ours_processor_s", thriftiest(2, once)}, {"extra_mb", extra / 1e6}, {"extra_limit_mb", 250}};
  PythonPeer(context.scratch).addComposition(r, 12, 12, 64, 768);
  return {r, wideComposition(context)};
}

/// Of whole matrices without gaps in their spectra, the hardest case: one of 128 maps, decoded beforehand.
BenchResult wideIntruders(const Model& base, const Model& adapted) {
  const Matrix before = decodeLinear(base.attention(0).query, 0, -1), after = decodeLinear(adapted.attention(0).query, 0, -1);
  BenchResult r;
  r.bench = "lora_intruders_128_maps_d4096_by_1_map";
  const auto once = [&](const Job& job) { krylovIntruders(before, after, job); };
  double seconds = 0;
  const double processor = thriftiest(1, [&] { seconds = quickest(1, [&] { once(Job()); }); });
  r.ours = 128 * seconds;
  r.more = {{"ours_processor_s", 128 * processor}};
  addCancel(r, seconds, once);
  return r;
}

std::vector<BenchResult> benchLora(BenchContext& context) {
  constexpr int64_t kRank = 64, kWidth = 4096, kModules = 128;
  std::vector<Matrix> downs, ups;
  for (uint64_t i = 0; i < 8; ++i) downs.push_back(randomRows(kRank, kWidth, i)), ups.push_back(randomRows(kRank, kWidth, 100 + i));
  BenchResult r;
  r.bench = "lora_128_modules_r64_d4096";
  const auto ours = [&] {
    parallelFor(kModules,
                [&](int64_t i) { FactoredMatrix(ups[static_cast<size_t>(i % 8)], downs[static_cast<size_t>(i % 8)]).spectrum(); });
  };
  r.ours = quickest(3, ours);
  r.limit = 0.2;
  r.floor = gramOperations(2.0 * kModules, kRank, kWidth) / (context.sgemmGflops * 1e9);
  r.more = {{"ours_processor_s", thriftiest(3, ours)},
            {"thin_qr_s", kModules * quickest(1, [&] { householderSpectrum(ups[0], downs[0]); }) / threadCount()}};
  PythonPeer(context.scratch).addSpectra(r, {{32, kRank, kWidth, kWidth}}, kModules / 32.0);

  const SyntheticCheckpoint plan = wide(1);
  const auto base = synthetic(context.scratch / "wide_lora", plan);
  writeAdapter(context.scratch / "adapter", plan, kRank);
  const auto adapted = base->withAdapter(Adapter::open(context.scratch / "adapter"));
  BenchResult s;
  s.bench = "lora_heads_32x32_d4096_by_1_layer";
  LoraOptions options;
  options.withDetails = false;
  const auto heads = [&] { layerLora(*base, *adapted, 0, options, Job()); };
  s.ours = 32 * quickest(2, heads);
  s.limit = 8;
  // Of each of four maps: every head's Gram matrix, and its products with the adapter's shared factor.
  s.floor = 32 * (gramOperations(4 * 32, 128, 4096) + 4 * 32 * 2.0 * kRank * 128 * 4096) / (context.sgemmGflops * 1e9);
  s.more = {{"ours_processor_s", 32 * thriftiest(1, heads)}};
  addCancel(s, s.ours / 32, [&](Job& job) { layerLora(*base, *adapted, 0, options, job); });
  return {r, s, wideIntruders(*base, *adapted)};
}

std::vector<BenchResult> benchSubspace(BenchContext& context) {
  const auto model = synthetic(context.scratch / "wide_subspace", wide(1));
  const HeadWeights weights = headWeights(*model, 0, Fold::On);
  BenchResult r;
  r.bench = "subspace_32_heads_d4096";
  const auto once = [&](Job& job) { sharedSubspace(weights, SubspaceSide::Output, job); };
  double processor = 0;
  r.ours = quickest(1, [&] {
    processor = thriftiest(1, [&] {
      Job job;
      once(job);
    });
  });
  const double n = 4096;
  r.floor = (n * n * n + (4.0 / 3 + 4.0 / 3 + 2) * n * n * n) / (context.sgemmGflops * 1e9);  // Gram matrix, large_eigen.h
  r.more = {{"ours_processor_s", processor}};
  addCancel(r, r.ours, once);
  return {r};
}

}  // namespace headscope::core
