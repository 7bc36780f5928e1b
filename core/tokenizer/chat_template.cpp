#include "core/tokenizer/chat_template.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"

namespace headscope::core {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uint64_t kLongestFile = uint64_t{16} << 20;
constexpr size_t kLongestTemplate = size_t{256} << 10;
constexpr size_t kMostSpecials = 4096, kMostShown = 64;
constexpr int kDeepest = 32;

/// A turn as families write it. `marker` must stand in the template; every token of `tokens` in the vocabulary.
struct Shape {
  const char *name, *marker, *before, *after;
  std::vector<const char*> tokens;
};

const std::vector<Shape>& shapes() {
  static const auto* const all = new std::vector<Shape>{
      {"ChatML", "<|im_start|>", "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", {"<|im_start|>", "<|im_end|>"}},
      {"Llama 3",
       "<|start_header_id|>",
       "<|start_header_id|>user<|end_header_id|>\n\n",
       "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
       {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
      {"Gemma", "<start_of_turn>", "<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n", {"<start_of_turn>", "<end_of_turn>"}},
      {"DeepSeek", "<｜User｜>", "<｜User｜>", "<｜Assistant｜>", {"<｜User｜>", "<｜Assistant｜>"}},
      {"Phi 3", "<|user|>", "<|user|>\n", "<|end|>\n<|assistant|>\n", {"<|user|>", "<|end|>", "<|assistant|>"}},
      {"Zephyr", "<|user|>", "<|user|>\n", "</s>\n<|assistant|>\n", {"</s>"}},
      {"Kimi",
       "<|im_user|>",
       "<|im_user|>user<|im_middle|>",
       "<|im_end|><|im_assistant|>assistant<|im_middle|>",
       {"<|im_user|>", "<|im_middle|>", "<|im_end|>", "<|im_assistant|>"}},
      {"Llama 2", "[INST]", "[INST] ", " [/INST]", {}},
  };
  return *all;
}

/// The file as JSON; null with a note where it is not.
json readConfig(const fs::path& file, std::string& note) {
  std::error_code code;
  if (!fs::is_regular_file(file, code)) return nullptr;
  try {
    bool isTooDeep = false;
    json parsed = json::parse(
        readTextFile(file, kLongestFile),
        [&](int depth, json::parse_event_t, json&) {
          isTooDeep = isTooDeep || depth > kDeepest;
          return !isTooDeep;
        },
        false);
    if (!isTooDeep && parsed.is_object()) return parsed;
    note = file.filename().string() + " is not a JSON object and is set aside";
  } catch (const Error& e) {
    note = file.filename().string() + " is set aside: " + e.fault();
  }
  return nullptr;
}

/// The template in a "chat_template" field: a text, or a list of {name, template}.
std::string templateIn(const json& config) {
  const auto found = config.is_object() ? config.find("chat_template") : config.end();
  if (!config.is_object() || found == config.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  std::string first;
  if (!found->is_array()) return {};
  for (const json& entry : *found) {
    if (!entry.is_object() || !entry.contains("template") || !entry["template"].is_string()) continue;
    const bool isDefault = entry.contains("name") && entry["name"] == "default";
    if (isDefault) return entry["template"].get<std::string>();
    if (first.empty()) first = entry["template"].get<std::string>();
  }
  return first;
}

/// A token of tokenizer_config.json: a text, or an object with "content".
std::string tokenIn(const json& config, const char* name) {
  if (!config.is_object() || !config.contains(name)) return {};
  const json& token = config[name];
  if (token.is_string()) return token.get<std::string>();
  return token.is_object() && token.contains("content") && token["content"].is_string() ? token["content"].get<std::string>() : "";
}

std::string findTemplate(const fs::path& folder, const json& config, std::string& note) {
  const fs::path file = folder / "chat_template.jinja";
  std::error_code code;
  if (fs::is_regular_file(file, code)) {
    try {
      return readTextFile(file, kLongestFile);
    } catch (const Error& e) {
      note = "chat_template.jinja is set aside: " + e.fault();
      return {};
    }
  }
  std::string text = templateIn(readConfig(folder / "chat_template.json", note));
  return text.empty() ? templateIn(config) : text;
}

/// Special tokens that stand in the template, or are named there by their role ("bos_token"), in the order of their first place.
std::vector<std::string> tokensIn(const std::string& text, const json& config, const Tokenizer& tokenizer) {
  std::vector<std::pair<size_t, std::string>> found;
  const auto add = [&](const std::string& token, size_t at) {
    const auto same = std::find_if(found.begin(), found.end(), [&](const auto& f) { return f.second == token; });
    if (at == std::string::npos || token.empty()) return;
    if (same == found.end()) {
      found.emplace_back(at, token);
    } else {
      same->first = std::min(same->first, at);
    }
  };
  for (const char* role : {"bos_token", "eos_token"}) {
    const std::string token = tokenIn(config, role);
    if (tokenizer.idOf(token) >= 0) add(token, text.find(role));
  }
  size_t specials = 0;
  for (int32_t id = 0; id < tokenizer.size() && specials < kMostSpecials; ++id) {
    if (!tokenizer.isSpecial(id)) continue;
    ++specials;
    const std::string piece = tokenizer.pieceOf(id);
    add(piece, text.find(piece));
  }
  for (const Shape& shape : shapes()) {  // some families' turn tokens are added ones that are not marked special
    for (const char* token : shape.tokens) {
      if (tokenizer.idOf(token) >= 0) add(token, text.find(token));
    }
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> tokens;
  for (size_t i = 0; i < found.size() && i < kMostShown; ++i) tokens.push_back(found[i].second);
  return tokens;
}

}  // namespace

std::optional<ChatTemplate> readChatTemplate(const fs::path& folder, const Tokenizer& tokenizer) {
  ChatTemplate chat;
  const json config = readConfig(folder / "tokenizer_config.json", chat.note);
  std::string text = findTemplate(folder, config, chat.note);
  if (text.empty()) return std::nullopt;
  if (text.size() > kLongestTemplate) {
    chat.note = "the chat template has " + std::to_string(text.size()) + " bytes: only the first 256 KB are looked at";
    text.resize(kLongestTemplate);
  }
  chat.tokens = tokensIn(text, config, tokenizer);
  for (const Shape& shape : shapes()) {
    const bool isKnown = std::all_of(shape.tokens.begin(), shape.tokens.end(), [&](const char* t) { return tokenizer.idOf(t) >= 0; });
    if (!isKnown || text.find(shape.marker) == std::string::npos) continue;
    chat.name = shape.name, chat.before = shape.before, chat.after = shape.after;
    const std::string bos = tokenIn(config, "bos_token");
    const bool isFirst = text.find("bos_token") != std::string::npos && tokenizer.idOf(bos) >= 0 && tokenizer.idsBefore().empty();
    if (isFirst) chat.before.insert(0, bos);  // the template writes it, and the tokenizer does not
    break;
  }
  return chat;
}

std::string missingFirstTokenNote(const fs::path& folder, const Tokenizer& tokenizer) {
  std::string ignored;
  const json config = readConfig(folder / "tokenizer_config.json", ignored);
  const std::string bos = tokenIn(config, "bos_token");
  const bool isAsked = config.is_object() && config.contains("add_bos_token") && config["add_bos_token"] == true;
  if (!isAsked || tokenizer.idOf(bos) < 0 || !tokenizer.idsBefore().empty()) return {};
  return "tokenizer_config.json says add_bos_token and tokenizer.json adds none: texts are run without \"" + bos +
         "\", as transformers 5 does (4 puts it first); type it to have it";
}

}  // namespace headscope::core
