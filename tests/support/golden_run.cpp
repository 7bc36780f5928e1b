#include "tests/support/golden_run.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "core/attention/attention_map.h"

namespace headscope::tests {

using namespace core;

std::shared_ptr<const SafetensorsFile> openGolden(const std::filesystem::path& folder) {
  return SafetensorsFile::open(folder / "golden.safetensors");
}

std::vector<float> floatsOf(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* info = file.find(name);
  if (info == nullptr) return {};
  std::vector<float> values(static_cast<size_t>(info->count()));
  decodeToFloat(info->dtype, info->data, info->count(), values.data());
  return values;
}

std::vector<double> doublesOf(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* info = file.find(name);
  if (info == nullptr || info->dtype != DType::F64) return {};
  std::vector<double> values(static_cast<size_t>(info->count()));
  std::memcpy(values.data(), info->data, values.size() * sizeof(double));
  return values;
}

namespace {

std::vector<int64_t> integersOf(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* info = file.find(name);
  if (info == nullptr || info->dtype != DType::I64) return {};
  std::vector<int64_t> values(static_cast<size_t>(info->count()));
  std::memcpy(values.data(), info->data, values.size() * sizeof(int64_t));
  return values;
}

double relativeDifference(const float* got, const std::vector<float>& expected) {
  double largest = 0, difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    const double d = std::abs(static_cast<double>(got[i]) - expected[i]);
    difference = std::isfinite(d) ? std::max(difference, d) : INFINITY;
  }
  return expected.empty() ? INFINITY : difference / std::max(largest, 1e-30);
}

void compareMaps(const std::shared_ptr<const Trace>& trace, int64_t layer, const std::vector<float>& expected, GoldenDifferences& out) {
  const int64_t n = trace->count();
  Job job;
  for (int64_t h = 0; h < trace->spec().heads; ++h) {
    const AttentionMap map(trace, {layer, h});
    const Matrix tile = map.tile({0, 0, n, 0, n, Pooling::Max}, job);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        const float e = expected[static_cast<size_t>((h * n + i) * n + j)], g = tile(i, j);
        const double d = std::abs(static_cast<double>(g) - e);
        out.attention = std::isfinite(d) ? std::max(out.attention, d) : INFINITY;
        if (!map.isVisible(i, j) && (g != 0.0f || e != 0.0f)) out.isMaskExact = false;
      }
    }
  }
}

}  // namespace

std::shared_ptr<const Prompt> goldenPrompt(const SafetensorsFile& golden, const ModelSpec& spec) {
  auto prompt = std::make_shared<Prompt>();
  const std::vector<int64_t> types = integersOf(golden, "token_type_ids");
  for (const int64_t id : integersOf(golden, "ids")) {
    Token token;
    token.id = static_cast<int32_t>(id);
    if (!types.empty()) token.segment = static_cast<int32_t>(types[prompt->tokens.size()]);
    prompt->tokens.push_back(token);
  }
  const std::vector<float> pixels = floatsOf(golden, "pixel_values");
  if (!pixels.empty() && spec.image) {
    prompt->pixels = Matrix(spec.image->channels, spec.image->height * spec.image->width);
    std::copy(pixels.begin(), pixels.end(), prompt->pixels.data());
    prompt->tokens.resize(static_cast<size_t>(spec.image->patches() + 1));
  }
  return prompt;
}

GoldenDifferences compareWithGolden(std::shared_ptr<const Trace> trace, const SafetensorsFile& golden) {
  GoldenDifferences out;
  for (int64_t l = 0; l < trace->layersRun(); ++l) {
    const std::vector<float> expected = floatsOf(golden, "attentions." + std::to_string(l));
    const size_t size = static_cast<size_t>(trace->spec().heads * trace->count() * trace->count());
    if (expected.size() != size) {
      out.attention = INFINITY;
      return out;
    }
    compareMaps(trace, l, expected, out);
  }
  for (int64_t l = 0; l <= trace->layersRun(); ++l) {
    out.hidden = std::max(out.hidden, relativeDifference(trace->hidden(l).data, floatsOf(golden, "hidden." + std::to_string(l))));
  }
  Job job;
  if (golden.find("logits") != nullptr) {
    const Matrix logits = trace->hasLogits() ? trace->logits(0, trace->logitRows(), job) : Matrix();
    const std::vector<float> expected = floatsOf(golden, "logits");
    out.logits = static_cast<size_t>(logits.size()) == expected.size() ? relativeDifference(logits.data(), expected) : INFINITY;
  }
  return out;
}

std::string tableLine(const std::string& name, const GoldenDifferences& d) {
  char line[160];
  std::snprintf(line, sizeof(line), "%-26s attention %.1e  mask %-5s  hidden %.1e  logits %.1e", name.c_str(), d.attention,
                d.isMaskExact ? "exact" : "WRONG", d.hidden, d.logits);
  return line;
}

}  // namespace headscope::tests
