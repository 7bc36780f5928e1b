#include "core/weights/truncated_head.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include <cmath>

#include "core/attention/forward.h"
#include "core/base/error.h"
#include "core/base/job.h"
#include "core/mechanisms/layer_heads.h"
#include "core/weights/layer_factors.h"
#include "core/weights/offset_curve.h"
#include "core/weights/planted_checkpoint.h"
#include "core/weights/spectra.h"
#include "tests/core/weights/golden_weights.h"
#include "tests/support/golden_run.h"

using namespace headscope::core;
using namespace headscope::tests;
namespace fs = std::filesystem;

namespace {

std::shared_ptr<const Trace> goldenTrace(const std::string& name) {
  const auto model = goldenModel(name);
  Job job;
  return runForward(model, goldenPrompt(*openGolden(goldenFolder() / "models" / name), model->spec()), openBackend("cpu"), {}, job);
}

double largestDifference(const Matrix& a, const Matrix& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (int64_t i = 0; i < a.size(); ++i) worst = std::max<double>(worst, std::abs(a.data()[i] - b.data()[i]));
  return worst;
}

Matrix mapOf(const HeadRun& run, int64_t n) {
  Job job;
  Matrix rows(n, n);
  run.mapRows(0, n, rows.view(), job);
  return rows;
}

/// P [d, d] on the best r left directions of the matrices side by side.
DoubleMatrix projector(const std::vector<DoubleMatrix>& side, int64_t rank) {
  int64_t cols = 0;
  for (const DoubleMatrix& m : side) cols += m.cols;
  DoubleMatrix wide(side[0].rows, cols);
  int64_t at = 0;
  for (const DoubleMatrix& m : side) {
    for (int64_t r = 0; r < m.rows; ++r) std::copy_n(m.row(r), m.cols, wide.row(r) + at);
    at += m.cols;
  }
  const SmallSvd svd = smallSvd(wide);
  DoubleMatrix u(rank, wide.rows);
  std::copy_n(svd.left.data(), u.values.size(), u.data());
  return transposedMultiply(u, u);
}

/// The map and output that the definition gives, with d x d matrices, in double.
struct Naive {
  Matrix map, output;
};
Naive naive(const Trace& trace, HeadRef ref, Fold fold, int64_t rank) {
  const ModelSpec& spec = trace.spec();
  const HeadWeights w = headWeights(trace.model(), ref.layer, fold), plain = headWeights(trace.model(), ref.layer, Fold::Off);
  const int64_t n = trace.count(), g = w.kvHeadOf(ref.head), d = spec.width, k = w.keyWidth, v = w.valueWidth;
  NormWeights norm = trace.model().attentionNorm(ref.layer);
  const auto inputOf = [&](const NormWeights& own) {
    return DoubleMatrix::from(spec.normPlacement == NormPlacement::AfterSum
                                  ? ConstMatrixView(trace.hidden(ref.layer))
                                  : normedRows(trace.hidden(ref.layer), own, spec.norm, spec.normEps).view());
  };
  const DoubleMatrix x = inputOf(norm);
  DoubleMatrix reading = x;
  if (fold == Fold::On) {  // the folded weights read the norm's input scaled only
    NormWeights bare;
    bare.gain.assign(static_cast<size_t>(d), 1.0F);
    reading = inputOf(bare);
  }
  const DoubleMatrix q = DoubleMatrix::from(w.queryOf(ref.head)), key = DoubleMatrix::from(w.keyOf(g)),
                     value = DoubleMatrix::from(w.valueOf(g)), out = DoubleMatrix::from(w.outputOf(ref.head));
  std::vector<DoubleMatrix> offsets;
  const bool isRope = spec.positions == PositionKind::Rope;
  for (int64_t delta = 0; delta < (isRope ? n : 1); ++delta) {
    const DoubleMatrix r = isRope ? rotationMatrix(spec.rope, k, 0, delta) : DoubleMatrix::identity(k);
    DoubleMatrix m = transposedMultiply(q, multiply(r, key));
    for (double& e : m.values) e *= std::sqrt(double(n - delta));
    offsets.push_back(std::move(m));
  }
  const auto cut = [&](const DoubleMatrix& p, const DoubleMatrix& factor, const DoubleMatrix& stored, const std::vector<float>& bias,
                       int64_t first) {
    // What does not depend on the token: full projection of the input less the folded reading of it.
    DoubleMatrix y = multiplyTransposed(multiply(reading, p), factor);
    const DoubleMatrix whole = multiplyTransposed(x, stored), part = multiplyTransposed(reading, factor);
    for (int64_t i = 0; i < y.rows; ++i) {
      for (int64_t c = 0; c < y.cols; ++c)
        y(i, c) += whole(i, c) - part(i, c) + (bias.empty() ? 0.0 : double(bias[static_cast<size_t>(first + c)]));
    }
    return y;
  };
  DoubleMatrix queries = cut(projector(offsets, rank), q, DoubleMatrix::from(plain.queryOf(ref.head)), plain.queryBias, ref.head * k);
  const DoubleMatrix values =
      cut(projector({transposedMultiply(value, out)}, rank), value, DoubleMatrix::from(plain.valueOf(g)), plain.valueBias, g * v);
  const AttentionRule& rule = trace.rule(ref.layer);
  Naive result{Matrix::zeros(n, n), Matrix::zeros(n, v)};
  for (int64_t i = 0; i < n; ++i) {
    DoubleMatrix own(1, k);
    std::copy_n(queries.row(i), k, own.data());
    if (isRope) own = multiply(own, rotationMatrix(spec.rope, k, 0, i));
    std::vector<double> scores;
    double total = 0;
    for (int64_t j = 0; j < rule.endKey(i, n); ++j) {
      double s = 0;
      for (int64_t c = 0; c < k; ++c) s += own(0, c) * trace.key(ref.layer, rule.kvHeadOf(ref.head))(j, c);
      scores.push_back(std::exp(rule.scale * s));
      total += scores.back();
    }
    for (size_t j = 0; j < scores.size(); ++j) {
      result.map(i, int64_t(j)) = static_cast<float>(scores[j] / total);
      for (int64_t c = 0; c < v; ++c) result.output(i, c) += static_cast<float>(scores[j] / total * values(int64_t(j), c));
    }
  }
  return result;
}

}  // namespace

TEST(TruncatedHead, mapAndOutputAgainstDenseTruncation) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const auto& [name, fold] :
       {std::pair{"gpt2", Fold::On}, {"gpt2", Fold::Off}, {"llama3_gqa", Fold::On}, {"qwen2", Fold::On}, {"bert", Fold::Off}}) {
    const auto trace = goldenTrace(name);
    Job job;
    const TruncatedHead head(trace, {1, 1}, fold, job);
    const int64_t n = trace->count();
    for (const int64_t rank : {1, 3, 7}) {
      const Naive expected = naive(*trace, {1, 1}, fold, rank);
      const auto run = head.run(rank, rank);
      Matrix out(n, head.input().value.cols);
      run->output(out.view(), job);
      EXPECT_LE(largestDifference(mapOf(*run, n), expected.map), 2e-5) << name << " rank " << rank;
      EXPECT_LE(largestDifference(out, expected.output), 2e-4) << name << " rank " << rank;
    }
  }
}

TEST(TruncatedHead, fullRankIsTheHeadAndErrorsFall) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const std::string& name : goldenModels("golden.safetensors")) {
    const auto trace = goldenTrace(name);
    Job job;
    const TruncatedHead head(trace, {0, 1}, defaultFold(trace->spec()), job);
    const int64_t n = trace->count(), k = head.fullRank(Circuit::QK), v = head.fullRank(Circuit::OV);
    // One below the full rank through the whole arithmetic, with nothing lost where that is possible: compare k with the trace's own.
    const auto whole = head.run(k, v), all = head.run(1 << 20, 1 << 20);
    EXPECT_EQ(largestDifference(mapOf(*whole, n), mapOf(*all, n)), 0) << name;
    const HeadErrors none = head.errors(*whole, {}, job), less = head.errors(*head.run(k / 2, v / 2), {}, job),
                     least = head.errors(*head.run(1, 1), {}, job);
    EXPECT_LE(none.output, 1e-6) << name;
    EXPECT_LT(less.output, least.output) << name;
    for (const Circuit circuit : {Circuit::QK, Circuit::OV}) {
      const std::vector<double> errors = head.weightErrors(circuit);
      EXPECT_DOUBLE_EQ(errors.front(), 1.0);
      EXPECT_EQ(errors.back(), 0.0);
      for (size_t i = 1; i < errors.size(); ++i) EXPECT_LE(errors[i], errors[i - 1]);
      EXPECT_FALSE(head.definition(circuit).empty());
    }
    EXPECT_THROW(head.run(-1, 1), Error);
  }
}

TEST(TruncatedHead, aPlantedRankLosesNothing) {
  const fs::path folder = fs::temp_directory_path() / ("headscope_truncated_" + std::to_string(::getpid()));
  for (const char* kind : {"gpt2_small", "llama_small", "deepseek_v3_small"}) {
    const PlantedCheckpoint planted = PlantedCheckpoint::named(kind);
    planted.write(folder);
    const auto model = Model::open(folder / "model");
    auto prompt = std::make_shared<Prompt>();
    for (int i = 0; i < 19; ++i) {
      Token token;
      token.id = (i * 37 + 11) % 256;
      prompt->tokens.push_back(token);
    }
    Job job;
    const auto trace = runForward(model, prompt, openBackend("cpu"), {}, job);
    const TruncatedHead value(trace, planted.lowValue, Fold::On, job);
    EXPECT_LE(value.weightErrors(Circuit::OV)[static_cast<size_t>(planted.valueRank)], 1e-6) << kind;
    EXPECT_LE(value.errors(*value.run(1000, planted.valueRank), {}, job).output, 1e-5) << kind;
    EXPECT_GT(value.errors(*value.run(1000, planted.valueRank - 1), {}, job).output, 0.05) << kind;
    if (model->spec().mla) continue;  // the rotary part has its full rank
    const TruncatedHead query(trace, planted.lowQuery, Fold::On, job);
    EXPECT_LE(query.weightErrors(Circuit::QK)[static_cast<size_t>(planted.queryRank)], 1e-6) << kind;
    const auto whole = query.run(1000, 1000), same = query.run(planted.queryRank, 1000), less = query.run(planted.queryRank - 1, 1000);
    EXPECT_LE(largestDifference(mapOf(*whole, 19), mapOf(*same, 19)), 1e-5) << kind;
    EXPECT_GT(largestDifference(mapOf(*whole, 19), mapOf(*less, 19)), 1e-3) << kind;
  }
  fs::remove_all(folder);
}

TEST(OffsetCurve, isTheSpectraOfEachOffset) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"llama3_gqa", "deepseek_v3", "pythia"}) {
    const auto model = goldenModel(name);
    SpectraOptions spectra;
    spectra.offsets = {0, 1, 4, 9};
    const LayerSpectra expected = layerSpectra(*model, 1, spectra, Job());
    OffsetOptions options;
    options.offsets = {9, 0, 1, 4, 4};
    options.heads = {2, 0};
    Job job;
    int64_t calls = 0;
    const auto curves = offsetCurves(*model, 1, options, job, [&](const auto&) { ++calls; });
    EXPECT_GT(calls, 0);
    ASSERT_EQ(curves.size(), 2U);
    for (const OffsetCurve& curve : curves) {
      ASSERT_EQ(curve.points.size(), 4U);
      for (const OffsetPoint& point : curve.points) {
        const MatrixSpectra* m = expected.find("W_QK@" + std::to_string(point.offset));
        const RankMeasures r = rankMeasures(m->heads[static_cast<size_t>(curve.head)].sigma);
        EXPECT_EQ(point.measures.effectiveAt1Percent, r.effectiveAt1Percent);
        EXPECT_EQ(point.measures.effectiveAt01Percent, r.effectiveAt01Percent);
        EXPECT_NEAR(point.measures.stable, r.stable, 1e-9);
      }
    }
    options.matrix = "W_QK_rope";
    if (model->spec().mla) {
      EXPECT_EQ(offsetCurves(*model, 1, options, job).size(), 2U);
    } else {
      EXPECT_THROW(offsetCurves(*model, 1, options, job), Error);
    }
    options.heads = {99};
    EXPECT_THROW(offsetCurves(*model, 1, options, job), Error);
  }
  Job job;
  EXPECT_THROW(offsetCurves(*goldenModel("gpt2"), 0, {}, job), Error);
  job.cancel();
  EXPECT_THROW(offsetCurves(*goldenModel("llama2"), 0, {}, job), Cancelled);
}

TEST(OffsetCurve, sampledOffsetsAreDenseNearZeroAndEndAtTheLast) {
  EXPECT_EQ(sampledOffsets(3, 10), (std::vector<int64_t>{0, 1, 2, 3}));
  const auto some = sampledOffsets(4095, 60);
  EXPECT_LE(some.size(), 60U);
  EXPECT_GT(some.size(), 45U);
  EXPECT_EQ(some.front(), 0);
  EXPECT_EQ(some[1], 1);
  EXPECT_EQ(some.back(), 4095);
  for (size_t i = 1; i < some.size(); ++i) EXPECT_GT(some[i], some[i - 1]);
  EXPECT_TRUE(sampledOffsets(-1, 5).empty());
  EXPECT_EQ(sampledOffsets(100, 1).size(), 1U);
}
