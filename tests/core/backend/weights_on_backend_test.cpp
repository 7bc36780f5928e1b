// Spectra and composition that a backend computes are those that core/weights computes itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/backend/cpu/cpu_backend.h"
#include "core/base/job.h"
#include "core/weights/composition.h"
#include "core/weights/spectra.h"
#include "tests/core/weights/golden_weights.h"

using namespace headscope::core;
using namespace headscope::tests;

TEST(WeightsOnBackend, spectraOfEveryFamily) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const std::string& name : goldenModels("spectra.safetensors")) {
    const auto model = goldenModel(name);
    SpectraOptions here;
    here.fold = defaultFold(model->spec());
    if (model->spec().positions == PositionKind::Rope) here.offsets = {3};
    SpectraOptions there = here;
    there.backend = std::make_shared<CpuBackend>();
    for (int64_t layer = 0; layer < model->spec().layers; ++layer) {
      const LayerSpectra a = layerSpectra(*model, layer, here, Job()), b = layerSpectra(*model, layer, there, Job());
      EXPECT_EQ(a.notes, b.notes);
      ASSERT_EQ(a.matrices.size(), b.matrices.size());
      for (size_t m = 0; m < a.matrices.size(); ++m) {
        EXPECT_EQ(a.matrices[m].name, b.matrices[m].name);
        ASSERT_EQ(a.matrices[m].heads.size(), b.matrices[m].heads.size());
        for (size_t h = 0; h < a.matrices[m].heads.size(); ++h) {
          const Spectrum &x = a.matrices[m].heads[h], &y = b.matrices[m].heads[h];
          ASSERT_EQ(x.count(), y.count()) << name << " " << a.matrices[m].name;
          for (size_t i = 0; i < x.sigma.size(); ++i) EXPECT_NEAR(x.sigma[i], y.sigma[i], 1e-6 * x.largest()) << name;
        }
      }
    }
  }
}

TEST(WeightsOnBackend, compositionWithBaseline) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"gpt2", "llama3_gqa", "deepseek_v3"}) {
    const auto model = goldenModel(name);
    CompositionOptions here;
    here.fold = defaultFold(model->spec()), here.withNull = true;
    CompositionOptions there = here;
    there.backend = std::make_shared<CpuBackend>();
    Job job;
    const Composition a = composition(*model, here, job), b = composition(*model, there, job);
    for (size_t k = 0; k < 3; ++k) {
      for (size_t i = 0; i < a.values[k].size(); ++i) {
        EXPECT_NEAR(a.values[k][i], b.values[k][i], 1e-6) << name;
        EXPECT_NEAR(a.null[k][i], b.null[k][i], 1e-6) << name;
      }
    }
    EXPECT_NEAR(job.fraction(), 1.0, 1e-9);
  }
}
