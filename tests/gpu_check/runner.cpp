// Every Backend operation on the card against plain loops, on the shared table of cases; prints a line each and a closing count.
//   gpu_check [--small] [--precision tf32|bf16] [--bench]
// --small: the small cases alone, for compute-sanitizer. --bench: times of operations in place of checks. Exit code 0 only when all
// hold and none was skipped.
#include <cstdio>
#include <exception>
#include <set>
#include <string>
#include <vector>

#include "core/backend/cpu/cpu_backend.h"
#include "tests/gpu_check/op_benches.h"
#include "tests/support/op_cases.h"
#include "tests/support/op_checks.h"
#ifndef HEADSCOPE_CHECK_STUB
#include "gpu/cuda_backend.h"
#endif

namespace {

using namespace headscope;

std::unique_ptr<core::Backend> openDevice() {
#ifdef HEADSCOPE_CHECK_STUB
  return std::make_unique<core::CpuBackend>();
#else
  return std::make_unique<gpu::CudaBackend>();
#endif
}

/// What a lower precision of the products may cost, on top of an operation's own tolerance.
double allowance(core::Precision precision, core::Op op) {
  const bool isProduct = op == core::Op::Linear || op == core::Op::Attention || op == core::Op::MapTile || op == core::Op::PatternSums ||
                         op == core::Op::LogitSummary;
  if (!isProduct || precision == core::Precision::Float32) return 0;
  return precision == core::Precision::Tf32 ? 5e-3 : 5e-2;
}

int check(core::Backend& backend, core::Precision precision) {
  int passed = 0, failed = 0;
  std::set<core::Op> seen;
  for (const tests::OpCheck& c : tests::checkAllOps(backend)) {
    seen.insert(c.op);
    if (precision != core::Precision::Float32 && c.op == core::Op::KeysNeeded) continue;  // counts: exact or nothing
    const double allowed = c.tolerance + allowance(precision, c.op);
    const bool holds = c.isFinite && c.isMaskExact && c.difference <= allowed;
    holds ? ++passed : ++failed;
    std::printf("%-4s %-60s difference %.2e of %.0e%s%s\n", holds ? "ok" : "BAD", c.name.c_str(), c.difference, allowed,
                c.isFinite ? "" : ", not finite", c.isMaskExact ? "" : ", mask not exact");
  }
  // Operations that share a check with another are listed under that one
  int skipped = 0;
  for (const core::Op op : {core::Op::Embed,         core::Op::Linear,          core::Op::Norm,
                            core::Op::Rope,          core::Op::Activate,        core::Op::Add,
                            core::Op::Attention,     core::Op::MapTile,         core::Op::PatternSums,
                            core::Op::KeysNeeded,    core::Op::LogitSummary,    core::Op::Spectra,
                            core::Op::InnerProducts, core::Op::SmallSvds,       core::Op::WholeSpectrum,
                            core::Op::PairSums,      core::Op::MaskedAttention, core::Op::StackDirections,
                            core::Op::SquareProduct, core::Op::TableProduct,    core::Op::ChosenAttention,
                            core::Op::ChosenTile}) {
    if (seen.count(op) != 0) continue;
    ++skipped;
    std::printf("BAD  %s was not checked\n", std::string(core::nameOf(op)).c_str());
  }
  std::printf("%d passed, %d failed, %d skipped (%s)\n", passed, failed, skipped, std::string(core::nameOf(precision)).c_str());
  return failed == 0 && skipped == 0 && passed > 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  bool isBench = false;
  core::Precision precision = core::Precision::Float32;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--small") {
      tests::onlySmallCases() = true;
    } else if (word == "--bench") {
      isBench = true;
    } else if (word == "--precision" && i + 1 < argc) {
      const std::string name = argv[++i];
      precision = name == "tf32" ? core::Precision::Tf32 : core::Precision::Bf16;
    } else {
      std::fprintf(stderr, "gpu_check [--small] [--precision tf32|bf16] [--bench]\n");
      return 2;
    }
  }
  try {
    const auto backend = openDevice();
    backend->setPrecision(precision);
    std::printf("device: %s\n", backend->device().c_str());
#ifdef HEADSCOPE_CHECK_STUB
    std::printf("No card was used: the CPU stands in its place, which proves this program and says nothing of a card.\n");
#elif defined(HEADSCOPE_CHECK_EMULATED)
    std::printf("No card was used: the kernels ran in an emulation, which proves their logic and says nothing of a card.\n");
#endif
    return isBench ? tests::benchOps(*backend, tests::onlySmallCases()) : check(*backend, precision);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "gpu check: %s\n", e.what());
    return 1;
  }
}
