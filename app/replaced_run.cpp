#include "app/replaced_run.h"

#include <utility>

#include "app/cli/inputs.h"
#include "core/base/error.h"
#include "core/mechanisms/registry.h"
#include "core/mechanisms/replace.h"
#include "views/mechanism_words.h"

namespace headscope::app {

core::ForwardOptions replacedRun(std::shared_ptr<const core::Model> model, const std::string& mechanism, const std::string& heads,
                                 const std::string& where, std::shared_ptr<core::Backend> backend) {
  if (mechanism.empty()) {
    if (heads.empty()) return {};
    throw core::Error("heads " + heads + " are to be replaced, and no mechanism is given", where, "name one, as local:window=64");
  }
  const core::ModelSpec& spec = model->spec();
  const auto replaced = parseHeads(heads.empty() ? "all" : heads, spec.layers, spec.heads, where);
  return core::replacementFor(std::move(model), replaced, core::parseMechanism(mechanism), std::move(backend));
}

std::string replacedWords(const std::string& mechanism, const std::string& heads) {
  if (mechanism.empty()) return {};
  return (heads.empty() || heads == "all" ? std::string("all heads") : "heads " + heads) + " under " + mechanism + views::whatIf(mechanism);
}

}  // namespace headscope::app
