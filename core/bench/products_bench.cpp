// The products of one layer at the widths people run, weights stored as their families store them, at 512 tokens: how much of the
// machine's SGEMM rate is left after decoding, how much decoding costs over float32, and what memory it takes.
#include <algorithm>
#include <cstdint>

#include "core/bench/benches.h"

namespace headscope::core {
namespace {

struct Shape {
  int64_t outputs, inputs;
};

struct FamilyProducts {
  const char* name;
  DType dtype;
  bool isInByOut;
  std::vector<Shape> shapes;  // of one layer
};

const std::vector<FamilyProducts>& families() {
  static const std::vector<FamilyProducts> table = {
      {"gpt2", DType::F32, true, {{2304, 768}, {768, 768}, {3072, 768}, {768, 3072}}},
      {"bert_base", DType::F32, false, {{768, 768}, {768, 768}, {768, 768}, {768, 768}, {3072, 768}, {768, 3072}}},
      {"pythia_1.4b", DType::F16, false, {{6144, 2048}, {2048, 2048}, {8192, 2048}, {2048, 8192}}},
      {"qwen3_0.6b",
       DType::BF16,
       false,
       {{2048, 1024}, {1024, 1024}, {1024, 1024}, {1024, 2048}, {3072, 1024}, {3072, 1024}, {1024, 3072}}},
      {"llama3_8b", DType::BF16, false, {{4096, 4096}, {1024, 4096}, {1024, 4096}, {4096, 4096}, {14336, 4096}, {4096, 14336}}},
      {"gemma2_2b", DType::BF16, false, {{2048, 2304}, {1024, 2304}, {1024, 2304}, {2304, 2048}, {9216, 2304}, {2304, 9216}}},
      {"deepseek_v3_attention", DType::F8_E4M3, false, {{1536, 7168}, {24576, 1536}, {576, 7168}, {32768, 512}, {7168, 16384}}},
  };
  return table;
}

/// One stored matrix of random bits that are harmless numbers, and its view.
struct StoredMatrix {
  std::vector<std::byte> bytes;
  std::vector<float> scales;
  WeightView view;
};

StoredMatrix storedMatrix(DType dtype, bool isInByOut, Shape shape) {
  StoredMatrix m;
  const int64_t count = shape.outputs * shape.inputs;
  m.bytes.resize(static_cast<size_t>(count) * sizeOf(dtype));
  uint64_t state = 7;
  for (size_t i = 0; i < m.bytes.size(); ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    // The last byte of each number holds the exponent: kept at a value of about 0.1
    const bool isLast = (i + 1) % sizeOf(dtype) == 0;
    m.bytes[i] = static_cast<std::byte>(isLast && dtype != DType::F8_E4M3 ? (dtype == DType::F16 ? 0x2C : 0x3D) : (state >> 56) & 0x37);
  }
  m.view.data = m.bytes.data();
  m.view.dtype = dtype;
  m.view.isInByOut = isInByOut;
  m.view.storedRows = isInByOut ? shape.inputs : shape.outputs;
  m.view.storedCols = isInByOut ? shape.outputs : shape.inputs;
  m.view.outGroupSize = m.view.outGroupStride = shape.outputs;
  m.view.inCount = shape.inputs;
  if (dtype == DType::F8_E4M3) {
    m.view.blockRows = m.view.blockCols = 128;
    m.view.scaleCols = (shape.inputs + 127) / 128;
    m.scales.assign(static_cast<size_t>(m.view.scaleCols * ((shape.outputs + 127) / 128)), 0.02f);
    m.view.scales = reinterpret_cast<const std::byte*>(m.scales.data());
  }
  return m;
}

struct ProductsCost {
  double seconds = 0;    // of a processor, so that a busy machine does not blur the cost of decoding
  double peakBytes = 0;  // the most that one product took beside its input, its weights as stored and its output
};

ProductsCost measureProducts(Backend& backend, DType dtype, bool isInByOut, const std::vector<Shape>& shapes, int64_t tokens) {
  ProductsCost cost;
  for (const Shape& shape : shapes) {
    const StoredMatrix stored = storedMatrix(dtype, isInByOut, shape);
    Linear linear;
    linear.weight = stored.view;
    Matrix ones(tokens, shape.inputs);
    std::fill_n(ones.data(), ones.size(), 0.01f);
    const Tensor x = backend.upload(ones), out = backend.allocate(tokens, shape.outputs);
    Job job;
    const auto product = [&] { backend.linear(x, linear, Into::Replace, out, job); };
    product();  // touches the output
    {
      const PeakMemory memory;
      product();
      cost.peakBytes = std::max(cost.peakBytes, memory.peakBytes());
    }
    cost.seconds += thriftiest(3, product);
  }
  return cost;
}

}  // namespace

std::vector<BenchResult> benchProducts(BenchContext& context) {
  constexpr int64_t kTokens = 512;
  std::vector<BenchResult> results;
  for (const FamilyProducts& family : families()) {
    double operations = 0;
    for (const Shape& s : family.shapes) operations += 2.0 * kTokens * static_cast<double>(s.outputs * s.inputs);
    BenchResult result;
    result.bench = std::string("products_") + family.name;
    const ProductsCost own = measureProducts(*context.backend, family.dtype, family.isInByOut, family.shapes, kTokens);
    double largest = 0;
    for (const Shape& s : family.shapes) largest = std::max(largest, 4.0 * static_cast<double>(s.outputs * s.inputs));
    result.more["ours_processor_s"] = own.seconds;
    result.more["share_of_sgemm"] = operations / 1e9 / context.sgemmPerProcessorSecond / own.seconds;
    result.more["extra_mb"] = own.peakBytes / 1e6;
    result.more["largest_matrix_float32_mb"] = largest / 1e6;
    result.more["share_limit"] = 0.6;
    if (family.dtype != DType::F32) {
      const double plain = measureProducts(*context.backend, DType::F32, false, family.shapes, kTokens).seconds;
      result.more["decoding_cost_percent"] = 100 * (own.seconds / plain - 1);
    }
    results.push_back(result);
  }
  return results;
}

}  // namespace headscope::core
