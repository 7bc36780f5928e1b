#include "core/tokenizer/legacy_files.h"

#include <algorithm>
#include <map>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/tokenizer/json_fields.h"
#include "core/tokenizer/unicode.h"

namespace headscope::core {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr uint64_t kLongestFile = uint64_t{256} << 20;
constexpr uint64_t kLongestConfig = uint64_t{16} << 20;
constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// The file as an object, an empty one when it is absent.
Json configOf(const fs::path& file) {
  if (!fs::exists(file)) return Json::object();
  Json json = readSmallJson(readTextFile(file, kLongestConfig), file.string());
  if (!json.is_object()) throw Error("an object is expected", file.string());
  return json;
}

/// "tok" or {"content": "tok", ...}; "" for others.
std::string contentOf(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) return value["content"].get<std::string>();
  return {};
}

Json addedToken(const std::string& content, bool isSpecial, const Json& source) {
  const auto flag = [&](const char* name, bool otherwise) {
    return source.is_object() && source.contains(name) && source[name].is_boolean() ? source[name].get<bool>() : otherwise;
  };
  return {{"content", content},
          {"single_word", flag("single_word", false)},
          {"lstrip", flag("lstrip", false)},
          {"rstrip", flag("rstrip", false)},
          {"normalized", flag("normalized", !isSpecial)},
          {"special", isSpecial}};
}

struct SideFiles {
  Json config;                           // tokenizer_config.json
  std::map<std::string, Json> specials;  // "bos_token" -> value, from special_tokens_map.json and the config
  Json added;                            // added_tokens.json

  explicit SideFiles(const fs::path& folder)
      : config(configOf(folder / "tokenizer_config.json")), added(configOf(folder / "added_tokens.json")) {
    for (const Json& source : {config, configOf(folder / "special_tokens_map.json")}) {
      for (const char* name : {"unk_token", "bos_token", "eos_token", "pad_token", "cls_token", "sep_token", "mask_token"}) {
        if (source.contains(name) && !contentOf(source[name]).empty()) specials[name] = source[name];
      }
    }
  }
  std::string special(const char* name, const std::string& otherwise) const {
    const auto found = specials.find(name);
    return found == specials.end() ? otherwise : contentOf(found->second);
  }
  bool flag(const char* name, bool otherwise) const {
    return config.contains(name) && config[name].is_boolean() ? config[name].get<bool>() : otherwise;
  }
  std::string className() const {
    return config.contains("tokenizer_class") && config["tokenizer_class"].is_string() ? config["tokenizer_class"].get<std::string>()
                                                                                       : std::string();
  }

  /// Added tokens in the order of their ids; those already in the vocabulary first.
  Json addedTokens(const Vocabulary& vocabulary, const std::vector<std::string>& defaults) const {
    std::map<std::pair<int64_t, std::string>, Json> byId;
    const auto idOf = [&](const std::string& content, int64_t otherwise) {
      const int32_t id = vocabulary.idOf(content);
      return id >= 0 ? static_cast<int64_t>(id) : otherwise;
    };
    std::vector<std::string> known;
    const auto add = [&](const std::string& content, int64_t id, bool isSpecial, const Json& source) {
      if (content.empty() || std::find(known.begin(), known.end(), content) != known.end()) return;
      known.push_back(content);
      byId[{id, content}] = addedToken(content, isSpecial, source);
    };
    if (config.contains("added_tokens_decoder") && config["added_tokens_decoder"].is_object()) {
      for (const auto& [id, token] : config["added_tokens_decoder"].items()) {
        const bool isNumber =
            !id.empty() && id.size() < 10 && std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; });
        const bool isSpecial =
            token.is_object() && token.contains("special") && token["special"].is_boolean() && token["special"].get<bool>();
        if (isNumber) add(contentOf(token), std::stoll(id), isSpecial, token);
      }
    }
    const int64_t late = int64_t{1} << 40;
    int64_t order = late;
    for (const auto& [name, value] : specials) {
      const std::string content = contentOf(value);
      const bool hasId = added.contains(content) && added[content].is_number_integer();
      add(content, idOf(content, hasId ? added[content].get<int64_t>() : order++), true, value);
    }
    for (const auto& [content, id] : added.items()) add(content, id.is_number_integer() ? id.get<int64_t>() : order++, false, Json());
    for (const std::string& content : defaults) {
      if (vocabulary.idOf(content) >= 0) add(content, vocabulary.idOf(content), true, Json());
    }
    Json list = Json::array();
    for (auto& [key, token] : byId) list.push_back(std::move(token));
    return list;
  }
};

void readMerges(const fs::path& file, TokenizerDocument& document) {
  const std::string text = readTextFile(file, kLongestFile);
  if (!isValidUtf8(text)) throw Error("the file is not valid UTF-8", file.string());
  int64_t line = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    std::string_view row = std::string_view(text).substr(at, end - at);
    if (row.ends_with('\r')) row.remove_suffix(1);
    at = end + 1;
    ++line;
    if (row.starts_with("#version") || row.empty()) continue;
    const size_t space = row.find(' ');
    if (space == std::string_view::npos || row.find(' ', space + 1) != std::string_view::npos) {
      throw Error("line " + std::to_string(line) + " has to be two pieces with one space between", file.string());
    }
    if (row.ends_with("</w>")) {
      throw Error("merges with </w> at the ends of words (CLIP, the first GPT) are not supported without a tokenizer.json", file.string(),
                  "transformers' AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) writes one; or give token ids");
    }
    document.addMerge(row.substr(0, space), row.substr(space + 1));
  }
}

Json templateOf(const std::string& before, const std::string& after, const Vocabulary& vocabulary, const std::string& where) {
  Json single = Json::array(), specials = Json::object();
  const auto add = [&](const std::string& token) {
    if (token.empty()) return;
    if (vocabulary.idOf(token) < 0) throw Error("\"" + token + "\" goes around every text but is not in the vocabulary", where);
    single.push_back({{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
    specials[token] = {{"id", token}, {"ids", {vocabulary.idOf(token)}}, {"tokens", {token}}};
  };
  add(before);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(after);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", Json::array()}, {"special_tokens", specials}};
}

}  // namespace

TokenizerDocument readVocabAndMerges(const fs::path& folder) {
  const fs::path vocab = folder / "vocab.json";
  const SideFiles side(folder);
  TokenizerDocument document;
  document.vocabulary = readVocabularyJson(readTextFile(vocab, kLongestFile), vocab.string());
  document.hasVocabulary = true;
  readMerges(folder / "merges.txt", document);
  const bool addsPrefixSpace = side.flag("add_prefix_space", false);
  const std::string className = side.className();
  const Json byteLevel = {{"type", "ByteLevel"}, {"add_prefix_space", addsPrefixSpace}, {"trim_offsets", false}, {"use_regex", true}};
  Json& rest = document.rest;
  rest = {{"normalizer", nullptr}, {"pre_tokenizer", byteLevel}, {"post_processor", byteLevel}, {"decoder", byteLevel}};
  rest["model"] = {{"type", "BPE"}};
  rest["added_tokens"] = side.addedTokens(document.vocabulary, {"<|endoftext|>"});
  if (className.starts_with("Qwen2")) {
    rest["normalizer"] = {{"type", "NFC"}};
    Json plain = byteLevel;
    plain["use_regex"] = false;
    rest["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"pattern", {{"Regex", kQwen2Pattern}}}, {"behavior", "Isolated"}, {"invert", false}}, plain}}};
  } else if (className.starts_with("Roberta")) {
    const auto pair = [&](const std::string& token) -> Json {
      if (document.vocabulary.idOf(token) < 0)
        throw Error("\"" + token + "\" goes around every text but is not in the vocabulary", vocab.string());
      return {token, document.vocabulary.idOf(token)};
    };
    rest["post_processor"] = {{"type", "RobertaProcessing"},
                              {"cls", pair(side.special("cls_token", "<s>"))},
                              {"sep", pair(side.special("sep_token", "</s>"))},
                              {"trim_offsets", true},
                              {"add_prefix_space", addsPrefixSpace}};
  } else if (!className.empty() && !className.starts_with("GPT2") && className != "PreTrainedTokenizerFast") {
    throw Error("tokenizer_class \"" + className + "\" is not supported without a tokenizer.json",
                (folder / "tokenizer_config.json").string(),
                "transformers' AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) writes one; or give token ids");
  } else if (side.flag("add_bos_token", false)) {
    rest["post_processor"] = templateOf(side.special("bos_token", "<|endoftext|>"), "", document.vocabulary, vocab.string());
  }
  return document;
}

TokenizerDocument readVocabTxt(const fs::path& folder) {
  const fs::path file = folder / "vocab.txt";
  const SideFiles side(folder);
  const std::string text = readTextFile(file, kLongestFile);
  if (!isValidUtf8(text)) throw Error("the file is not valid UTF-8", file.string());
  TokenizerDocument document;
  document.hasVocabulary = true;
  int64_t id = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    std::string_view row = std::string_view(text).substr(at, end - at);
    while (!row.empty() && (row.back() == '\r' || row.back() == ' ' || row.back() == '\t')) row.remove_suffix(1);
    document.vocabulary.add(row, id++, file.string());
    at = end + 1;
  }
  const std::string unknown = side.special("unk_token", "[UNK]"), cls = side.special("cls_token", "[CLS]"),
                    sep = side.special("sep_token", "[SEP]");
  if (document.vocabulary.idOf(unknown) < 0) {
    throw Error("\"" + unknown + "\" is not in the vocabulary", file.string(),
                "a WordPiece vocabulary has one piece a line, [UNK] among them");
  }
  Json normalizer = {{"type", "BertNormalizer"},
                     {"clean_text", true},
                     {"handle_chinese_chars", side.flag("tokenize_chinese_chars", true)},
                     {"strip_accents", nullptr},
                     {"lowercase", side.flag("do_lower_case", true)}};
  if (side.config.contains("strip_accents") && side.config["strip_accents"].is_boolean())
    normalizer["strip_accents"] = side.config["strip_accents"];
  Json& rest = document.rest;
  rest = {{"normalizer", normalizer},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}}};
  rest["model"] = {{"type", "WordPiece"}, {"unk_token", unknown}, {"continuing_subword_prefix", "##"}, {"max_input_chars_per_word", 100}};
  rest["post_processor"] = templateOf(cls, sep, document.vocabulary, file.string());
  rest["added_tokens"] = side.addedTokens(document.vocabulary, {"[PAD]", unknown, cls, sep, "[MASK]"});
  return document;
}

}  // namespace headscope::core
