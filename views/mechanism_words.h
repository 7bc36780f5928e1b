#pragma once
// What the mechanism views read from options and say the same way.
#include <cstdint>
#include <string>
#include <vector>

#include "core/attention/head_name.h"
#include "core/session/session.h"
#include "views/view.h"

namespace headscope::views {

/// options.words["mechanism"], or the fallback, with the parameters that sliders moved (options.numbers by name).
std::string mechanismOf(const core::ViewOptions& options, const std::string& fallback);
/// The value that "name:a=1,b=2" gives a parameter; "" where it does not say.
std::string parameterIn(const std::string& word, const std::string& name);
/// Shows this mechanism exactly as spelled: what sliders said of its parameters before is forgotten.
void chooseMechanism(core::ViewOptions& options, const std::string& spelled);
/// What the mask studio and the comparison show: the chosen mechanism, or a local window of about a quarter of the prompt.
std::string shownMechanism(const ViewInput& input);
/// "head 3.2, local 64": what a pane says that it shows.
std::string shownSubject(const ViewInput& input);
/// Begins the data key of a view of one head under it: the trace, the head, the mechanism.
std::string shownKey(const ViewInput& input);
/// This kind at its standard parameters, its sizes no larger than a quarter of a prompt of this many tokens, so that it hides something.
std::string sizedMechanism(const std::string& name, int64_t count);
/// Every kind of the registry that is not the model's own attention, ";" between them, sized for a prompt of this many tokens
/// so that windows and ranks hide something.
std::string everyMechanism(int64_t count);
/// " (a what-if)" for DenseAttention, which no softmax checkpoint was trained for; "" for the others.
std::string whatIf(const std::string& mechanism);
/// " under local:window=64"; "" for "": what a head ran under, after its name.
std::string replacedWords(const std::string& mechanism);
/// "1.5", or "1.5 under local 64" where the trace ran the head so: what a pane says that it shows.
std::string replacedSubject(const ViewInput& input, core::HeadRef head);
/// "local:window=64" -> "local 64": the first number and what is not as it stands by itself, for tables.
std::string shortMechanism(const std::string& spelled);
double numberOf(const core::ViewOptions& options, const std::string& name, double fallback);
inline std::string headName(const core::Selection& selection) { return core::headName(selection.ref()); }
std::string joined(const std::vector<std::string>& notes);  // by "; "
/// 1536 -> "1.5 KiB".
std::string byteSize(double bytes);

}  // namespace headscope::views
