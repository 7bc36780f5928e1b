#include "core/weights/cached_results.h"

#include <algorithm>
#include <optional>

#include "core/backend/backend.h"
#include "core/base/job.h"
#include "core/weights/content_hash.h"
#include "core/weights/packing.h"
#include "core/weights/subspace_overlap.h"

namespace headscope::core {
namespace {

constexpr size_t kLargest = size_t{64} << 20;

void putNotes(Packer& p, const std::vector<std::string>& notes) {
  p.put(static_cast<uint64_t>(notes.size()));
  for (const std::string& note : notes) p.put(note);
}

std::vector<std::string> takeNotes(Unpacker& u) {
  std::vector<std::string> notes;
  for (uint64_t n = u.count(8); n > 0 && u.isGood; --n) notes.push_back(u.text());
  return notes;
}

void put(Packer& p, const Spectrum& s) {
  p.put(s.sigma);
  p.put(s.noise);
  p.put(static_cast<uint8_t>(s.route == SpectrumRoute::Householder));
  p.put(static_cast<uint8_t>(s.isFinite));
}

void take(Unpacker& u, Spectrum& s) {
  s.sigma = u.list<double>();
  s.noise = u.get<double>();
  s.route = u.get<uint8_t>() != 0 ? SpectrumRoute::Householder : SpectrumRoute::Gram;
  s.isFinite = u.get<uint8_t>() != 0;
}

void put(Packer& p, const LoraCircuit& c) {
  for (const Spectrum* s : {&c.before, &c.after, &c.change}) put(p, *s);
  p.put(c.relative);
  for (const double norm : c.termNorms) p.put(norm);
  for (const auto& sigma : c.termSigma) p.put(sigma);
  p.put(c.intrudersLeft), p.put(c.intrudersRight);
}

void take(Unpacker& u, LoraCircuit& c) {
  for (Spectrum* s : {&c.before, &c.after, &c.change}) take(u, *s);
  c.relative = u.get<double>();
  for (double& norm : c.termNorms) norm = u.get<double>();
  for (auto& sigma : c.termSigma) sigma = u.list<double>();
  c.intrudersLeft = u.get<int64_t>(), c.intrudersRight = u.get<int64_t>();
}

void addPlace(ContentHash& hash, const std::shared_ptr<Backend>& backend) {
  hash.add(backend ? std::string_view(backend->name()) : std::string_view());
  if (!backend) return;
  hash.add(std::string_view(backend->identity()));
  hash.add(static_cast<int>(backend->precision()));
}

void addShape(ContentHash& hash, const ModelSpec& spec) {
  for (const int64_t n : {spec.layers, spec.heads, spec.kvHeads, spec.headWidth, spec.valueWidth, spec.width}) hash.add(n);
  hash.add(spec.rope.frequencies), hash.add(spec.rope.isInterleaved);
}

std::string loraKey(const Model& base, const Model& adapted, int64_t layer, const LoraOptions& options) {
  ContentHash hash = ContentHash::ofResult("lora");
  addAttention(hash, base.attention(layer));
  addAttention(hash, adapted.attention(layer));
  addShape(hash, base.spec());
  for (const int64_t n : {layer, options.offset, static_cast<int64_t>(options.withDetails), options.denseIntruderWidth}) hash.add(n);
  addPlace(hash, options.backend);
  return hash.text();
}

std::string compositionKey(const Model& model, const CompositionOptions& options, const Job& job) {
  ContentHash hash = ContentHash::ofResult("composition");
  addShape(hash, model.spec());
  std::vector<int64_t> layers = options.layers;
  for (int64_t l = 0; options.layers.empty() && l < model.spec().layers; ++l) layers.push_back(l);
  hash.add(layers);
  for (const int64_t l : layers) {
    job.checkpoint();
    const AttentionWeights attention = model.attention(l);
    addAttention(hash, attention);
    if (options.fold == Fold::On) hash.add(model.attentionNorm(l).gain);
    releaseAttention(attention);
  }
  for (const int64_t n : {static_cast<int64_t>(options.fold), static_cast<int64_t>(options.metric), static_cast<int64_t>(options.withNull),
                          options.withNull ? options.draws : 0, options.withNull ? static_cast<int64_t>(options.seed) : 0})
    hash.add(n);
  addPlace(hash, options.backend);
  return hash.text();
}

std::string subspaceKey(const SubspaceSource& source, std::string_view what) {
  ContentHash hash = ContentHash::ofResult(what);
  addShape(hash, source.model.spec());
  const AttentionWeights attention = source.model.attention(source.layer);
  addAttention(hash, attention);
  if (source.fold == Fold::On) hash.add(source.model.attentionNorm(source.layer).gain);
  for (const int64_t n : {source.layer, static_cast<int64_t>(source.fold), static_cast<int64_t>(source.side)}) hash.add(n);
  return hash.text();
}

}  // namespace

std::string packLora(const LoraLayer& layer) {
  Packer p;
  p.put(layer.layer);
  p.put(static_cast<uint64_t>(layer.heads.size()));
  for (const HeadLora& h : layer.heads) {
    p.put(h.layer), p.put(h.head);
    put(p, h.qk), put(p, h.ov);
    for (const double share : {h.shareQ, h.shareK, h.shareV, h.shareO}) p.put(share);
    p.put(h.writeCosines);
  }
  p.put(static_cast<uint64_t>(layer.intruders.size()));
  for (const WholeIntruders& w : layer.intruders) p.put(w.module), p.put(w.layer), p.put(w.count), p.put(w.undecided);
  putNotes(p, layer.notes);
  return std::move(p.bytes);
}

bool parseLora(std::string_view bytes, LoraLayer& layer) {
  Unpacker u{bytes};
  layer = {};
  layer.layer = u.get<int64_t>();
  for (uint64_t n = u.count(64); n > 0 && u.isGood; --n) {
    HeadLora h;
    h.layer = u.get<int64_t>(), h.head = u.get<int64_t>();
    take(u, h.qk), take(u, h.ov);
    for (double* share : {&h.shareQ, &h.shareK, &h.shareV, &h.shareO}) *share = u.get<double>();
    h.writeCosines = u.list<double>();
    layer.heads.push_back(std::move(h));
  }
  for (uint64_t n = u.count(32); n > 0 && u.isGood; --n) {
    WholeIntruders w;
    w.module = u.text(), w.layer = u.get<int64_t>(), w.count = u.get<int64_t>(), w.undecided = u.get<int64_t>();
    layer.intruders.push_back(std::move(w));
  }
  layer.notes = takeNotes(u);
  return u.isGood && u.bytes.empty();
}

std::string packComposition(const Composition& c) {
  Packer p;
  for (const int64_t n : {c.layers, c.heads, c.width, static_cast<int64_t>(c.metric)}) p.put(n);
  p.put(c.layerNumbers), p.put(c.expectation);
  for (const auto* all : {&c.values, &c.null, &c.nullDeviation}) {
    for (const std::vector<float>& values : *all) p.put(values);
  }
  putNotes(p, c.notes);
  return std::move(p.bytes);
}

bool parseComposition(std::string_view bytes, Composition& c) {
  Unpacker u{bytes};
  c = {};
  c.layers = u.get<int64_t>(), c.heads = u.get<int64_t>(), c.width = u.get<int64_t>();
  c.metric = u.get<int64_t>() == 0 ? CompositionMetric::Frobenius : CompositionMetric::Kernel;
  c.layerNumbers = u.list<int64_t>(), c.expectation = u.get<double>();
  for (auto* all : {&c.values, &c.null, &c.nullDeviation}) {
    for (std::vector<float>& values : *all) values = u.list<float>();
  }
  c.notes = takeNotes(u);
  if (!u.isGood || !u.bytes.empty() || c.layers < 0 || c.heads < 0 || c.layers > 1 << 20 || c.heads > 1 << 20) return false;
  const size_t size = static_cast<size_t>(c.layers * c.heads) * static_cast<size_t>(c.layers * c.heads);
  const auto isWhole = [&](const std::vector<float>& v, bool isNeeded) { return v.size() == size || (!isNeeded && v.empty()); };
  for (size_t kind = 0; kind < c.values.size(); ++kind) {
    if (!isWhole(c.values[kind], true) || !isWhole(c.null[kind], false) || !isWhole(c.nullDeviation[kind], false)) return false;
  }
  return true;
}

std::string packSubspace(const SharedSubspace& s) {
  Packer p;
  for (const int64_t n : {s.layer, static_cast<int64_t>(s.side), s.heads, s.stackRows, s.width}) p.put(n);
  p.put(s.sigma), p.put(s.storedEnergy);
  for (const std::vector<double>& energy : s.headEnergy) p.put(energy);
  putNotes(p, s.notes);
  return std::move(p.bytes);
}

bool parseSubspace(std::string_view bytes, SharedSubspace& s) {
  Unpacker u{bytes};
  s = {};
  s.layer = u.get<int64_t>();
  const auto side = u.get<int64_t>();
  if (side < 0 || side > static_cast<int64_t>(SubspaceSide::Value)) return false;
  s.side = static_cast<SubspaceSide>(side);
  s.heads = u.get<int64_t>(), s.stackRows = u.get<int64_t>(), s.width = u.get<int64_t>();
  s.sigma = u.list<double>(), s.storedEnergy = u.list<double>();
  if (!u.isGood || s.heads < 0 || s.heads > 1 << 20 || s.storedEnergy.size() != s.sigma.size()) return false;
  for (int64_t h = 0; h < s.heads && u.isGood; ++h) {
    s.headEnergy.push_back(u.list<double>());
    if (s.headEnergy.back().size() != s.sigma.size()) return false;
  }
  s.notes = takeNotes(u);
  return u.isGood && u.bytes.empty();
}

LoraLayer cachedLayerLora(const Model& base, const Model& adapted, int64_t layer, const LoraOptions& options, const DiskCache& cache,
                          const Job& job) {
  if (!cache.isOn()) return layerLora(base, adapted, layer, options, job);
  const std::string key = loraKey(base, adapted, layer, options);
  LoraLayer found;
  const auto kept = cache.read(key);
  if (!kept || !parseLora(*kept, found) || found.layer != layer) {
    found = layerLora(base, adapted, layer, options, job);
    cache.write(key, packLora(found));
  }
  releaseAttention(base.attention(layer));
  return found;
}

Composition cachedComposition(const Model& model, const CompositionOptions& options, const DiskCache& cache, Job& job) {
  const int64_t layers = options.layers.empty() ? model.spec().layers : static_cast<int64_t>(options.layers.size());
  const double heads = static_cast<double>(layers * model.spec().heads), bytes = 12.0 * heads * heads * (options.withNull ? 3 : 1);
  if (!cache.isOn() || bytes > static_cast<double>(kLargest)) return composition(model, options, job);
  job.report(0, "looking for it in the cache");
  const std::string key = compositionKey(model, options, job);
  Composition found;
  const auto kept = cache.read(key);
  if (kept && parseComposition(*kept, found) && found.layers == layers && found.heads == model.spec().heads) {
    job.report(1.0);
    return found;
  }
  found = composition(model, options, job);
  cache.write(key, packComposition(found));
  return found;
}

SharedSubspace cachedSubspace(const SubspaceSource& source, const DiskCache& cache, const Job& job,
                              const std::function<void(double)>& progress) {
  if (!cache.isOn()) return sharedSubspace(source.weights(), source.side, job, progress, source.backend.get());
  const std::string key = subspaceKey(source, "subspace");
  SharedSubspace found;
  const auto kept = cache.read(key);
  if (kept && parseSubspace(*kept, found) && found.layer == source.layer && found.side == source.side) return found;
  found = sharedSubspace(source.weights(), source.side, job, progress, source.backend.get());
  if (const std::string packed = packSubspace(found); packed.size() <= kLargest) cache.write(key, packed);
  return found;
}

Matrix cachedOverlaps(const SubspaceSource& source, const DiskCache& cache, const Job& job) {
  if (!cache.isOn()) return subspaceOverlaps(source.weights(), source.side, job);
  const std::string key = subspaceKey(source, "overlaps");
  if (const auto kept = cache.read(key)) {
    Unpacker u{*kept};
    const auto n = u.get<int64_t>();
    const std::vector<float> values = u.list<float>();
    if (u.isGood && u.bytes.empty() && n >= 0 && n < 1 << 20 && static_cast<int64_t>(values.size()) == n * n) {
      Matrix overlaps(n, n);
      std::copy(values.begin(), values.end(), overlaps.data());
      return overlaps;
    }
  }
  Matrix overlaps = subspaceOverlaps(source.weights(), source.side, job);
  Packer p;
  p.put(overlaps.rows()), p.put(std::vector<float>(overlaps.data(), overlaps.data() + overlaps.size()));
  cache.write(key, p.bytes);
  return overlaps;
}

}  // namespace headscope::core
