// Any bytes as a tokenizer.json: an Error or a tokenizer that encodes and decodes a short text.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/tokenizer/tokenizer.h"

namespace {

constexpr size_t kLongestInput = 1 << 16;
constexpr std::string_view kText = "Hello,  w\xC3\xB6rld e\xCC\x81 12\n<s>\xE4\xBD\xA0 \xF0\x9F\x99\x82 ab ab\t\xFF";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > kLongestInput) return 0;
  using namespace headscope::core;
  try {
    const auto tokenizer = Tokenizer::fromJson(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
    Job job;
    const Encoding encoding = tokenizer->encode(kText, true, job);
    std::vector<int32_t> ids;
    for (const Encoding::Entry& entry : encoding.entries) {
      ids.push_back(entry.id);
      tokenizer->bytesOf(entry.id);
      tokenizer->pieceOf(entry.id);
    }
    tokenizer->decode(ids);
  } catch (const Error&) {
    // what hostile input is supposed to end in
  }
  return 0;
}
