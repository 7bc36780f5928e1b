// Every tensor of mechanisms.safetensors against the code that claims it, listed.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <set>

#include "core/checkpoint/checkpoint.h"
#include "core/mechanisms/cope.h"
#include "core/mechanisms/head_errors.h"
#include "core/mechanisms/linformer.h"
#include "core/mechanisms/random_features.h"
#include "core/mechanisms/registry.h"
#include "core/mechanisms/softmax_run.h"
#include "core/mechanisms/value_access.h"
#include "tests/core/mechanisms/head_fixture.h"
#include "tests/support/golden.h"

namespace headscope::tests {
namespace {

using namespace core;

class GoldenMechanisms : public ::testing::Test {
 protected:
  void SetUp() override {
    HEADSCOPE_REQUIRE_GOLDEN();
    file_ = SafetensorsFile::open(goldenFolder() / "mechanisms.safetensors");
    query_ = matrix("q");
    key_ = matrix("k");
    value_ = matrix("v");
    output_ = matrix("w_o");
    normed_ = matrix("x");
    const Matrix w = matrix("w_q");
    queryWeight_ = Matrix(w.cols(), w.rows());
    selector_ = Matrix::zeros(w.cols(), w.rows());  // X_h: the first columns of X
    for (int64_t r = 0; r < w.rows(); ++r) {
      for (int64_t c = 0; c < w.cols(); ++c) queryWeight_(c, r) = w(r, c);
    }
    for (int64_t c = 0; c < w.cols(); ++c) selector_(c, c) = 1.0f;
    input_.query = query_;
    input_.key = key_;
    input_.value = value_;
    input_.scale = 1.0 / std::sqrt(static_cast<double>(query_.cols()));
    input_.normedInput = normed_;
    input_.queryWeight = queryWeight_;
    input_.keyWeight = selector_;
    input_.valueWeight = selector_;
    for (const char* name : {"q", "k", "v", "w_o", "x", "w_q", "linformer.E", "linformer.F", "rfa.w", "performer.w", "cope.e"})
      checked_.insert(name);
  }

  std::vector<double> numbers(const std::string& name) {
    const TensorInfo* info = file_->find(name);
    if (info == nullptr) throw std::runtime_error("no tensor " + name);
    std::vector<double> out(static_cast<size_t>(info->count()));
    for (size_t i = 0; i < out.size(); ++i) {
      if (info->dtype == DType::F64) std::memcpy(&out[i], info->data + 8 * i, 8);
      if (info->dtype == DType::U8) out[i] = static_cast<double>(static_cast<uint8_t>(info->data[i]));
      if (info->dtype == DType::I64) {
        int64_t value;
        std::memcpy(&value, info->data + 8 * i, 8);
        out[i] = static_cast<double>(value);
      }
    }
    return out;
  }
  Matrix matrix(const std::string& name) {
    const std::vector<double> values = numbers(name);
    const TensorInfo* info = file_->find(name);
    Matrix out(info->shape[0], info->shape[1]);
    for (size_t i = 0; i < values.size(); ++i) out.data()[i] = static_cast<float>(values[i]);
    return out;
  }

  void report(const std::string& tensor, double error, double tolerance) {
    checked_.insert(tensor);
    std::printf("  %-36s %.1e of %.0e\n", tensor.c_str(), error, tolerance);
    EXPECT_LE(error, tolerance) << tensor;
  }

  void check(const std::string& name, const HeadRun& run, double tolerance) {
    const Matrix out = wholeOutput(run, input_.count(), value_.cols(), job_);
    report(name + ".out", relativeError(out, numbers(name + ".out")), tolerance);
    const Matrix map = wholeMap(run, input_.count(), job_);
    report(name + ".map", relativeError(map, numbers(name + ".map")), tolerance);
    if (file_->find(name + ".mask") == nullptr) return;
    const std::vector<double> mask = numbers(name + ".mask");
    const auto& softmax = dynamic_cast<const SoftmaxRun&>(run);
    double wrong = 0;
    for (int64_t i = 0; i < input_.count(); ++i) {
      for (int64_t j = 0; j < input_.count(); ++j) {
        const bool sees = mask[static_cast<size_t>(i * input_.count() + j)] != 0;
        wrong += softmax.head().mask->sees(i, j) != sees;
        if (!sees) {
          EXPECT_EQ(map(i, j), 0.0f) << name << " " << i << " " << j;
        }
      }
    }
    report(name + ".mask", wrong, 0);
  }
  void check(const std::string& name, const std::string& word, bool isCausal, double tolerance = 1e-4) {
    HeadInput input = input_;
    input.isCausal = isCausal;
    check(name, *parseMechanism(word)->bind(input, job_), tolerance);
  }

  std::shared_ptr<const SafetensorsFile> file_;
  Matrix query_, key_, value_, output_, normed_, queryWeight_, selector_;
  HeadInput input_;
  Job job_;
  std::set<std::string> checked_;
};

TEST_F(GoldenMechanisms, everyTensorOfTheFileIsMatched) {
  check("dense", "dense", false);
  check("causal", "causal", true);
  check("local_window_16", "local:window=16", true);
  check("symmetric_window_16", "symmetric:window=16", true);
  check("strided_child_8", "strided:stride=8", true);
  check("fixed_child_8_1", "fixed:stride=8,summary=1", true);
  check("dilated_8_4", "dilated:window=8,step=4", true);
  check("sinks_4_window_16", "sinks:sinks=4,window=16", true);
  check("global_0_window_16", "global:tokens=0,window=16", true);
  check("source_local_64", "source_local:window=64", true);
  check("source_strided_8", "source_strided:stride=8", true);
  check("block_16_diagonal_and_first", "block:size=16,blocks=diagonal+first", true);
  check("top_k_4", "topk:k=4", true);
  check("top_k_12", "topk:k=12", true);
  check("top_p_0.8", "topp:p=0.8", true);
  check("top_p_0.95", "topp:p=0.95", true);
  check("linear", "linear", false);
  check("linear_causal", "linear", true);
  check("linformer", *linformerRun(input_, matrix("linformer.E"), matrix("linformer.F")), 1e-4);
  check("linformer_mean_pool", "linformer:rank=24,projection=pool", true);
  HeadInput bothWays = input_;
  bothWays.isCausal = false;
  check("rfa", *rfaRun(bothWays, matrix("rfa.w")), 1e-3);
  check("rfa_causal", *rfaRun(input_, matrix("rfa.w")), 1e-3);
  check("performer", *performerRun(bothWays, matrix("performer.w")), 1e-3);
  check("performer_causal", *performerRun(input_, matrix("performer.w")), 1e-3);
  check("nystrom", "nystrom:landmarks=16", true);
  for (const char* order : {"linear", "quadratic", "auto"}) {
    check("dense_attention", std::string("dense_attention:order=") + order, false);
    check("dense_attention_causal", std::string("dense_attention:order=") + order, true);
  }
  input_.head = 1;  // of 8: slope 2^-2
  input_.heads = 8;
  check("alibi_slope_0.25", "alibi", true);

  const CopeRun cope(input_, matrix("cope.e"));
  check("cope", cope, 1e-4);
  Matrix positions(input_.count(), input_.count());
  cope.positions(0, input_.count(), positions.view(), job_);
  report("cope.position", relativeError(positions, numbers("cope.position")), 1e-4);

  const auto local = parseMechanism("local:window=16")->bind(input_, job_);
  const HeadRun* runs[] = {local.get()};
  const HeadErrors errors = headErrors(input_, runs, output_, {}, job_)[0];
  report("error.local_window_16.output", std::abs(errors.output - numbers("error.local_window_16.output")[0]) / errors.output, 1e-4);
  const auto worst = [](const std::vector<float>& got, const std::vector<double>& want) {
    double difference = 0;
    for (size_t i = 0; i < want.size(); ++i) difference = std::max(difference, std::abs(static_cast<double>(got[i]) - want[i]));
    return difference;
  };
  report("error.local_window_16.mass_kept", worst(errors.massKept, numbers("error.local_window_16.mass_kept")), 1e-4);
  report("error.local_window_16.row_cosine", worst(errors.cosine, numbers("error.local_window_16.row_cosine")), 1e-4);
  for (size_t i = 0; i < errors.kl.size(); ++i) EXPECT_NEAR(errors.kl[i], -std::log(errors.massKept[i]), 1e-4) << i;  // a mask's KL

  const ValueAccess access = valueAccess(input_, output_, {0.8, 0.9, 0.95, 0.99, 0.999}, job_);
  for (size_t p = 0; p < access.shares.size(); ++p) {
    std::string share = std::to_string(access.shares[p]);
    while (share.back() == '0') share.pop_back();
    for (const bool isWeighted : {false, true}) {
      const std::string name = std::string("keys_needed.") + (isWeighted ? "weighted." : "plain.") + share;
      const std::vector<double> want = numbers(name);
      const std::vector<int32_t>& got = (isWeighted ? access.weighted : access.plain)[p];
      double difference = 0;
      for (size_t i = 0; i < want.size(); ++i) difference = std::max(difference, std::abs(static_cast<double>(got[i]) - want[i]));
      report(name, difference, 1);
    }
  }

  for (const auto& tensor : file_->tensors()) EXPECT_TRUE(checked_.count(tensor.name)) << tensor.name << " is matched by nothing";
}

}  // namespace
}  // namespace headscope::tests
