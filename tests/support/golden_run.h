#pragma once
// Runs a golden model (or adapter) on its golden prompt and measures how far everything is from the reference.
#include <filesystem>
#include <memory>
#include <string>

#include "core/attention/trace.h"
#include "core/backend/backend.h"
#include "core/checkpoint/checkpoint.h"
#include "core/model/model.h"

namespace headscope::tests {

/// golden.safetensors of a model's or adapter's folder.
std::shared_ptr<const core::SafetensorsFile> openGolden(const std::filesystem::path& folder);
/// ids with token_type_ids, or pixel_values, as a prompt.
std::shared_ptr<const core::Prompt> goldenPrompt(const core::SafetensorsFile& golden, const core::ModelSpec& spec);
/// A float tensor's elements.
std::vector<float> floatsOf(const core::SafetensorsFile& file, const std::string& name);
std::vector<double> doublesOf(const core::SafetensorsFile& file, const std::string& name);

struct GoldenDifferences {
  double attention = 0;           // largest absolute
  bool isMaskExact = true;        // entries that are 0 in the reference because of the mask are 0
  double hidden = 0, logits = 0;  // largest, relative to the tensor's largest value
};

/// Compares all maps (read tile by tile), hidden states and logits with the reference.
GoldenDifferences compareWithGolden(std::shared_ptr<const core::Trace> trace, const core::SafetensorsFile& golden);
/// One line of a table: "llama2   2.1e-07  1.3e-07  2.0e-07".
std::string tableLine(const std::string& name, const GoldenDifferences& differences);

}  // namespace headscope::tests
