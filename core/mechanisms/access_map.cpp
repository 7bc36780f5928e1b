#include "core/mechanisms/access_map.h"

#include <algorithm>
#include <limits>

#include "core/attention/prompt_limit.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/mechanisms/layer_heads.h"
#include "core/tokenizer/prompt_builder.h"

namespace headscope::core {
namespace {

constexpr size_t kLargestFile = 64u << 20;

void merge(AccessMap::Head& head, const ValueAccess& access, bool isCausal, int64_t rowsBefore) {
  const size_t count = access.shares.size();
  for (auto* list : {&head.plain, &head.weighted, &head.withoutSink}) list->resize(count);
  for (size_t p = 0; p < count; ++p) {
    head.plain[p] = pooled(head.plain[p], summarise(access.plain[p], isCausal));
    head.weighted[p] = pooled(head.weighted[p], summarise(access.weighted[p], isCausal));
    head.withoutSink[p] = pooled(head.withoutSink[p], summarise(access.withoutSink[p], isCausal));
  }
  double sink = 0;
  for (const float m : access.sinkMass) sink += static_cast<double>(m);
  const double rows = static_cast<double>(access.sinkMass.size()), before = static_cast<double>(rowsBefore);
  head.sink = (head.sink * before + sink) / std::max(1.0, before + rows);
}

void notePrompt(AccessMap::Head& head, const std::vector<double>& means) {
  if (head.leastPrompt.empty())
    head.leastPrompt.assign(means.size(), std::numeric_limits<double>::max()), head.mostPrompt.assign(means.size(), 0.0);
  for (size_t p = 0; p < means.size(); ++p) {
    head.leastPrompt[p] = std::min(head.leastPrompt[p], means[p]);
    head.mostPrompt[p] = std::max(head.mostPrompt[p], means[p]);
  }
}

std::shared_ptr<const Tokenizer> tokenizerOf(const Model& model, const std::filesystem::path& file) {
  if (model.spec().input == InputKind::Image) throw Error("this model reads images, not text", file.string());
  return Tokenizer::open(model.folder());
}

}  // namespace

void AccessMap::add(std::shared_ptr<const Trace> trace, Job& job) {
  if (all.empty()) {
    layers = trace->layersRun();
    heads = trace->spec().heads;
    all.resize(static_cast<size_t>(layers * heads));
    layer.resize(static_cast<size_t>(layers));
  }
  for (int64_t l = 0; l < layers; ++l) {
    const LayerHeads inputs(trace, l, job);
    Head& pool = layer[static_cast<size_t>(l)];
    std::vector<double> poolMeans(shares.size(), 0.0);
    for (int64_t h = 0; h < heads; ++h) {
      job.report(static_cast<double>(l * heads + h) / static_cast<double>(layers * heads), "layer " + std::to_string(l));
      const HeadInput input = inputs.input(h);
      const ValueAccess access = valueAccess(input, inputs.outputWeight(h), shares, job);
      Head& mine = all[static_cast<size_t>(l * heads + h)];
      merge(mine, access, input.isCausal, tokens);
      merge(pool, access, input.isCausal, tokens * heads + h * trace->count());
      std::vector<double> means;
      for (size_t p = 0; p < shares.size(); ++p) {
        means.push_back(summarise(access.plain[p], input.isCausal).mean);
        poolMeans[p] += means[p] / static_cast<double>(heads);
      }
      notePrompt(mine, means);
    }
    notePrompt(pool, poolMeans);
  }
  ++prompts;
  tokens += trace->count();
  longest = std::max(longest, trace->count());
}

std::vector<std::shared_ptr<const Prompt>> promptsOfFile(const Model& model, const std::filesystem::path& file, size_t most, Job& job) {
  const auto tokenizer = tokenizerOf(model, file);
  const std::string text = readTextFile(file, kLargestFile);
  std::vector<std::shared_ptr<const Prompt>> prompts;
  for (size_t begin = 0; begin < text.size() && prompts.size() < most;) {
    job.checkpoint();
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    prompts.push_back(promptFromText(*tokenizer, line, true, promptLimit(model.spec()), job));
  }
  if (prompts.empty()) throw Error("the file holds no text", file.string(), "give a file with a prompt a line");
  return prompts;
}

std::shared_ptr<const Prompt> promptOfFile(const Model& model, const std::filesystem::path& file, int64_t most, Job& job) {
  const auto tokenizer = tokenizerOf(model, file);
  const std::string text = readTextFile(file, kLargestFile);
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) throw Error("the file holds no text", file.string());
  const int64_t own = promptLimit(model.spec());
  return promptFromText(*tokenizer, text, true, most > 0 ? std::min(most, own) : own, job);
}

}  // namespace headscope::core
