#pragma once
// The composition view's pictures: the graph, one or three, and the matrix of all pairs.
#include "core/attention/head_name.h"
#include "views/composition_data.h"
#include "views/option_values.h"

namespace headscope::views {

inline constexpr int64_t kMatrixControl = 10;  // Pick::a of a matrix; its plot is Pick::within

/// 0 q, 1 k, 2 v, -1 all.
int compositionKind(const core::ViewOptions& options);
inline bool isChange(const core::ViewOptions& options) { return wordIn(options, "edges", "strength") == "change"; }
inline bool isIsolated(const core::ViewOptions& options) { return numberIn(options, "isolate", 0) > 0; }
double leastIn(const core::ViewOptions& options);
EdgeChoice choiceOf(const ViewInput& input);

struct MatrixCell {
  core::HeadRef from, to;
};
MatrixCell cellAt(Point at, const Rect& plot, int64_t layers, int64_t heads);

/// Picture and caption of what the options ask for.
void drawComposition(Figure& figure, const ViewInput& input, const CompositionData& data, const ViewFrame& frame, const Rect& area);

}  // namespace headscope::views
