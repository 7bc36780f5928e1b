// Spectra and composition that a backend computes are those that core/weights computes itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/guarded_backend.h"
#include "core/base/job.h"
#include "core/model/adapter.h"
#include "core/weights/composition.h"
#include "core/weights/intruders.h"
#include "core/weights/lora.h"
#include "core/weights/spectra.h"
#include "core/weights/subspace.h"
#include "core/weights/words.h"
#include "tests/core/backend/fake_device.h"
#include "tests/core/weights/golden_weights.h"
#include "tests/support/random_matrix.h"

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

namespace {

void expectSameCircuit(const LoraCircuit& a, const LoraCircuit& b, const std::string& what) {
  const auto same = [&](const std::vector<double>& x, const std::vector<double>& y, double size) {
    ASSERT_EQ(x.size(), y.size()) << what;
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], y[i], 1e-6 * size) << what;
  };
  const double size = std::max({a.before.largest(), a.after.largest(), 1e-12});
  same(a.before.sigma, b.before.sigma, size);
  same(a.after.sigma, b.after.sigma, size);
  same(a.change.sigma, b.change.sigma, size);
  for (size_t t = 0; t < 3; ++t) {
    same(a.termSigma[t], b.termSigma[t], size);
    EXPECT_NEAR(a.termNorms[t], b.termNorms[t], 1e-6 * size) << what;
  }
  EXPECT_NEAR(a.relative, b.relative, 1e-6 * std::max(1.0, a.relative)) << what;
  EXPECT_EQ(a.intrudersLeft, b.intrudersLeft) << what;
  EXPECT_EQ(a.intrudersRight, b.intrudersRight) << what;
}

}  // namespace

TEST(WeightsOnBackend, loraOfEveryAdapter) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const auto& entry : std::filesystem::directory_iterator(goldenFolder() / "adapters")) {
    const std::string name = entry.path().filename().string();
    const auto adapter = Adapter::open(entry.path());
    const auto base = Model::open(goldenFolder() / "models" / adapter->config().baseModel), adapted = base->withAdapter(adapter);
    for (const bool isTurned : {false, true}) {
      LoraOptions here;
      if (isTurned && base->spec().positions != PositionKind::Rope) continue;
      here.offset = isTurned ? 3 : 0;
      LoraOptions there = here;
      there.backend = std::make_shared<CpuBackend>();
      for (int64_t layer = 0; layer < base->spec().layers; ++layer) {
        const LoraLayer a = layerLora(*base, *adapted, layer, here, Job()), b = layerLora(*base, *adapted, layer, there, Job());
        EXPECT_EQ(a.notes, b.notes);
        ASSERT_EQ(a.heads.size(), b.heads.size());
        for (size_t h = 0; h < a.heads.size(); ++h) {
          const std::string what = name + " layer " + std::to_string(layer) + " head " + std::to_string(h);
          expectSameCircuit(a.heads[h].qk, b.heads[h].qk, what + " QK");
          expectSameCircuit(a.heads[h].ov, b.heads[h].ov, what + " OV");
          EXPECT_NEAR(a.heads[h].shareQ, b.heads[h].shareQ, 1e-9) << what;
          EXPECT_NEAR(a.heads[h].shareO, b.heads[h].shareO, 1e-9) << what;
          ASSERT_EQ(a.heads[h].writeCosines.size(), b.heads[h].writeCosines.size()) << what;
          for (size_t i = 0; i < a.heads[h].writeCosines.size(); ++i)
            EXPECT_NEAR(a.heads[h].writeCosines[i], b.heads[h].writeCosines[i], 1e-6) << what;
        }
      }
    }
  }
}

TEST(WeightsOnBackend, exactSpectraAndWholeMatrices) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"llama3_gqa", "deepseek_v3"}) {
    const auto model = goldenModel(name);
    SpectraOptions here;
    here.route = SpectrumRoute::Householder;
    here.matrices = {"W_QK", "W_OV", "whole_W_O"};
    SpectraOptions there = here;
    there.backend = std::make_shared<CpuBackend>();
    const LayerSpectra a = layerSpectra(*model, 1, here, Job()), b = layerSpectra(*model, 1, there, Job());
    EXPECT_EQ(a.notes, b.notes);
    ASSERT_EQ(a.matrices.size(), b.matrices.size());
    for (size_t m = 0; m < a.matrices.size(); ++m) {
      ASSERT_EQ(a.matrices[m].heads.size(), b.matrices[m].heads.size());
      for (size_t h = 0; h < a.matrices[m].heads.size(); ++h) {
        const Spectrum &x = a.matrices[m].heads[h], &y = b.matrices[m].heads[h];
        EXPECT_EQ(y.route, SpectrumRoute::Householder);
        ASSERT_EQ(x.count(), y.count()) << name << " " << a.matrices[m].name;
        for (size_t i = 0; i < x.sigma.size(); ++i) EXPECT_NEAR(x.sigma[i], y.sigma[i], 1e-13 * x.largest()) << name;
      }
    }
  }
}

namespace {

void expectSameSpace(const SharedSubspace& a, const SharedSubspace& b, const std::string& what) {
  EXPECT_EQ(a.notes, b.notes) << what;
  ASSERT_EQ(a.sigma.size(), b.sigma.size()) << what;
  ASSERT_EQ(a.headEnergy.size(), b.headEnergy.size()) << what;
  for (size_t i = 0; i < a.sigma.size(); ++i) EXPECT_NEAR(a.sigma[i], b.sigma[i], 1e-6 * a.sigma[0]) << what;
  const auto x = a.storedErrors(), y = b.storedErrors();
  ASSERT_EQ(x.size(), y.size()) << what;
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i] * x[i], y[i] * y[i], 1e-5) << what;
}

}  // namespace

TEST(WeightsOnBackend, sharedSubspacesOfEverySideAndOnAFailingDevice) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"gpt2", "llama3_gqa", "deepseek_v3"}) {
    const auto model = goldenModel(name);
    HeadWeights w = headWeights(*model, 1, Fold::Off);
    for (int64_t c = 0; c < w.output.cols(); ++c) w.output(0, c) = std::nanf("");  // a head that is left out
    for (const SubspaceSide side : {SubspaceSide::Output, SubspaceSide::Query, SubspaceSide::Key, SubspaceSide::Value}) {
      const SharedSubspace here = sharedSubspace(w, side, Job());
      CpuBackend other;
      expectSameSpace(here, sharedSubspace(w, side, Job(), {}, &other), name);
      for (const auto kind : {FakeDevice::Kind::OutOfMemory, FakeDevice::Kind::Lost}) {
        for (const int at : {0, 1}) {  // in the heads' spectra, and in the stack's directions
          const auto device = std::make_shared<FakeDevice>();
          GuardedBackend guard(device, std::make_shared<CpuBackend>());
          device->failAfter(at, kind);
          expectSameSpace(here, sharedSubspace(w, side, Job(), {}, &guard), std::string(name) + " failing");
          EXPECT_TRUE(device->hasFailed());
          EXPECT_NE(guard.reason(), "");
        }
      }
    }
  }
}

TEST(WeightsOnBackend, wholeMatrixIntrudersAlsoWhereTheDeviceFails) {
  const Matrix before = gaussian(90, 120, 1).toFloat();
  Matrix after = before.clone();
  for (int64_t r = 0; r < 90; ++r) {
    for (int64_t c = 0; c < 120; ++c) after(r, c) += static_cast<float>(0.3 * std::sin(double(r)) * std::cos(double(c)));
  }
  const IntruderCount here = krylovIntruders(before, after, Job());
  EXPECT_GE(here.intruders, 1);
  const double norm = spectralNorm(after, Job());
  for (const auto kind : {FakeDevice::Kind::OutOfMemory, FakeDevice::Kind::Lost}) {
    for (int at = 0; at < 40; at += 3) {
      const auto device = std::make_shared<FakeDevice>();
      GuardedBackend guard(device, std::make_shared<CpuBackend>());
      device->failAfter(at, kind);
      const IntruderCount there = krylovIntruders(before, after, Job(), &guard);
      EXPECT_EQ(there.intruders, here.intruders) << at;
      EXPECT_EQ(there.undecided, here.undecided) << at;
      EXPECT_TRUE(device->hasFailed());
      EXPECT_NE(guard.reason(), "") << at;
    }
  }
  CpuBackend other;
  EXPECT_NEAR(spectralNorm(after, Job(), &other), norm, 1e-6 * norm);
}

TEST(WeightsOnBackend, wordsOfAHead) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"gpt2", "llama3_gqa", "deepseek_v3"}) {
    const auto model = goldenModel(name);
    CpuBackend other;
    for (const Circuit circuit : {Circuit::QK, Circuit::OV}) {
      const HeadWords a = headWords(*model, {1, 2}, circuit, 3, 5, Job()), b = headWords(*model, {1, 2}, circuit, 3, 5, Job(), &other);
      ASSERT_EQ(a.directions.size(), b.directions.size());
      for (size_t d = 0; d < a.directions.size(); ++d) {
        for (size_t i = 0; i < 5; ++i) {
          EXPECT_NEAR(a.directions[d].readPositive[i].score, b.directions[d].readPositive[i].score, 1e-5) << name;
          EXPECT_NEAR(a.directions[d].writeNegative[i].score, b.directions[d].writeNegative[i].score, 1e-5) << name;
        }
      }
    }
  }
}
