#include "core/tokenizer/tokenizer.h"

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/tokenizer/legacy_files.h"
#include "core/tokenizer/tokenizer_pipeline.h"

namespace headscope::core {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLongestFile = uint64_t{256} << 20;
constexpr const char* kConvert =
    "transformers' AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) writes tokenizer.json; or give token ids directly (--ids)";

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::fromJson(std::string_view json, const std::string& where) {
  return std::make_shared<TokenizerPipeline>(readTokenizerJson(json, where), where);
}

std::shared_ptr<const Tokenizer> Tokenizer::open(const fs::path& folder) {
  std::error_code code;
  const auto has = [&](const char* name) { return fs::is_regular_file(folder / name, code); };
  if (!fs::is_directory(folder, code)) throw Error("no such folder", folder.string());
  if (has("tokenizer.json")) {
    const fs::path file = folder / "tokenizer.json";
    return fromJson(readTextFile(file, kLongestFile), file.string());
  }
  if (has("vocab.json") && has("merges.txt"))
    return std::make_shared<TokenizerPipeline>(readVocabAndMerges(folder), (folder / "vocab.json").string());
  if (has("vocab.txt")) return std::make_shared<TokenizerPipeline>(readVocabTxt(folder), (folder / "vocab.txt").string());
  for (const char* name : {"tokenizer.model", "spiece.model", "sentencepiece.bpe.model"}) {
    if (has(name))
      throw Error(std::string("the folder has only ") + name + " (SentencePiece), which is not read", folder.string(), kConvert);
  }
  if (has("vocab.json")) throw Error("the folder has vocab.json but no merges.txt beside it", folder.string(), kConvert);
  throw Error("the folder has no tokenizer (tokenizer.json, vocab.json with merges.txt, or vocab.txt)", folder.string(), kConvert);
}

}  // namespace headscope::core
