// headscope spectra MODEL: singular values and ranks of every head's matrices.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "app/cli/inputs.h"
#include "core/attention/forward.h"
#include "core/backend/open_backend.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint/safetensors_writer.h"
#include "core/tokenizer/prompt_builder.h"
#include "core/weights/input_statistics.h"
#include "core/weights/spectra.h"

namespace headscope::app {
namespace {

using nlohmann::json;

struct SpectraFlags {
  std::string model, fold = "auto", split = "heads", weightedBy, out;
  std::vector<std::string> matrices;
  std::vector<int64_t> offsets;
  bool isDouble = false, withoutCache = false;
};

core::SpectraOptions optionsOf(const core::Model& model, const SpectraFlags& flags) {
  core::SpectraOptions options;
  options.fold = flags.fold == "on" ? core::Fold::On : flags.fold == "off" ? core::Fold::Off : core::defaultFold(model.spec());
  options.split = flags.split == "halves" ? core::MlaSplit::Halves : core::MlaSplit::Heads;
  options.matrices = flags.matrices;
  options.offsets = flags.offsets;
  options.route = flags.isDouble ? core::SpectrumRoute::Householder : core::SpectrumRoute::Gram;
  if (options.split == core::MlaSplit::Halves && !model.spec().mla) {
    throw core::Error("--mla-split is for models with multi-head latent attention", model.name());
  }
  return options;
}

/// Bias shares of one layer, where the spectra are weighted.
struct Weighting {
  int64_t tokens = 0;
  std::vector<std::vector<core::BiasShare>> shares;  // by layer
};

constexpr uint64_t kLargestText = uint64_t{256} << 20;
constexpr int64_t kChunk = 512;

/// The text in chunks of at most 512 tokens, each a prompt of its own, through the model.
core::InputStatistics statisticsOf(std::shared_ptr<const core::Model> model, const SpectraFlags& flags, const CommonFlags& common,
                                   core::Job& job) {
  const auto tokenizer = openTokenizer(*model);
  if (!tokenizer) throw core::Error("the model's folder has no tokenizer, which --weighted-by needs", model->name());
  const std::vector<int32_t> ids = [&] {
    std::vector<int32_t> out;
    for (const auto& entry : tokenizer->encode(core::readTextFile(flags.weightedBy, kLargestText), false, job).entries)
      out.push_back(entry.id);
    return out;
  }();
  const auto backend = openBackend(common);
  core::InputStatistics statistics(*model);
  const int64_t count = static_cast<int64_t>(ids.size()),
                chunk = model->spec().context > 0 ? std::min(kChunk, model->spec().context) : kChunk;
  for (int64_t at = 0; at < count; at += chunk) {
    const auto prompt = core::promptFromIds(tokenizer.get(), {ids.begin() + at, ids.begin() + std::min(at + chunk, count)}, {});
    core::Job part;
    job.checkpoint();
    statistics.add(*core::runForward(model, prompt, backend, {}, part), part);
    job.report(0.5 * static_cast<double>(at) / static_cast<double>(count), "running the text");
  }
  return statistics;
}

json numberOrNull(double v) { return std::isfinite(v) ? json(v) : json(nullptr); }

/// One record a head; head is null for a whole matrix.
json recordOf(const core::LayerSpectra& layer, const core::MatrixSpectra& matrix, size_t head) {
  const core::Spectrum& s = matrix.heads[head];
  const core::RankMeasures m = core::rankMeasures(s.sigma);
  json record = {{"layer", layer.layer}, {"head", matrix.isWhole ? json(nullptr) : json(head)}, {"matrix", matrix.name}};
  json sigma = json::array();
  for (const double v : s.sigma) sigma.push_back(numberOrNull(v));
  record["sigma"] = std::move(sigma);
  record["effective_rank_1_percent"] = s.isFinite ? json(m.effectiveAt1Percent) : json(nullptr);
  record["effective_rank_0_1_percent"] = s.isFinite ? json(m.effectiveAt01Percent) : json(nullptr);
  record["stable_rank"] = numberOrNull(m.stable);
  record["entropy_rank"] = numberOrNull(m.entropy);
  record["participation_ratio"] = numberOrNull(m.participation);
  record["frobenius_norm"] = numberOrNull(m.frobenius);
  record["signal"] = s.signal();
  record["noise"] = numberOrNull(s.noise);
  record["route"] = s.route == core::SpectrumRoute::Gram ? "gram" : "householder";
  if (matrix.isWhole && matrix.tail.isFitted) {
    const core::PowerLaw& t = matrix.tail;
    record["power_law"] = {{"alpha", t.alpha}, {"xmin", t.xmin}, {"xmax", t.xmax}, {"distance", t.distance}, {"tail", t.tail}};
  }
  return record;
}

void writeJson(const SpectraFlags& flags, const core::Model& model, const core::SpectraOptions& options,
               const std::vector<core::LayerSpectra>& layers, const Weighting& weighting) {
  json out = {{"model", model.name()},
              {"fold_norms", options.fold == core::Fold::On ? "on" : "off"},
              {"records", json::array()},
              {"notes", json::array()}};
  if (options.fold == core::Fold::Off) out["fold_refusal"] = core::foldRefusal(model.spec());
  if (model.spec().mla) {
    out["mla_split"] = flags.split;
    if (options.split == core::MlaSplit::Halves) {
      out["notes"].push_back("kv_b_proj cut into first and second half, as published ranks were computed: it mixes heads and is wrong");
    }
  }
  for (const core::LayerSpectra& layer : layers) {
    for (const std::string& note : layer.notes) out["notes"].push_back("layer " + std::to_string(layer.layer) + ": " + note);
    for (const core::MatrixSpectra& matrix : layer.matrices) {
      for (size_t h = 0; h < matrix.heads.size(); ++h) out["records"].push_back(recordOf(layer, matrix, h));
    }
  }
  if (weighting.tokens > 0) {
    out["weighted_by_tokens"] = weighting.tokens;
    for (size_t l = 0; l < weighting.shares.size(); ++l) {
      for (const core::BiasShare& share : weighting.shares[l]) {
        for (size_t h = 0; h < share.heads.size(); ++h) {
          out["bias_shares"].push_back({{"layer", l}, {"head", h}, {"matrix", share.matrix}, {"bias_share", numberOrNull(share.heads[h])}});
        }
      }
    }
  }
  core::writeFileWhole(flags.out, [&](std::ostream& file) { file << out.dump(-1, ' ', false, json::error_handler_t::replace) << '\n'; });
}

/// Of one record; null where there is none.
json biasShareOf(const Weighting& weighting, const json& record) {
  for (const core::BiasShare& share : weighting.shares[record["layer"].get<size_t>()]) {
    if (share.matrix == record["matrix"] && record["head"].is_number()) return numberOrNull(share.heads[record["head"].get<size_t>()]);
  }
  return nullptr;
}

/// Columns bias_share (weighted), and alpha with its range (whole matrices), where there are any.
void writeCsv(const SpectraFlags& flags, const std::vector<core::LayerSpectra>& layers, const Weighting& weighting) {
  static constexpr const char* kColumns[] = {"effective_rank_1_percent",
                                             "effective_rank_0_1_percent",
                                             "stable_rank",
                                             "entropy_rank",
                                             "participation_ratio",
                                             "frobenius_norm",
                                             "signal",
                                             "noise"};
  static constexpr const char* kTail[] = {"alpha", "xmin", "xmax", "distance", "tail"};
  core::writeFileWhole(flags.out, [&](std::ostream& file) {
    const bool hasTails = std::any_of(layers.begin(), layers.end(), [](const core::LayerSpectra& layer) {
      return std::any_of(layer.matrices.begin(), layer.matrices.end(), [](const core::MatrixSpectra& m) { return m.isWhole; });
    });
    file << "layer,head,matrix";
    for (const char* column : kColumns) file << ',' << column;
    if (hasTails) {
      for (const char* column : kTail) file << ",power_law_" << column;
    }
    if (weighting.tokens > 0) file << ",bias_share";
    file << '\n';
    const auto cell = [&](const json& value) { file << ',' << (value.is_null() ? "nan" : value.dump()); };
    for (const core::LayerSpectra& layer : layers) {
      for (const core::MatrixSpectra& matrix : layer.matrices) {
        for (size_t h = 0; h < matrix.heads.size(); ++h) {
          const json record = recordOf(layer, matrix, h);
          file << layer.layer << ',' << (matrix.isWhole ? "" : std::to_string(h)) << ',' << matrix.name;
          for (const char* column : kColumns) cell(record[column]);
          for (const char* column : kTail) {
            if (hasTails) cell(record.contains("power_law") ? record["power_law"][column] : json(nullptr));
          }
          if (weighting.tokens > 0) cell(biasShareOf(weighting, record));
          file << '\n';
        }
      }
    }
  });
}

void writeTensors(const SpectraFlags& flags, const core::SpectraOptions& options, const std::vector<core::LayerSpectra>& layers) {
  core::SafetensorsWriter writer;
  writer.metadata["fold_norms"] = options.fold == core::Fold::On ? "on" : "off";
  for (const core::LayerSpectra& layer : layers) {
    for (const core::MatrixSpectra& matrix : layer.matrices) {
      const auto rank = static_cast<size_t>(matrix.heads.front().count());
      std::vector<double> values;
      for (const core::Spectrum& s : matrix.heads)
        values.insert(values.end(), s.sigma.begin(), s.sigma.begin() + static_cast<int64_t>(rank));
      writer.add(matrix.name + "." + std::to_string(layer.layer), {static_cast<int64_t>(matrix.heads.size()), static_cast<int64_t>(rank)},
                 std::move(values));
    }
  }
  writer.write(flags.out);
}

void sayNotes(const core::LayerSpectra& layer, bool isQuiet) {
  for (const std::string& note : layer.notes) {
    if (!isQuiet) std::fprintf(stderr, "headscope: layer %lld: %s\n", static_cast<long long>(layer.layer), note.c_str());
  }
}

void run(const SpectraFlags& flags, const CommonFlags& common) {
  const bool isJson = flags.out.ends_with(".json"), isCsv = flags.out.ends_with(".csv");
  if (!isJson && !isCsv && !flags.out.ends_with(".safetensors"))
    throw core::Error("--out must end in .json, .csv or .safetensors", flags.out);
  const auto model = openModel(flags.model, common);
  core::SpectraOptions options = optionsOf(*model, flags);
  options.backend = core::deviceOnly(openBackend(common));
  if (!flags.weightedBy.empty() && flags.fold == "on")
    throw core::Error("--weighted-by takes the gains from the input", "--fold-norms on", "leave it out");
  const core::DiskCache cache = flags.withoutCache ? core::DiskCache() : core::DiskCache::ofUser();
  std::vector<core::LayerSpectra> layers;
  Weighting weighting;
  runWithProgress("spectra", common, [&](core::Job& job) {
    if (!flags.weightedBy.empty()) {
      options.fold = core::Fold::Off;
      const core::InputStatistics statistics = statisticsOf(model, flags, common, job);
      weighting.tokens = statistics.tokens();
      for (int64_t l = 0; l < model->spec().layers; ++l) {
        weighting.shares.emplace_back();
        layers.push_back(core::weightedLayerSpectra(*model, l, options, statistics.layer(l), job, &weighting.shares.back()));
        sayNotes(layers.back(), common.isQuiet);
        job.report(0.5 + 0.5 * static_cast<double>(l + 1) / static_cast<double>(model->spec().layers), "layer " + std::to_string(l));
      }
      return;
    }
    core::eachLayerSpectra(*model, options, cache, job, [&](core::LayerSpectra layer) {
      sayNotes(layer, common.isQuiet);
      layers.push_back(std::move(layer));
    });
  });
  if (isJson) return writeJson(flags, *model, options, layers, weighting);
  if (isCsv) return writeCsv(flags, layers, weighting);
  writeTensors(flags, options, layers);
}

}  // namespace

void declareSpectra(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<SpectraFlags>();
  CLI::App* command = root.add_subcommand("spectra", "singular values and effective ranks of every head");
  command->add_option("model", flags->model, "model folder, or the name of a bundled model")->required();
  command->add_option("--fold-norms", flags->fold, "norm gains folded into the weights: on, off (default: on where it is allowed)")
      ->check(CLI::IsMember({"on", "off"}));
  command->add_option("--rope-offset", flags->offsets, "also W_QK for a query this many positions after its key")
      ->check(CLI::Range(-10000000, 10000000));
  command
      ->add_option("--matrices", flags->matrices, "only these: W_Q W_K W_V W_O W_QK W_OV ..., whole_W_Q ... for a layer's whole matrices")
      ->delimiter(',');
  command->add_option("--weighted-by", flags->weightedBy,
                      "a text file: the weights seen through the covariance of what the heads read on it");
  command->add_option("--mla-split", flags->split, "kv_b_proj by heads, or the published mistake: halves")
      ->check(CLI::IsMember({"heads", "halves"}))
      ->capture_default_str();
  command->add_flag("--double", flags->isDouble, "thin QR in double for every head");
  command->add_flag("--no-cache", flags->withoutCache, "neither read nor keep results in the user's cache folder");
  command->add_option("--out", flags->out, "F.json, F.csv or F.safetensors")->required();
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
