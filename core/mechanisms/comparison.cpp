#include "core/mechanisms/comparison.h"

#include <chrono>
#include <cmath>

#include "core/base/error.h"
#include "core/mechanisms/registry.h"

namespace headscope::core {
namespace {

struct Bound {
  size_t result;
  std::unique_ptr<HeadRun> run;
};

double seedOf(const Mechanism& mechanism) {
  const std::string text = mechanism.spelled();
  const size_t at = text.find("seed=");
  return at == std::string::npos ? 1 : std::strtod(text.c_str() + at + 5, nullptr);
}

void meanOver(const std::vector<const HeadErrors*>& all, MechanismResult& result) {
  const double count = static_cast<double>(all.size());
  HeadErrors& e = result.errors;
  if (all.size() < 2) return;
  const auto mean = [&](double HeadErrors::*field) {
    double sum = 0;
    for (const HeadErrors* one : all) sum += one->*field / count;
    return sum;
  };
  const double output = mean(&HeadErrors::output);
  double squares = 0;
  for (const HeadErrors* one : all) squares += std::pow(one->output - output, 2);
  result.outputSpread = std::sqrt(squares / (count - 1));
  result.seeds = static_cast<int64_t>(all.size());
  for (double HeadErrors::*field :
       {&HeadErrors::output, &HeadErrors::meanMassKept, &HeadErrors::meanKl, &HeadErrors::meanCosine, &HeadErrors::meanRankCorrelation}) {
    e.*field = mean(field);
  }
}

}  // namespace

std::shared_ptr<const Mechanism> withSeed(const Mechanism& mechanism, uint64_t seed) {
  std::string text = mechanism.spelled();
  const size_t at = text.find("seed=");
  if (at == std::string::npos) throw Error("takes no seed", "mechanism " + mechanism.name());
  const size_t end = std::min(text.find(',', at), text.size());
  return parseMechanism(text.replace(at + 5, end - at - 5, std::to_string(seed)));
}

std::vector<MechanismResult> compareMechanisms(const HeadInput& input, ConstMatrixView outputWeight,
                                               std::span<const std::shared_ptr<const Mechanism>> mechanisms,
                                               const ComparisonOptions& options, Job& job) {
  std::vector<MechanismResult> results(mechanisms.size());
  std::vector<Bound> bound;
  Matrix out(input.count(), input.value.cols);
  for (size_t m = 0; m < mechanisms.size(); ++m) {
    job.checkpoint();
    MechanismResult& result = results[m];
    result.mechanism = mechanisms[m]->spelled();
    result.isCausal = mechanisms[m]->isCausal();
    result.isNormalised = mechanisms[m]->isNormalised();
    try {
      const int64_t seeds = mechanisms[m]->isRandom() ? options.seeds : 1;
      for (int64_t s = 0; s < seeds; ++s) {
        const auto one =
            s == 0 ? mechanisms[m] : withSeed(*mechanisms[m], static_cast<uint64_t>(seedOf(*mechanisms[m])) + static_cast<uint64_t>(s));
        std::unique_ptr<HeadRun> run = one->bind(input, job);
        if (s == 0) {
          const auto started = std::chrono::steady_clock::now();
          run->output(out.view(), job);
          result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
          result.cost = run->cost();
          result.notes = run->notes();
        }
        bound.push_back({m, std::move(run)});
      }
    } catch (const Error& e) {
      result.refusal = e.fault();
    }
  }
  std::vector<const HeadRun*> runs;
  for (const Bound& b : bound) runs.push_back(b.run.get());
  const std::vector<HeadErrors> errors = headErrors(input, runs, outputWeight, options.errors, job);
  for (size_t m = 0; m < results.size(); ++m) {
    std::vector<const HeadErrors*> mine;
    for (size_t b = 0; b < bound.size(); ++b) {
      if (bound[b].result == m) mine.push_back(&errors[b]);
    }
    if (mine.empty()) continue;
    results[m].errors = *mine[0];
    meanOver(mine, results[m]);
    if (options.keepsRows) continue;
    HeadErrors& e = results[m].errors;
    for (std::vector<float>* rows : {&e.massKept, &e.kl, &e.cosine, &e.rankCorrelation}) *rows = {};
  }
  return results;
}

}  // namespace headscope::core
