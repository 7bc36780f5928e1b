#pragma once
// Class names: what a classifier's classes are called, for people.
#include <string>
#include <vector>

#include "core/model/model.h"

namespace headscope::core {

/// id2label of the folder's config.json, [classes]; "" for a class without a name. Reads the file again.
std::vector<std::string> classNames(const Model& model);

}  // namespace headscope::core
