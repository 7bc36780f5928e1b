#pragma once
// Budget search: the cheapest mechanism of a list for every head that keeps its output error under a bound, or, for a bound on
// the whole model's loss, the loosest such bound whose replaced model still holds it. The plan is JSON that others can read.
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/attention/trace.h"
#include "core/mechanisms/replace.h"

namespace headscope::core {

struct BudgetOption {
  std::string mechanism;
  double error = 0;  // output error on this head
  double operations = 0;
};

struct HeadBudget {
  HeadRef head;
  double denseOperations = 0;
  std::vector<BudgetOption> options;  // cheapest first
  int64_t chosen = -1;                // index into options; -1: the head stays as it is
};

struct Budget {
  std::vector<HeadBudget> heads;
  double bound = 0;                 // on the output error that was used
  double boundLoss = -1;            // on the rise of the loss that was asked; < 0: none
  double lossBefore = 0, loss = 0;  // nats; NaN unknown
  double kl = 0;
  double denseOperations() const;
  double operations() const;
  std::vector<HeadChoice> choices() const;
};

/// What `budget` tries without being told: windows with sinks, blocks and the local ones, from narrow to wide.
inline constexpr const char* kBudgetMechanisms =
    "local:window=8;local:window=16;local:window=32;local:window=64;local:window=128;local:window=256;local:window=512;"
    "sinks:sinks=4,window=8;sinks:sinks=4,window=16;sinks:sinks=4,window=32;sinks:sinks=4,window=64;sinks:sinks=4,window=128;"
    "sinks:sinks=4,window=256;sinks:sinks=4,window=512;block:size=16,blocks=diagonal+first;block:size=32,blocks=diagonal+previous+first;"
    "strided:stride=8;strided:stride=16;fixed:stride=16,summary=1;fixed:stride=32,summary=2";

/// Errors and costs of every option on every head; nothing is chosen yet.
Budget measureBudget(std::shared_ptr<const Trace> trace, std::span<const std::shared_ptr<const Mechanism>> mechanisms, Job& job);

/// Chooses for every head the cheapest option with error <= bound that is cheaper than the head as it is.
void chooseUnder(Budget& budget, double bound);

/// Runs the model with the chosen heads and notes loss and KL.
void judge(Budget& budget, const Trace& trace, Job& job);

/// Finds by bisection the loosest error bound whose replaced model's loss rises by at most boundLoss nats; chosen and judged.
void chooseUnderLoss(Budget& budget, const Trace& trace, double boundLoss, Job& job);

/// {"format": "headscope-attention-plan", ...}: heads with mechanism, error, operations and share.
std::string toJson(const Budget& budget, const Trace& trace);

}  // namespace headscope::core
