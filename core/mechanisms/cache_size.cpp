#include "core/mechanisms/cache_size.h"

#include <algorithm>
#include <numeric>

namespace headscope::core {

double CacheScheme::numbersPerToken() const { return std::accumulate(numbers.begin(), numbers.end(), 0.0); }

const std::vector<CacheDType>& cacheDTypes() {
  static const auto* types = new std::vector<CacheDType>{{"f32", 4}, {"bf16", 2}, {"fp8", 1}, {"int4", 0.5}};
  return *types;
}

std::vector<CacheScheme> cacheSchemes(const ModelSpec& spec, const CacheWhatIfs& options) {
  const size_t layers = static_cast<size_t>(spec.layers);
  if (layers == 0) return {};
  std::vector<int64_t> own(layers, 0);
  for (size_t l = 0; l < layers && l < spec.layer.size(); ++l) own[l] = spec.layer[l].window;
  const double headNumbers = static_cast<double>(spec.headWidth + spec.valueWidth);
  const auto scheme = [&](std::string name, std::string title, double numbers) {
    return CacheScheme{std::move(name), std::move(title), std::vector<double>(layers, numbers), own};
  };
  const auto heads = [](int64_t count) { return std::to_string(count) + (count == 1 ? " key/value head" : " key/value heads"); };
  const double asItIs =
      spec.mla ? static_cast<double>(spec.mla->latentRank + spec.mla->rope) : headNumbers * static_cast<double>(spec.kvHeads);
  const int64_t groups = options.groups > 0 ? options.groups : std::max<int64_t>(1, spec.heads / 8);

  std::vector<CacheScheme> out;
  out.push_back(scheme("model",
                       spec.mla ? "as it is: MLA, latent " + std::to_string(spec.mla->latentRank) + " + " + std::to_string(spec.mla->rope)
                                : "as it is: " + heads(spec.kvHeads),
                       asItIs));
  out.push_back(scheme("mha", "MHA: " + heads(spec.heads), headNumbers * static_cast<double>(spec.heads)));
  out.push_back(scheme("gqa", "GQA: " + heads(groups), headNumbers * static_cast<double>(groups)));
  out.push_back(scheme("mqa", "MQA: " + heads(1), headNumbers));
  out.push_back(scheme("mla", "MLA: latent " + std::to_string(options.latent) + " + " + std::to_string(options.rope),
                       static_cast<double>(options.latent + options.rope)));
  // A latent is shared already; widths that differ can't be shared
  if (!spec.mla && spec.headWidth == spec.valueWidth) out.push_back(scheme("shared_kv", "shared K/V: values serve as keys", asItIs / 2));
  CacheScheme reuse = scheme("reuse", "reuse: one layer in " + std::to_string(options.reuseEvery) + " keeps its own", asItIs);
  for (size_t l = 0; l < layers; ++l) {
    if (static_cast<int64_t>(l) % std::max<int64_t>(1, options.reuseEvery) != 0) reuse.numbers[l] = 0;
  }
  out.push_back(std::move(reuse));
  CacheScheme window = scheme("window", "window of " + std::to_string(options.window) + " in every layer", asItIs);
  for (int64_t& w : window.window) w = w > 0 ? std::min(w, options.window) : options.window;
  out.push_back(std::move(window));
  return out;
}

double cacheBytes(const CacheScheme& scheme, int64_t context, double bytesPerNumber, int64_t layer) {
  double bytes = 0;
  for (size_t l = 0; l < scheme.numbers.size(); ++l) {
    if (layer >= 0 && static_cast<size_t>(layer) != l) continue;
    const int64_t kept = scheme.window[l] > 0 ? std::min(context, scheme.window[l]) : context;
    bytes += static_cast<double>(kept) * scheme.numbers[l] * bytesPerNumber;
  }
  return bytes;
}

}  // namespace headscope::core
