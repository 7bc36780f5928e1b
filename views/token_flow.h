#pragma once
// Token flow's picture, from plain data: the same text twice, lines from each query (left) to its keys (right), width and opacity by
// weight; and for long prompts the inline form: the text once, keys tinted by one query's weights.
#include <algorithm>
#include <string>
#include <vector>

#include "core/session/session.h"
#include "views/view.h"

namespace headscope::views {

struct FlowEdge {
  int32_t query = 0, key = 0;
  int32_t head = 0;  // index into heads
  float weight = 0;  // of signed maps the size over the head's largest
  bool isNegative = false;
};

struct TokenFlowData : ViewData {
  std::vector<core::HeadRef> heads;  // at most eight
  int64_t count = 0;                 // N
  std::vector<FlowEdge> edges;       // weight >= kSmallestFlow, ascending by weight; empty when only the inline form is possible
  int64_t dropped = 0;               // edges beyond the number kept
  std::vector<std::string> labels;   // [N]
  std::vector<bool> isSpecial;       // [N] or empty
  std::string modelName;
  std::vector<std::string> mechanisms;  // [heads] "local:window=64", "": the model's own attention
  std::vector<bool> isSigned;           // [heads] or empty: entries may be negative
  /// What the shown heads ran under, for the caption: " under local:window=64".
  std::string replaced() const;
  bool hasSigned() const { return std::find(isSigned.begin(), isSigned.end(), true) != isSigned.end(); }
};

inline constexpr float kSmallestFlow = 0.01f;
inline constexpr int64_t kMostFlowTokens = 256;  // more tokens than this have the inline form only

/// Inline weights of one query, from the selected head: [N], NaN where masked.
struct InlineRow {
  int64_t query = -1;
  std::vector<float> weights;
  bool isSigned = false;  // diverging colours
};

/// True where the two columns are drawn: asked for, or they fit.
bool isFlowInColumns(const core::ViewOptions& options, int64_t count, const ViewFrame& frame);

Figure drawTokenFlow(const TokenFlowData& data, const core::ViewOptions& options, const core::Selection& selection, const ViewFrame& frame);
Figure drawInlineFlow(const TokenFlowData& data, const InlineRow& row, const core::ViewOptions& options, const core::Selection& selection,
                      const ViewFrame& frame);

}  // namespace headscope::views
