#include "core/model/families/family.h"

#include <algorithm>
#include <array>

namespace headscope::core {
namespace {

const std::array kFamilies = {&kBertFamily,  &kDeepseekV2Family, &kDeepseekV3Family, &kGemma2Family, &kGpt2Family, &kGptNeoxFamily,
                              &kLlamaFamily, &kMistralFamily,    &kQwen2Family,      &kQwen3Family,  &kVitFamily};

}  // namespace

const Family* findFamily(std::string_view modelType) {
  for (const Family* family : kFamilies) {
    if (std::find(family->modelTypes.begin(), family->modelTypes.end(), modelType) != family->modelTypes.end()) return family;
  }
  return nullptr;
}

std::string knownFamilies() {
  std::vector<std::string_view> all;
  for (const Family* family : kFamilies) all.insert(all.end(), family->modelTypes.begin(), family->modelTypes.end());
  std::sort(all.begin(), all.end());
  std::string text;
  for (const std::string_view name : all) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

}  // namespace headscope::core
