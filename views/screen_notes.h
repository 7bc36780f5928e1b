#pragma once
// What weight views say on screen beside the picture: whether norms are folded into the weights, and which tensors are broken. On paper the
// caption says both.
#include <string>
#include <vector>

#include "core/model/model.h"
#include "views/figure/figure.h"
#include "views/view.h"

namespace headscope::views {

/// "norms folded", "norms not folded": as weights are seen wherever folding is allowed.
std::string foldWords(const core::Model& model);

/// Points at the figure's lower end that the notes take; 0 on paper and without notes.
double screenNotesHeight(const std::vector<std::string>& notes, const ViewFrame& frame);
/// The first note at the figure's lower left, on one line, with all of them in its tip. Nothing on paper or without notes.
void addScreenNotes(Figure& figure, const std::vector<std::string>& notes, const ViewFrame& frame);

}  // namespace headscope::views
