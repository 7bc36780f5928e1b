#pragma once
// AccessMap: how many values every head reads, over one or several prompts: summaries over all rows of all prompts, per head and
// pooled over a layer's heads, with the prompts that need fewest and most. Costs every head's map, a block of rows at a time.
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/attention/trace.h"
#include "core/mechanisms/value_access.h"

namespace headscope::core {

struct AccessMap {
  struct Head {
    std::vector<AccessSummary> plain, weighted, withoutSink;  // [share]
    std::vector<double> leastPrompt, mostPrompt;              // [share] mean keys of the prompt that needs fewest, and most
    double sink = 0;                                          // mean mass on the first key
  };
  std::vector<double> shares;
  int64_t layers = 0, heads = 0, prompts = 0, tokens = 0, longest = 0;
  std::vector<Head> all;    // layer-major
  std::vector<Head> layer;  // all rows of all heads of a layer
  const Head& at(HeadRef h) const { return all[static_cast<size_t>(h.layer * heads + h.head)]; }

  explicit AccessMap(std::vector<double> askedShares) : shares(std::move(askedShares)) {}
  /// Adds one prompt's rows. All traces are of one model.
  void add(std::shared_ptr<const Trace> trace, Job& job);
};

/// Prompts of a text file: every line that is not blank, at most `most` of them. Throws Error naming the file when there is none,
/// or the model has no tokenizer.
std::vector<std::shared_ptr<const Prompt>> promptsOfFile(const Model& model, const std::filesystem::path& file, size_t most, Job& job);
/// The whole file as one prompt, cut to `most` tokens.
std::shared_ptr<const Prompt> promptOfFile(const Model& model, const std::filesystem::path& file, int64_t most, Job& job);
inline constexpr size_t kMostFilePrompts = 64;

}  // namespace headscope::core
