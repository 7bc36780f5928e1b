// headscope info: what a model is, before anything is computed.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/cli/inputs.h"
#include "core/base/error.h"
#include "core/base/memory.h"
#include "core/model/adapter.h"
#include "core/model/model_facts.h"
#include "core/tokenizer/chat_template.h"

namespace headscope::app {
namespace {

struct InfoFlags {
  std::string model;
  bool isJson = false;
};

/// "1234567" with groups: 1,234,567.
std::string grouped(int64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3) digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

const char* nameOf(core::HeadKind kind) {
  switch (kind) {
    case core::HeadKind::CausalLanguage:
      return "causal_language";
    case core::HeadKind::MaskedLanguage:
      return "masked_language";
    case core::HeadKind::Classifier:
      return "classifier";
    case core::HeadKind::None:
      return "none";
  }
  return "none";
}

/// What the tokenizer's files say beside the tokens themselves.
struct TextFacts {
  bool hasTokenizer = false;
  std::optional<core::ChatTemplate> chat;
};

TextFacts textFactsOf(const core::Model& model, core::ModelFacts& facts) {
  TextFacts text;
  const auto tokenizer = model.spec().input == core::InputKind::Tokens ? openTokenizer(model) : nullptr;
  if (!tokenizer) return text;
  text.hasTokenizer = true;
  text.chat = core::readChatTemplate(model.folder(), *tokenizer);
  if (text.chat && !text.chat->note.empty()) facts.notes.push_back(text.chat->note);
  if (const std::string note = core::missingFirstTokenNote(model.folder(), *tokenizer); !note.empty()) facts.notes.push_back(note);
  return text;
}

nlohmann::ordered_json toJson(const core::Model& model, const core::ModelFacts& facts, const core::Backend& backend,
                              const TextFacts& text) {
  const core::ModelSpec& spec = model.spec();
  nlohmann::ordered_json json;
  json["name"] = model.name();
  json["folder"] = model.folder().string();
  json["family"] = spec.family;
  json["family_title"] = spec.familyTitle;
  json["layers"] = spec.layers;
  json["heads"] = spec.heads;
  json["kv_heads"] = spec.kvHeads;
  json["width"] = spec.width;
  json["head_width"] = spec.headWidth;
  json["value_width"] = spec.valueWidth;
  json["vocabulary"] = spec.vocabulary;
  json["context"] = spec.context;
  json["causal"] = spec.isCausal;
  json["head"] = nameOf(spec.head);
  json["tied"] = spec.isTied;
  json["positions"] = core::positionsText(spec);
  json["activation"] = core::nameOf(spec.activation);
  nlohmann::ordered_json windows = nlohmann::ordered_json::array();
  for (const core::LayerSpec& layer : spec.layer) windows.push_back(layer.window);
  json["windows"] = std::move(windows);
  if (spec.mla) {
    json["mla"] = {
        {"query_rank", spec.mla->queryRank}, {"latent_rank", spec.mla->latentRank}, {"nope", spec.mla->nope}, {"rope", spec.mla->rope}};
  }
  if (spec.moe) {
    json["moe"] = {{"experts", spec.moe->experts},
                   {"experts_per_token", spec.moe->expertsPerToken},
                   {"shared_experts", spec.moe->sharedExperts},
                   {"groups", spec.moe->groups}};
  }
  if (spec.image) {
    json["image"] = {
        {"height", spec.image->height}, {"width", spec.image->width}, {"patch", spec.image->patch}, {"channels", spec.image->channels}};
    json["classes"] = spec.classes;
  }
  json["parameters"] = facts.parameters;
  json["bytes"] = facts.bytes;
  json["files"] = model.checkpoint().files().size();
  nlohmann::ordered_json dtypes = nlohmann::ordered_json::object();
  for (const auto& [name, count] : facts.dtypes) dtypes[name] = count;
  json["dtypes"] = std::move(dtypes);
  json["cache_numbers_per_token"] = facts.cacheNumbersPerToken;
  json["cache_bytes_per_token"] = facts.cacheBytesPerToken;
  json["cache_type"] = facts.cacheType;
  json["tokenizer"] = text.hasTokenizer;
  json["chat"] = nullptr;
  if (text.chat) {
    json["chat"] = {{"shape", text.chat->name}, {"tokens", text.chat->tokens}, {"before", text.chat->before}, {"after", text.chat->after}};
  }
  json["adapter"] = model.adapter() != nullptr ? nlohmann::ordered_json(model.adapter()->name()) : nlohmann::ordered_json();
  json["supported"] = facts.supported;
  json["unsupported"] = facts.unsupported;
  json["whole_layers"] = facts.wholeLayers;
  json["missing_tensors"] = facts.missingTensors;
  json["missing_files"] = facts.missingFiles;
  json["notes"] = facts.notes;
  json["backend"] = backend.name();
  json["backend_device"] = backend.device();
  json["backend_reason"] = backend.reason();
  return json;
}

void line(const char* label, const std::string& text) {
  if (!text.empty()) std::printf("%-16s%s\n", label, text.c_str());
}

void printList(const char* label, const std::vector<std::string>& items, size_t most) {
  for (size_t i = 0; i < items.size() && i < most; ++i) line(i == 0 ? label : "", items[i]);
  if (items.size() > most) line("", "and " + std::to_string(items.size() - most) + " more");
}

void printSizes(const core::Model& model, const core::ModelFacts& facts) {
  const core::ModelSpec& spec = model.spec();
  line("model", model.name());
  line("family", spec.familyTitle + " (" + spec.family + ")");
  line("layers", std::to_string(spec.layers));
  line("heads",
       std::to_string(spec.heads) + (spec.kvHeads != spec.heads ? " (" + std::to_string(spec.kvHeads) + " for keys and values)" : ""));
  line("width", std::to_string(spec.width) + ", a head " + std::to_string(spec.headWidth) +
                    (spec.valueWidth != spec.headWidth ? ", its values " + std::to_string(spec.valueWidth) : ""));
  if (spec.mla) {
    line("latent", std::to_string(spec.mla->latentRank) + " + " + std::to_string(spec.mla->rope) + " rotary" +
                       (spec.mla->queryRank > 0 ? ", queries " + std::to_string(spec.mla->queryRank) : ""));
  }
  if (spec.moe) {
    line("experts", std::to_string(spec.moe->expertsPerToken) + " of " + std::to_string(spec.moe->experts) + " a token" +
                        (spec.moe->sharedExperts > 0 ? ", " + std::to_string(spec.moe->sharedExperts) + " shared" : ""));
  }
  if (spec.image) {
    line("image", std::to_string(spec.image->height) + " x " + std::to_string(spec.image->width) + ", patches of " +
                      std::to_string(spec.image->patch) + ", " + std::to_string(spec.classes) + " classes");
  }
  if (spec.vocabulary > 0) line("vocabulary", grouped(spec.vocabulary) + (spec.isTied ? ", unembedding tied" : ""));
  line("context", grouped(spec.context));
  line("positions", core::positionsText(spec));
  line("windows", core::windowsText(spec));
  line("parameters", grouped(facts.parameters));
  std::string types;
  for (const auto& [name, count] : facts.dtypes) types += (types.empty() ? "" : ", ") + name + " " + grouped(count);
  line("stored", grouped(static_cast<int64_t>(facts.bytes)) + " bytes in " + std::to_string(model.checkpoint().files().size()) + " file" +
                     (model.checkpoint().files().size() == 1 ? "" : "s") + ": " + types);
  if (const uint64_t free = core::availableMemory(); facts.bytes > free)
    line("memory", grouped(static_cast<int64_t>(free)) + " bytes free: a forward pass reads the weights from disk, layer by layer");
  if (spec.isCausal) line("cache", grouped(facts.cacheBytesPerToken) + " bytes a token (" + facts.cacheType + ")");
}

void run(const InfoFlags& flags, const CommonFlags& common) {
  const auto model = openModel(flags.model, common);
  core::ModelFacts facts = core::factsOf(*model);
  const auto backend = openBackend(common);
  const TextFacts text = textFactsOf(*model, facts);
  if (flags.isJson) {
    std::printf("%s\n", toJson(*model, facts, *backend, text).dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return;
  }
  printSizes(*model, facts);
  if (model->adapter() != nullptr) line("adapter", model->adapter()->name());
  if (model->spec().input == core::InputKind::Tokens)
    line("tokenizer", text.hasTokenizer ? "yes" : "none that can be read: give prompts as --ids");
  if (text.chat) {
    std::string tokens;
    for (const std::string& token : text.chat->tokens) tokens += ' ' + token;
    line("chat", (text.chat->name.empty() ? "template of an unknown shape" : text.chat->name + " (--chat)") + ", special tokens" + tokens);
  }
  line("backend", backend->name() + ": " + backend->device() + (backend->reason().empty() ? "" : " (" + backend->reason() + ")"));
  printList("supported", facts.supported, 8);
  printList("not supported", facts.unsupported, 8);
  printList("missing files", facts.missingFiles, 8);
  printList("missing", facts.missingTensors, 12);
  printList("notes", facts.notes, 16);
}

}  // namespace

void declareInfo(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<InfoFlags>();
  CLI::App* command = root.add_subcommand("info", "what a model is and what can be shown of it");
  command->add_option("model", flags->model, "folder or bundled name")->required();
  command->add_flag("--json", flags->isJson, "as JSON");
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
