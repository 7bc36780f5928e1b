#pragma once
// ReplacedRun: what a session says about heads under another mechanism, as options of the forward pass: the window, `render` and
// `attend` read it the same way.
#include <memory>
#include <string>

#include "core/attention/forward.h"
#include "core/model/model.h"

namespace headscope::app {

/// Options under which these heads ("all", "3.1,4.*"; "": all) run under the mechanism; the standard ones where it is "".
/// backend: what runs the prompt; where it is a device, it computes what it can of the mechanism. Throws core::Error naming `where`.
core::ForwardOptions replacedRun(std::shared_ptr<const core::Model> model, const std::string& mechanism, const std::string& heads,
                                 const std::string& where, std::shared_ptr<core::Backend> backend);

/// "all heads under local:window=64", for people; "" where nothing is replaced.
std::string replacedWords(const std::string& mechanism, const std::string& heads);

}  // namespace headscope::app
