#pragma once
// Activation names of config.json.
#include <string_view>

#include "core/model/config_reader.h"
#include "core/model/model_spec.h"

namespace headscope::core {

/// The activation that a config's field names (fallback when absent). Throws Error naming an unknown one.
Activation activationFromConfig(const ConfigReader& config, std::string_view key, std::string_view fallback);

}  // namespace headscope::core
