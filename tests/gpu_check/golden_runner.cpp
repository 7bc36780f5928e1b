// Golden models and adapters end to end through a device's backend: forward pass, maps, head scores, spectra, composition, LoRA by
// head, each against the reference data. Prints a line each and a closing count; exit code 0 only when all hold and none was left out.
//   golden_check GOLDEN_FOLDER [--precision tf32|bf16]
// Built with HEADSCOPE_CHECK_STUB the CPU stands in the card's place: that proves this program, and says nothing of a card.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>
#include <string>

#include "core/attention/forward.h"
#include "core/attention/head_scores.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/guarded_backend.h"
#include "core/backend/open_backend.h"
#include "core/model/adapter.h"
#include "core/weights/composition.h"
#include "core/weights/lora.h"
#include "core/weights/spectra.h"
#include "tests/support/golden_run.h"
#ifndef HEADSCOPE_CHECK_STUB
#include "gpu/cuda_backend.h"
#endif

namespace {

namespace fs = std::filesystem;
using namespace headscope;
using namespace headscope::core;

struct Report {
  int passed = 0, failed = 0;
  void line(const std::string& what, double difference, double tolerance, const std::string& more = {}) {
    const bool holds = difference <= tolerance;
    holds ? ++passed : ++failed;
    std::printf("%-4s %-44s difference %.2e of %.0e%s\n", holds ? "ok" : "BAD", what.c_str(), difference, tolerance, more.c_str());
    std::fflush(stdout);
  }
  void fault(const std::string& what, const std::string& words) {
    ++failed;
    std::printf("BAD  %-44s %s\n", what.c_str(), words.c_str());
  }
};

std::shared_ptr<Backend> openDevice() {
#ifdef HEADSCOPE_CHECK_STUB
  return std::make_shared<CpuBackend>();
#else
  return std::make_shared<gpu::CudaBackend>();
#endif
}

std::vector<fs::path> foldersIn(const fs::path& folder, const char* file) {
  std::set<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (fs::exists(entry.path() / file)) found.insert(entry.path());
  }
  return {found.begin(), found.end()};
}

struct Tolerances {
  double attention = 1e-5, rest = 1e-4, scores = 1e-4;
  double counts = 0;  // of a head's mean number of keys needed, beside rows on a threshold
};

void checkForward(const std::shared_ptr<const Model>& model, const fs::path& folder, const std::shared_ptr<Backend>& backend,
                  const Tolerances& allowed, Report& report) {
  const std::string name = folder.filename().string();
  const auto golden = tests::openGolden(folder);
  Job job;
  const auto trace = runForward(model, tests::goldenPrompt(*golden, model->spec()), backend, {}, job);
  const tests::GoldenDifferences d = tests::compareWithGolden(trace, *golden);
  report.line(name + " maps", d.isMaskExact ? d.attention : INFINITY, allowed.attention, d.isMaskExact ? "" : ", mask not exact");
  report.line(name + " hidden states", d.hidden, allowed.rest);
  report.line(name + " logits", d.logits, allowed.rest);
  if (!fs::exists(folder / "scores.safetensors")) return;
  const HeadScores scores = headScores(*trace, true, job);
  const auto reference = SafetensorsFile::open(folder / "scores.safetensors");
  double worst = 0;
  for (const TensorInfo& info : reference->tensors()) {
    const std::string score(info.name);
    const std::vector<double> expected = tests::doublesOf(*reference, score);
    if (!scores.has(score) || scores.values(score).size() != expected.size()) {
      worst = INFINITY;
      continue;
    }
    // A row's count may differ by one where a sum lands on the threshold: three rows of a head are no fault
    const double rows = 3.5 / static_cast<double>(trace->count());
    const double unit = score.starts_with("keys.") ? (rows + allowed.counts) / allowed.scores : 1.0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const double got = scores.values(score)[i];
      if (std::isnan(expected[i]) != std::isnan(got)) worst = INFINITY;
      if (!std::isnan(expected[i])) worst = std::max(worst, std::abs(got - expected[i]) / unit);
    }
  }
  report.line(name + " head scores", worst, allowed.scores);
}

void checkSpectra(const std::shared_ptr<const Model>& model, const fs::path& folder, const std::shared_ptr<Backend>& backend,
                  Report& report) {
  const auto golden = SafetensorsFile::open(folder / "spectra.safetensors");
  double worst = 0;
  size_t compared = 0;
  for (const Fold fold : {Fold::Off, Fold::On}) {
    if (fold == Fold::On && !foldRefusal(model->spec()).empty()) continue;
    SpectraOptions options;
    options.fold = fold, options.backend = backend;
    std::set<int64_t> offsets;
    for (const TensorInfo& info : golden->tensors()) {
      const std::string name(info.name);
      if (name.starts_with("W_QK@")) offsets.insert(std::stoll(name.substr(5)));
    }
    options.offsets.assign(offsets.begin(), offsets.end());
    for (int64_t layer = 0; layer < model->spec().layers; ++layer) {
      for (const MatrixSpectra& m : layerSpectra(*model, layer, options, Job()).matrices) {
        const std::string name = m.name + (fold == Fold::On ? ".on." : ".off.") + std::to_string(layer);
        const std::vector<double> expected = tests::doublesOf(*golden, name);
        if (expected.empty()) continue;
        ++compared;
        const size_t rank = expected.size() / m.heads.size();
        for (size_t h = 0; h < m.heads.size(); ++h) {
          if (m.heads[h].sigma.size() != rank) worst = INFINITY;
          for (size_t i = 0; i < std::min(rank, m.heads[h].sigma.size()); ++i)
            worst = std::max(worst, std::abs(m.heads[h].sigma[i] - expected[h * rank + i]) / expected[h * rank]);
        }
      }
    }
  }
  report.line(folder.filename().string() + " spectra", compared == golden->tensors().size() ? worst : INFINITY, 1e-5,
              ", " + std::to_string(compared) + " of " + std::to_string(golden->tensors().size()) + " matrices");
}

void checkComposition(const std::shared_ptr<const Model>& model, const fs::path& folder, const std::shared_ptr<Backend>& backend,
                      Report& report) {
  const auto golden = SafetensorsFile::open(folder / "compose.safetensors");
  CompositionOptions options;
  options.fold = defaultFold(model->spec()), options.backend = backend;
  Job job;
  const Composition c = composition(*model, options, job);
  double worst = 0;
  const char* names[] = {"q", "k", "v"};
  for (size_t k = 0; k < 3; ++k) {
    const std::vector<double> expected = tests::doublesOf(*golden, names[k]);
    if (expected.size() != c.values[k].size()) worst = INFINITY;
    for (size_t i = 0; i < std::min(expected.size(), c.values[k].size()); ++i)
      worst = std::max(worst, std::abs(c.values[k][i] - expected[i]));
  }
  report.line(folder.filename().string() + " composition", worst, 1e-5);
}

/// Of an adapter in every head: changes relative to themselves, or to the head where there is none.
void checkLora(const std::shared_ptr<const Model>& base, const std::shared_ptr<const Model>& adapted, const fs::path& folder,
               const std::shared_ptr<Backend>& backend, Report& report) {
  const auto golden = SafetensorsFile::open(folder / "heads.safetensors");
  LoraOptions options;
  options.backend = backend;
  double worst = 0;
  for (int64_t layer = 0; layer < base->spec().layers; ++layer) {
    const LoraLayer got = layerLora(*base, *adapted, layer, options, Job());
    const std::string at = "." + std::to_string(layer);
    for (const bool isQk : {true, false}) {
      const std::string name = isQk ? "W_QK" : "W_OV";
      const std::vector<double> change = tests::doublesOf(*golden, "sigma.d" + name + at),
                                after = tests::doublesOf(*golden, "sigma." + name + "_after" + at),
                                relative = tests::doublesOf(*golden, "relative.d" + name + at);
      const size_t heads = got.heads.size(), changed = change.size() / heads, rank = after.size() / heads;
      if (change.empty() || after.empty() || relative.size() != heads) worst = INFINITY;
      for (size_t h = 0; h < heads && std::isfinite(worst); ++h) {
        const LoraCircuit& c = isQk ? got.heads[h].qk : got.heads[h].ov;
        if (c.change.sigma.size() != changed || c.after.sigma.size() != rank) worst = INFINITY;
        const double head = after[h * rank], size = change[h * changed] > 1e-9 * head ? change[h * changed] : head;
        for (size_t i = 0; i < std::min(changed, c.change.sigma.size()); ++i)
          worst = std::max(worst, std::abs(c.change.sigma[i] - change[h * changed + i]) / size);
        for (size_t i = 0; i < std::min(rank, c.after.sigma.size()); ++i)
          worst = std::max(worst, std::abs(c.after.sigma[i] - after[h * rank + i]) / head);
        worst = std::max(worst, std::abs(c.relative - relative[h]));
      }
    }
  }
  report.line(folder.filename().string() + " LoRA by head", worst, 1e-5);
}

template <class Work>
void tried(Report& report, const std::string& what, Work work) {
  try {
    work();
  } catch (const std::exception& e) {
    report.fault(what, e.what());
  }
}

int check(const fs::path& golden, Precision precision) {
  const auto device = openDevice();
  const PluginResult opened = guarded({device, ""}, DiskCache());
  if (opened.backend == nullptr) throw Error(opened.reason, "the device");
  const auto backend = opened.backend;
  usePrecision(*backend, precision);
  std::printf("device: %s; self-test: %s\n", backend->device().c_str(), backend->reason().empty() ? "passed" : backend->reason().c_str());
  Report report;
  if (!backend->reason().empty()) report.fault("self-test", backend->reason());
  Tolerances allowed;
  if (precision == Precision::Tf32) allowed = {1e-2, 1e-2, 3e-2, 0.05};
  if (precision == Precision::Bf16) allowed = {6e-2, 6e-2, 2e-1, 0.25};
  for (const fs::path& folder : foldersIn(golden / "models", "golden.safetensors")) {
    tried(report, folder.filename().string(), [&] {
      const auto model = Model::open(folder);
      checkForward(model, folder, backend, allowed, report);
      if (precision != Precision::Float32) return;  // weights are float32 and double always
      if (fs::exists(folder / "spectra.safetensors")) checkSpectra(model, folder, backend, report);
      if (fs::exists(folder / "compose.safetensors")) checkComposition(model, folder, backend, report);
    });
  }
  for (const fs::path& folder : foldersIn(golden / "adapters", "golden.safetensors")) {
    tried(report, folder.filename().string(), [&] {
      const auto adapter = Adapter::open(folder);
      const auto base = Model::open(golden / "models" / fs::path(adapter->config().baseModel).filename());
      const auto adapted = base->withAdapter(adapter);
      checkForward(adapted, folder, backend, allowed, report);
      if (precision == Precision::Float32 && fs::exists(folder / "heads.safetensors")) checkLora(base, adapted, folder, backend, report);
    });
  }
  if (!backend->reason().empty()) report.fault("the device", backend->reason());  // something was computed elsewhere
  std::printf("%d passed, %d failed, 0 skipped (%s)\n", report.passed, report.failed, std::string(nameOf(precision)).c_str());
#ifdef HEADSCOPE_CHECK_STUB
  std::printf("No card was used: the CPU stood in its place, which proves this program and says nothing of a card.\n");
#elif defined(HEADSCOPE_CHECK_EMULATED)
  std::printf("No card was used: the kernels ran in an emulation, which proves their logic and says nothing of a card.\n");
#endif
  return report.failed == 0 && report.passed > 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 2 && !(argc == 4 && std::string(argv[2]) == "--precision")) {
      std::fprintf(stderr, "golden_check GOLDEN_FOLDER [--precision tf32|bf16]\n");
      return 2;
    }
    if (!fs::is_directory(fs::path(argv[1]) / "models")) throw Error("no golden models here", argv[1], "set HEADSCOPE_GOLDEN");
    const std::string word = argc == 4 ? argv[3] : "float32";
    return check(argv[1], word == "tf32" ? Precision::Tf32 : word == "bf16" ? Precision::Bf16 : Precision::Float32);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "golden check: %s\n", e.what());
    return 1;
  }
}
