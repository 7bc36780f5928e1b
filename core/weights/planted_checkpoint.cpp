#include "core/weights/planted_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>
#include <random>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint/safetensors_writer.h"

namespace headscope::core {
namespace {

using Kind = SyntheticCheckpoint::Family;

/// Gaussian rows of deviation `deviation`.
Matrix gaussian(int64_t rows, int64_t cols, float deviation, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal(0, deviation);
  Matrix m(rows, cols);
  for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = normal(engine);
  return m;
}

/// One head's [k, m] inside a stored matrix: rows of it, or columns where it is stored the other way round.
struct HeadPart {
  MatrixView stored;
  int64_t first = 0, count = 0;
  bool isByColumns = false;

  int64_t width() const { return isByColumns ? stored.rows : stored.cols; }
  float& at(int64_t r, int64_t c) const { return isByColumns ? stored(c, first + r) : stored(first + r, c); }
  void set(const Matrix& rows, int64_t turn = 0) const {
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t c = 0; c < width(); ++c) at(r, c) = rows((r + turn) % rows.rows(), c);
    }
  }
  void repeat(int64_t rank) const {
    for (int64_t r = rank; r < count; ++r) {
      for (int64_t c = 0; c < width(); ++c) at(r, c) = at(r % rank, c);
    }
  }
};

/// Where the heads lie in the tensors that a SyntheticCheckpoint writes.
struct Layout {
  const SyntheticCheckpoint& w;
  bool isGpt2() const { return w.family == Kind::Gpt2; }
  bool isLatent() const { return w.family == Kind::DeepSeekV3; }

  HeadPart query(MatrixView m, int64_t h) const {
    if (isLatent()) return {m, h * (w.nope + w.rope), w.nope, false};
    return {m, h * w.headWidth, w.headWidth, isGpt2()};
  }
  HeadPart value(MatrixView m, int64_t h) const {
    if (isLatent()) return {m, h * (w.nope + w.headWidth) + w.nope, w.headWidth, false};
    const int64_t g = h * w.kvHeads / w.heads;
    return {m, (isGpt2() ? 2 * w.width : 0) + g * w.headWidth, w.headWidth, isGpt2()};
  }
  HeadPart output(MatrixView m, int64_t h) const { return {m, h * w.headWidth, w.headWidth, !isGpt2()}; }
  std::string queryName(int64_t layer) const { return w.queryName(layer); }
  std::string valueName(int64_t layer) const { return isLatent() ? w.keyValueUpName(layer) : w.valueName(layer); }
};

void plantInto(const PlantedCheckpoint& p, const std::string& name, MatrixView m) {
  const Layout layout{p.weights};
  const int64_t k = p.weights.headWidth, d = p.weights.width;
  const float size = 1.0F / std::sqrt(static_cast<float>(d));
  if (p.hasCircuit()) {
    const bool isWriter = name == p.weights.outputName(p.writer.layer), isReader = name == layout.queryName(p.reader.layer);
    if (isWriter) layout.output(m, p.writer.head).set(gaussian(k, d, size, 101));
    if (isReader) layout.query(m, p.reader.head).set(gaussian(k, d, size, 101));
  }
  if (name == layout.queryName(p.lowQuery.layer)) layout.query(m, p.lowQuery.head).repeat(p.queryRank);
  if (name == layout.valueName(p.lowValue.layer)) layout.value(m, p.lowValue.head).repeat(p.valueRank);
  if (name == p.weights.outputName(p.pairFirst.layer)) layout.output(m, p.pairFirst.head).set(gaussian(k, d, size, 202));
  if (name == p.weights.outputName(p.pairSecond.layer)) layout.output(m, p.pairSecond.head).set(gaussian(k, d, size, 202), 1);
}

std::string moduleOf(const std::string& weight) { return weight.substr(0, weight.size() - std::string(".weight").size()); }

/// lora_A and lora_B of one module, all zero in B but for some heads' outputs (or in A for their inputs).
void addModule(SafetensorsWriter& writer, const std::string& weight, Matrix down, Matrix up) {
  const std::string module = "base_model.model." + moduleOf(weight);
  const auto add = [&](const char* end, const Matrix& m) {
    writer.add(module + end, {m.rows(), m.cols()}, std::vector<float>(m.data(), m.data() + m.size()));
  };
  add(".lora_A.weight", down);
  add(".lora_B.weight", up);
}

Matrix onlyRows(int64_t rows, int64_t cols, const std::vector<std::pair<int64_t, int64_t>>& ranges, float deviation, uint64_t seed) {
  Matrix m = Matrix::zeros(rows, cols);
  for (const auto& [first, count] : ranges) {
    const Matrix part = gaussian(count, cols, deviation, seed + static_cast<uint64_t>(first));
    std::copy_n(part.data(), part.size(), m.row(first));
  }
  return m;
}

struct AdapterPlan {
  const PlantedCheckpoint& p;
  SafetensorsWriter writer;
  std::vector<std::string> targets;

  /// Rows [first, first + count) of the stacked outputs of one layer's map that change.
  using Ranges = std::vector<std::pair<int64_t, int64_t>>;
  void module(const std::string& weight, int64_t outputs, int64_t inputs, const Ranges& ranges, uint64_t seed) {
    if (ranges.empty()) return;
    const int64_t r = p.adapterRank;
    // ||B_h A|| is about half of ||W_h||.
    addModule(writer, weight, gaussian(r, inputs, 1.0F / std::sqrt(static_cast<float>(inputs)), seed),
              onlyRows(outputs, r, ranges, 0.5F / std::sqrt(static_cast<float>(r)), seed + 1));
    targets.push_back(moduleOf(weight));
  }
  void layer(int64_t l) {
    const SyntheticCheckpoint& w = p.weights;
    const Layout layout{w};
    Ranges query, value;
    for (size_t i = 0; i < 3; ++i) {
      if (p.adapted[i].layer != l) continue;
      const HeadPart q = layout.query({}, p.adapted[i].head), v = layout.value({}, p.adapted[i].head);
      if (i != 1) query.emplace_back(q.first, layout.isLatent() ? w.nope + w.rope : q.count);
      if (i != 0) value.emplace_back(v.first, v.count);
    }
    const uint64_t seed = 1000 + static_cast<uint64_t>(l);
    if (w.family == Kind::Gpt2) {
      Ranges both = query;
      both.insert(both.end(), value.begin(), value.end());
      module(w.queryName(l), 3 * w.width, w.width, both, seed);
    } else if (w.family == Kind::Llama) {
      module(w.queryName(l), w.heads * w.headWidth, w.width, query, seed);
      module(w.valueName(l), w.kvHeads * w.headWidth, w.width, value, seed + 500);
    } else {
      module(w.queryName(l), w.heads * (w.nope + w.rope), w.queryRank, query, seed);
      module(w.keyValueUpName(l), w.heads * (w.nope + w.headWidth), w.latentRank, value, seed + 500);
    }
  }
};

std::string nameOf(const HeadRef& h) { return std::to_string(h.layer) + "." + std::to_string(h.head); }

}  // namespace

const std::array<const char*, 6>& PlantedCheckpoint::kinds() {
  static constexpr std::array<const char*, 6> names = {"gpt2_12x12", "llama_32x32", "deepseek_v3_layer",
                                                       "gpt2_small", "llama_small", "deepseek_v3_small"};
  return names;
}

PlantedCheckpoint PlantedCheckpoint::named(const std::string& kind, int64_t layers) {
  PlantedCheckpoint p;
  SyntheticCheckpoint& w = p.weights;
  w.isRunnable = true;
  const auto sizes = [&](Kind family, int64_t count, int64_t width, int64_t heads, int64_t headWidth, DType dtype) {
    w.family = family, w.layers = layers > 0 ? layers : count, w.width = width, w.heads = w.kvHeads = heads, w.headWidth = headWidth;
    w.dtype = dtype;
  };
  if (kind == "gpt2_12x12") {
    sizes(Kind::Gpt2, 12, 768, 12, 64, DType::F32);
  } else if (kind == "llama_32x32") {
    sizes(Kind::Llama, 32, 4096, 32, 128, DType::BF16);
  } else if (kind == "deepseek_v3_layer") {
    sizes(Kind::DeepSeekV3, 1, 7168, 128, 128, DType::F8_E4M3);
    w.queryRank = 1536, w.latentRank = 512, w.nope = 128, w.rope = 64;
  } else if (kind == "gpt2_small") {
    sizes(Kind::Gpt2, 3, 96, 4, 24, DType::F32);
  } else if (kind == "llama_small") {
    sizes(Kind::Llama, 3, 96, 4, 16, DType::F32);
  } else if (kind == "deepseek_v3_small") {
    sizes(Kind::DeepSeekV3, 1, 96, 4, 16, DType::F32);
    w.queryRank = 48, w.latentRank = 40, w.nope = 16, w.rope = 8;
  } else {
    std::string known;
    for (const char* name : kinds()) known += std::string(known.empty() ? "" : ", ") + name;
    throw Error("no planted checkpoint of this name", kind, "known: " + known);
  }
  const int64_t last = w.layers - 1, H = w.heads;
  p.writer = {last / 3, 2 % H}, p.reader = {last, 1};
  if (p.hasCircuit() && p.writer.layer == 0) p.lowValue.head = 0;
  p.pairFirst = {last / 2, 0}, p.pairSecond = {last / 2, H - 1};
  if (p.pairFirst.layer == p.writer.layer) p.pairSecond.head = 3 % H;
  p.adapted = {HeadRef{last / 4, 3 % H}, HeadRef{last / 2, 1}, HeadRef{last, H - 2}};
  return p;
}

std::string PlantedCheckpoint::description() const {
  std::string text;
  if (hasCircuit()) text += "circuit: head " + nameOf(writer) + " writes what the query of head " + nameOf(reader) + " reads\n";
  text += "low rank: W_Q of head " + nameOf(lowQuery) + " has rank " + std::to_string(queryRank) +
          (weights.family == Kind::DeepSeekV3 ? " (without its rotary part)" : "") + ", W_V of head " + nameOf(lowValue) + " rank " +
          std::to_string(valueRank) + "\n";
  text += "shared output subspace: heads " + nameOf(pairFirst) + " and " + nameOf(pairSecond) + "\n";
  text += "adapter: changes the query of head " + nameOf(adapted[0]) + ", the value of head " + nameOf(adapted[1]) + ", both of head " +
          nameOf(adapted[2]) + ", nothing else\n";
  return text;
}

void PlantedCheckpoint::write(const std::filesystem::path& folder) const {
  SyntheticCheckpoint w = weights;
  w.plant = [plan = *this](const std::string& name, MatrixView m) { plantInto(plan, name, m); };
  w.write(folder / "model");
  AdapterPlan adapter{*this, {}, {}};
  for (int64_t l = 0; l < weights.layers; ++l) adapter.layer(l);
  std::filesystem::create_directories(folder / "adapter");
  adapter.writer.write(folder / "adapter" / "adapter_model.safetensors");
  nlohmann::json config = {{"peft_type", "LORA"}, {"r", adapterRank}, {"lora_alpha", adapterRank}};
  config["target_modules"] = adapter.targets;
  config["fan_in_fan_out"] = weights.family == Kind::Gpt2;
  writeFileWhole(folder / "adapter" / "adapter_config.json", [&](std::ostream& out) { out << config.dump(1) << "\n"; });
  writeFileWhole(folder / "planted.txt", [&](std::ostream& out) { out << description(); });
}

}  // namespace headscope::core
