// headscope attend: maps, hidden states, queries, keys, values and logits of a prompt, as safetensors. Maps are written block of
// rows by block of rows: [N, N] is never held.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "app/cli/inputs.h"
#include "core/attention/attention_map.h"
#include "core/attention/forward.h"
#include "core/base/error.h"
#include "core/checkpoint/safetensors_writer.h"
#include "core/mechanisms/registry.h"
#include "core/mechanisms/replace.h"

namespace headscope::app {
namespace {

constexpr int64_t kRows = 256;  // of a map or of logits that are held at once

struct AttendFlags {
  std::string model, out, select, layers, heads, mechanism, replace;
  PromptFlags prompt;
};

/// What to write: names, layers, and the heads of each layer.
struct Selected {
  std::set<std::string> names;
  std::vector<int64_t> layers;
  std::map<int64_t, std::vector<int64_t>> heads;  // by layer, ascending
  int64_t layersToRun = -1;
  std::shared_ptr<const core::Mechanism> mechanism;  // of the replaced heads; null: none is
  std::set<core::HeadRef> replaced;
  bool has(const std::string& name) const { return names.count(name) > 0; }
};

std::set<std::string> selectedNames(const AttendFlags& flags) {
  std::set<std::string> names;
  std::string text = flags.select.empty() ? "attentions,hidden,logits" : flags.select;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    if (!std::set<std::string>{"attentions", "hidden", "q", "k", "v", "logits"}.count(name)) {
      throw core::Error("\"" + name + "\" can't be selected", "--select", "choose from attentions,hidden,q,k,v,logits");
    }
    names.insert(name);
    begin = end + 1;
  }
  return names;
}

Selected select(const AttendFlags& flags, const core::ModelSpec& spec) {
  Selected selected;
  selected.names = selectedNames(flags);
  selected.layers = parseIndices(flags.layers.empty() ? "0-" + std::to_string(spec.layers - 1) : flags.layers, spec.layers, "--layers");
  // Heads as 0,2-3 are meant in every layer, heads as 3.1,4.* where they are
  const bool isPerLayer = flags.heads.find('.') != std::string::npos || flags.heads == "all";
  if (flags.heads.empty() || !isPerLayer) {
    const auto heads = parseIndices(flags.heads.empty() ? "0-" + std::to_string(spec.heads - 1) : flags.heads, spec.heads, "--heads");
    for (const int64_t l : selected.layers) selected.heads[l] = heads;
  } else {
    for (const core::HeadRef& ref : parseHeads(flags.heads, spec.layers, spec.heads, "--heads")) {
      if (std::count(selected.layers.begin(), selected.layers.end(), ref.layer) > 0) selected.heads[ref.layer].push_back(ref.head);
    }
  }
  // Logits need all layers: with fewer they are written only when asked for by name
  if (!flags.layers.empty() && flags.select.empty()) selected.names.erase("logits");
  selected.layersToRun = selected.has("logits") ? spec.layers : selected.layers.back() + 1;
  return selected;
}

/// Which heads run under which mechanism: all where only a mechanism is named.
void selectReplaced(const AttendFlags& flags, const core::ModelSpec& spec, Selected& selected) {
  if (flags.mechanism.empty()) {
    if (!flags.replace.empty()) throw core::Error("heads to replace without a mechanism", "--replace", "name one with --mechanism");
    return;
  }
  selected.mechanism = core::parseMechanism(flags.mechanism);
  for (const core::HeadRef& head : parseHeads(flags.replace.empty() ? "all" : flags.replace, spec.layers, spec.heads, "--replace")) {
    if (head.layer < selected.layersToRun) selected.replaced.insert(head);
  }
}

class TraceWriter {
 public:
  TraceWriter(std::shared_ptr<const core::Trace> trace, const Selected& selected, core::Job& job)
      : trace_(std::move(trace)), selected_(selected), job_(job), count_(trace_->count()) {}

  void write(const std::filesystem::path& path) {
    addIds();
    for (const auto& [layer, heads] : selected_.heads) addLayer(layer, heads);
    if (selected_.has("hidden")) addHidden();
    if (selected_.has("logits") && trace_->hasLogits()) addLogits();
    writer_.write(path);
  }

 private:
  void addIds() {
    if (trace_->spec().input == core::InputKind::Image) return;
    std::vector<int64_t> ids;
    for (const int32_t id : trace_->prompt().ids()) ids.push_back(id);
    writer_.add("ids", {count_}, ids);
  }

  void addLayer(int64_t layer, const std::vector<int64_t>& heads) {
    const std::string tag = "." + std::to_string(layer);
    const core::AttentionRule& rule = trace_->rule(layer);
    const int64_t size = static_cast<int64_t>(heads.size());
    if (selected_.has("attentions")) {
      writer_.add("attentions" + tag, core::DType::F32, {size, count_, count_}, [this, layer, heads](auto& sink) {
        for (const int64_t head : heads) writeMap({layer, head}, sink);
      });
    }
    std::set<int64_t> read;  // key/value heads that the selected heads read
    for (const int64_t head : heads) read.insert(rule.kvHeadOf(head));
    const std::vector<int64_t> kvHeads(read.begin(), read.end());
    if (selected_.has("q")) {
      addHeads("q" + tag, heads, rule.keyWidth, [this, layer](int64_t head) { return trace_->query(layer, head); });
    }
    if (selected_.has("k")) {
      addHeads("k" + tag, kvHeads, rule.keyWidth, [this, layer](int64_t head) { return trace_->key(layer, head); });
    }
    if (selected_.has("v")) {
      addHeads("v" + tag, kvHeads, rule.valueWidth, [this, layer](int64_t head) { return trace_->value(layer, head); });
    }
  }

  void writeMap(core::HeadRef head, core::SafetensorsWriter::Sink& sink) {
    const core::AttentionMap map(trace_, head);  // of a replaced head what multiplies V there
    for (int64_t row = 0; row < count_; row += kRows) {
      const core::Matrix tile = map.tile({0, row, std::min(kRows, count_ - row), 0, count_, core::Pooling::Max}, job_);
      sink.write(std::span<const float>(tile.data(), static_cast<size_t>(tile.size())));
    }
    job_.report(static_cast<double>(head.layer) / static_cast<double>(trace_->layersRun()), "writing layer " + std::to_string(head.layer));
  }

  template <class View>
  void addHeads(const std::string& name, const std::vector<int64_t>& heads, int64_t width, View viewOf) {
    writer_.add(name, core::DType::F32, {static_cast<int64_t>(heads.size()), count_, width}, [heads, viewOf](auto& sink) {
      for (const int64_t head : heads) writeRows(viewOf(head), sink);
    });
  }

  static void writeRows(core::ConstMatrixView view, core::SafetensorsWriter::Sink& sink) {
    for (int64_t r = 0; r < view.rows; ++r) sink.write(std::span<const float>(view.row(r), static_cast<size_t>(view.cols)));
  }

  /// What each selected layer reads and what it leaves.
  void addHidden() {
    std::set<int64_t> indices;
    for (const int64_t layer : selected_.layers) indices.insert({layer, layer + 1});
    for (const int64_t index : indices) {
      writer_.add("hidden." + std::to_string(index), core::DType::F32, {count_, trace_->spec().width},
                  [this, index](auto& sink) { writeRows(trace_->hidden(index), sink); });
    }
  }

  void addLogits() {
    const int64_t rows = trace_->logitRows(), width = trace_->model().head().unembedding.outputs();
    const std::vector<int64_t> shape =
        trace_->spec().head == core::HeadKind::Classifier ? std::vector<int64_t>{width} : std::vector<int64_t>{rows, width};
    writer_.add("logits", core::DType::F32, shape, [this, rows](auto& sink) {
      for (int64_t row = 0; row < rows; row += kRows) {
        const core::Matrix logits = trace_->logits(row, std::min(kRows, rows - row), job_);
        sink.write(std::span<const float>(logits.data(), static_cast<size_t>(logits.size())));
      }
    });
  }

  std::shared_ptr<const core::Trace> trace_;
  const Selected& selected_;
  core::Job& job_;
  int64_t count_;
  core::SafetensorsWriter writer_;
};

void run(const AttendFlags& flags, const CommonFlags& common) {
  const auto model = openModel(flags.model, common);
  Selected selected = select(flags, model->spec());
  selectReplaced(flags, model->spec(), selected);
  const auto prompt = makePrompt(*model, flags.prompt, common);
  const auto backend = openBackend(common);
  runWithProgress("attend", common, [&](core::Job& job) {
    core::ForwardOptions options;
    if (selected.mechanism) {
      options = core::replacementFor(model, {selected.replaced.begin(), selected.replaced.end()}, selected.mechanism, backend);
    }
    options.layers = selected.layersToRun;
    TraceWriter(core::runForward(model, prompt, backend, options, job), selected, job).write(flags.out);
  });
}

}  // namespace

void declareAttend(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<AttendFlags>();
  CLI::App* command = root.add_subcommand("attend", "maps, hidden states, queries, keys, values and logits of a prompt");
  command->add_option("model", flags->model, "folder or bundled name")->required();
  command->add_option("--out", flags->out, "FILE.safetensors")->required();
  command->add_option("--select", flags->select, "from attentions,hidden,q,k,v,logits (default: attentions,hidden,logits)");
  command->add_option("--layers", flags->layers, "0,3-5 (default: all; only layers up to the last are run)");
  command->add_option("--heads", flags->heads, "0,2-3 in every layer, or 3.1,4.* (default: all)");
  command->add_option("--mechanism", flags->mechanism,
                      "run heads under another mechanism, as local:window=64; their maps are then its own");
  command->add_option("--replace", flags->replace, "which: all, or 3.1,4.* (default: all)");
  addPromptFlags(*command, flags->prompt);
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
