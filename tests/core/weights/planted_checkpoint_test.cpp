// The planted checkpoints that views are looked at with: what their planted.txt says is what the analyses find.
#include "core/weights/planted_checkpoint.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/model/adapter.h"
#include "core/weights/composition.h"
#include "core/weights/dense.h"
#include "core/weights/lora.h"
#include "core/weights/spectra.h"

using namespace headscope::core;
namespace fs = std::filesystem;

namespace {

struct Written {
  PlantedCheckpoint planted;
  fs::path folder;
  std::shared_ptr<const Model> model, adapted;
  explicit Written(const std::string& kind)
      : planted(PlantedCheckpoint::named(kind)),
        folder(fs::temp_directory_path() / ("headscope_written_" + kind + std::to_string(::getpid()))) {
    planted.write(folder);
    model = Model::open(folder / "model");
    adapted = model->withAdapter(Adapter::open(folder / "adapter"));
  }
  ~Written() { fs::remove_all(folder); }
};

}  // namespace

TEST(PlantedCheckpoint, everySmallKindHoldsWhatItSays) {
  for (const std::string kind : {"gpt2_small", "llama_small", "deepseek_v3_small"}) {
    const Written w(kind);
    const PlantedCheckpoint& p = w.planted;
    EXPECT_TRUE(w.model->missing().empty()) << kind;  // it runs
    const bool isLatent = w.model->spec().mla.has_value();
    SpectraOptions options;
    options.fold = Fold::Off;
    const LayerSpectra first = layerSpectra(*w.model, p.lowQuery.layer, options, Job());
    const auto signal = [&](const char* name, int64_t head) { return first.find(name)->heads[static_cast<size_t>(head)].signal(); };
    EXPECT_EQ(signal(isLatent ? "W_QK_nope_latent" : "W_QK", p.lowQuery.head), p.queryRank) << kind;
    EXPECT_EQ(signal(isLatent ? "W_OV_latent" : "W_OV", p.lowValue.head), p.valueRank) << kind;
    const HeadWeights pair = headWeights(*w.model, p.pairFirst.layer, Fold::Off);
    const DoubleMatrix a = thinQr(pair.outputOf(p.pairFirst.head)).basis, b = thinQr(pair.outputOf(p.pairSecond.head)).basis;
    const DoubleMatrix between = multiplyTransposed(a, b);
    EXPECT_NEAR(innerProduct(between, between), static_cast<double>(a.rows), 1e-5) << kind;
    if (!p.hasCircuit()) continue;
    Job job;
    const Composition c = composition(*w.model, {}, job);
    const auto best = std::max_element(c.values[0].begin(), c.values[0].end()) - c.values[0].begin();
    EXPECT_EQ(static_cast<size_t>(best), c.index(p.writer.layer, p.writer.head, p.reader.layer, p.reader.head)) << kind;
  }
}

TEST(PlantedCheckpoint, theAdapterChangesThreeHeads) {
  for (const std::string kind : {"gpt2_small", "llama_small"}) {
    const Written w(kind);
    for (int64_t l = 0; l < w.model->spec().layers; ++l) {
      for (const HeadLora& head : layerLora(*w.model, *w.adapted, l, {}, Job()).heads) {
        const HeadRef ref{head.layer, head.head};
        const auto& adapted = w.planted.adapted;
        const bool changesQuery = ref == adapted[0] || ref == adapted[2], changesValue = ref == adapted[1] || ref == adapted[2];
        // A head of an adapted module that the adapter leaves alone is exactly so, and not the outcome of a slow route.
        for (const auto& [circuit, isTouched] : {std::pair{&head.qk, changesQuery}, std::pair{&head.ov, changesValue}}) {
          if (isTouched) continue;
          EXPECT_EQ(circuit->change.route, SpectrumRoute::Gram) << kind << " " << l << "." << head.head;
          for (const double v : circuit->change.sigma) ASSERT_EQ(v, 0);
        }
        EXPECT_NEAR(head.qk.relative, changesQuery ? 0.5 : 0.0, changesQuery ? 0.1 : 0.0) << kind;
        EXPECT_NEAR(head.ov.relative, changesValue ? 0.5 : 0.0, changesValue ? 0.1 : 0.0) << kind;
      }
    }
  }
}

TEST(PlantedCheckpoint, refusesNamesItDoesNotKnow) { EXPECT_THROW(PlantedCheckpoint::named("gpt5"), Error); }
