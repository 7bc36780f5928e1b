#include "core/model/rope.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <optional>

#include "core/base/printable.h"

namespace headscope::core {
namespace {

/// The object that says how to rotate, or nothing: rope_scaling goes before rope_parameters.
std::optional<ConfigReader> ropeObject(const ConfigReader& config) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!config.isTruthy(key)) continue;
    const ConfigReader rope = config.object(key);
    const ConfigReader* first = nullptr;
    std::vector<ConfigReader> nested;
    for (const auto& [name, value] : rope.raw().items()) {
      if (value.is_object()) nested.push_back(rope.object(name));
    }
    if (nested.empty()) return rope;
    for (const ConfigReader& one : nested) {
      if (first == nullptr) first = &one;
      if (one.raw() != first->raw()) throw config.fault(key, "a rotation of its own for each layer type is not supported");
    }
    // One object a layer type, all the same: the first stands for all.
    return ConfigReader(nested.front());
  }
  return std::nullopt;
}

std::string scalingName(const std::optional<ConfigReader>& rope) {
  if (!rope) return "default";
  return rope->text("rope_type", rope->text("type", "default"));
}

double mscale(double factor, double weight) { return factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0; }

/// base^(-2i/dims) in float32: [ceil(dims / 2)].
std::vector<float> plainPeriods(double base, int64_t dims) {
  std::vector<float> periods;
  for (int64_t i = 0; i < dims; i += 2) {
    periods.push_back(std::pow(static_cast<float>(base), static_cast<float>(i) / static_cast<float>(dims)));
  }
  return periods;
}

int64_t originalContext(const ConfigReader& config, const ConfigReader& rope, int64_t context) {
  constexpr int64_t kMost = int64_t{1} << 40;
  if (config.has("original_max_position_embeddings")) return config.size("original_max_position_embeddings", 1, kMost);
  return rope.size("original_max_position_embeddings", context, kMost);
}

void scaleLlama3(std::vector<float>& frequencies, const ConfigReader& config, const ConfigReader& rope, int64_t context) {
  for (const char* key : {"factor", "low_freq_factor", "high_freq_factor"}) {
    if (!rope.has(key)) throw rope.fault(key, "is missing");
  }
  const auto factor = static_cast<float>(rope.positive("factor", 1)), low = static_cast<float>(rope.positive("low_freq_factor", 1));
  const auto high = static_cast<float>(rope.positive("high_freq_factor", 4));
  if (!(high > low)) throw rope.fault("high_freq_factor", "must be greater than low_freq_factor");
  const auto length = static_cast<float>(originalContext(config, rope, context));
  for (float& f : frequencies) {
    const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / f;
    if (wavelength > length / low) {
      f = f / factor;
    } else if (!(wavelength < length / high)) {
      const float smooth = (length / wavelength - low) / (high - low);
      f = (1.0f - smooth) * f / factor + smooth * f;
    }
  }
}

double yarnFactor(const ConfigReader& config, const ConfigReader& rope, int64_t context) {
  if (rope.has("factor")) return rope.positive("factor", 1.0);
  return static_cast<double>(context) / static_cast<double>(originalContext(config, rope, context));
}

void scaleYarn(RopeSpec& spec, std::vector<float>& frequencies, const std::vector<float>& periods, const ConfigReader& config,
               const ConfigReader& rope, int64_t context) {
  if (!(spec.base > 1.0)) throw rope.fault("rope_theta", "must be greater than 1 under YaRN");
  const double factor = yarnFactor(config, rope, context);
  const auto length = static_cast<double>(originalContext(config, rope, context));
  const double weight = rope.number("mscale", 0.0), weightAll = rope.number("mscale_all_dim", 0.0);
  spec.magnitude = weight != 0.0 && weightAll != 0.0 ? mscale(factor, weight) / mscale(factor, weightAll) : mscale(factor, 1.0);
  if (rope.has("attention_factor")) spec.magnitude = rope.number("attention_factor", 1.0);

  const auto turnsAt = [&](std::string_view key, double fallback) {
    const double turns = rope.number(key, fallback) != 0.0 ? rope.number(key, fallback) : fallback;
    if (!(turns > 0.0)) throw rope.fault(key, "must be positive");
    return static_cast<double>(spec.dims) * std::log(length / (turns * 2.0 * std::numbers::pi)) / (2.0 * std::log(spec.base));
  };
  double low = turnsAt("beta_fast", 32.0), high = turnsAt("beta_slow", 1.0);
  if (rope.flag("truncate", true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(spec.dims - 1));
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float ramp = std::clamp((static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f, 1.0f);
    const float kept = 1.0f - ramp;
    const float interpolated = 1.0f / (static_cast<float>(factor) * periods[i]);
    frequencies[i] = interpolated * (1.0f - kept) + (1.0f / periods[i]) * kept;
  }
}

}  // namespace

RopeSpec ropeFromConfig(const ConfigReader& config, const RopeRequest& request) {
  const std::optional<ConfigReader> rope = ropeObject(config);
  RopeSpec spec;
  spec.isInterleaved = request.isInterleaved;
  spec.scaling = scalingName(rope);
  spec.base = config.positive(request.baseKey, 10000.0);
  if (rope && rope->has("rope_theta")) spec.base = rope->positive("rope_theta", 10000.0);
  double partial = config.number(request.partialKey, request.partial);
  if (rope && rope->has("partial_rotary_factor")) partial = rope->number("partial_rotary_factor", 1.0);
  if (!(partial > 0.0) || partial > 1.0) throw config.fault(request.partialKey, "must be above 0 and at most 1");
  if (partial != 1.0 && !request.isPartialAllowed)
    throw config.fault(request.partialKey, "a rotation of part of each head is not supported in this family");
  const auto dims = static_cast<int64_t>(static_cast<double>(request.headDims) * partial);
  const std::vector<float> periods = plainPeriods(spec.base, dims);
  spec.dims = 2 * static_cast<int64_t>(periods.size());  // an odd count is rounded up
  if (spec.dims == 0 || spec.dims > request.headDims) {
    throw config.fault(request.partialKey, "leaves " + std::to_string(dims) + " of " + std::to_string(request.headDims) +
                                               " dimensions to rotate: pairs don't fit");
  }
  std::vector<float> frequencies;
  for (const float period : periods) frequencies.push_back(1.0f / period);

  if (spec.scaling == "linear") {
    if (!rope->has("factor")) throw rope->fault("factor", "is missing");
    const auto factor = static_cast<float>(rope->positive("factor", 1.0));
    for (float& f : frequencies) f /= factor;
  } else if (spec.scaling == "llama3") {
    scaleLlama3(frequencies, config, *rope, request.context);
  } else if (spec.scaling == "yarn") {
    scaleYarn(spec, frequencies, periods, config, *rope, request.context);
  } else if (spec.scaling == "dynamic" || spec.scaling == "longrope" || spec.scaling == "su") {
    throw config.fault("rope_scaling", "\"" + spec.scaling + "\" is not supported: its frequencies depend on how long the text is");
  } else if (spec.scaling != "default") {
    throw config.fault("rope_scaling", "\"" + printable(spec.scaling, 60) + "\" is not supported",
                       "known are default, linear, llama3, yarn");
  }
  spec.frequencies.assign(frequencies.begin(), frequencies.end());
  for (const double f : spec.frequencies) {
    if (!std::isfinite(f)) throw config.fault(request.baseKey, "makes frequencies that are not finite");
  }
  return spec;
}

double attentionScaleFromRope(const ConfigReader& config) {
  const std::optional<ConfigReader> rope = ropeObject(config);
  if (!rope || scalingName(rope) == "default") return 1.0;
  const double weight = rope->number("mscale_all_dim", 0.0);
  if (weight == 0.0) return 1.0;
  const double m = mscale(yarnFactor(config, *rope, config.size("max_position_embeddings", 4096, int64_t{1} << 40)), weight);
  return m * m;
}

}  // namespace headscope::core
