// Token flow: lines from query tokens to key tokens.
#include <algorithm>
#include <cmath>

#include "core/attention/attention_map.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/mechanism_words.h"
#include "views/token_flow.h"
#include "views/token_text.h"
#include "views/value_scale.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr size_t kMostHeads = 8, kMostEdges = 6000;

// The brushed heads, at most eight; the selected one when none is brushed.
std::vector<core::HeadRef> headsOf(const ViewInput& input) {
  std::vector<core::HeadRef> heads;
  if (!input.trace) return heads;
  const auto isThere = [&](core::HeadRef h) {
    return h.layer >= 0 && h.layer < input.trace->layersRun() && h.head >= 0 && h.head < input.trace->spec().heads;
  };
  for (const core::HeadRef& head : input.selection.brushed) {
    if (isThere(head) && heads.size() < kMostHeads) heads.push_back(head);
  }
  if (heads.empty() && isThere(input.selection.ref())) heads.push_back(input.selection.ref());
  return heads;
}

InlineRow inlineRow(const ViewInput& input, core::HeadRef head, const ViewFrame& frame) {
  InlineRow row;
  const int64_t hovered = frame.isPaper ? -1 : frame.hover.query, count = input.trace->count();
  row.query = hovered >= 0 ? hovered : input.selection.query;
  if (row.query < 0 || row.query >= count) row.query = count - 1;
  const core::AttentionMap map(input.trace, head);
  row.weights = map.row(row.query);
  row.isSigned = map.isSigned();
  for (int64_t j = 0; j < count; ++j) {
    float& weight = row.weights[static_cast<size_t>(j)];
    if (!map.isSeen(row.query, j, weight)) weight = std::nanf("");
  }
  return row;
}

/// The lines of one head's map [N, N]. Weights of signed maps have no scale of their own: theirs is the largest.
void addEdges(const core::Matrix& values, size_t h, TokenFlowData& data) {
  float largest = 1;
  if (data.isSigned[h]) largest = static_cast<float>(scaleFor({}, values, 0, true).high);
  for (int64_t i = 0; i < data.count; ++i) {
    for (int64_t j = 0; j < data.count; ++j) {
      const float weight = std::abs(values(i, j)) / largest;
      if (weight >= kSmallestFlow)
        data.edges.push_back({static_cast<int32_t>(i), static_cast<int32_t>(j), static_cast<int32_t>(h), weight, values(i, j) < 0});
    }
  }
}

class TokenFlowView : public View {
 public:
  std::string_view name() const override { return "token_flow"; }
  std::string_view title() const override { return "Token flow"; }
  std::string subject(const ViewInput& input) const override {
    std::string out;
    const auto heads = headsOf(input);
    for (const core::HeadRef& head : heads)
      out += (out.empty() ? "" : ", ") + (heads.size() == 1 ? replacedSubject(input, head) : core::headName(head));
    return out;
  }

  std::string dataKey(const ViewInput& input, Size) const override {
    const auto heads = headsOf(input);
    if (heads.empty()) return {};
    std::string key = "token_flow:" + std::to_string(reinterpret_cast<uintptr_t>(input.trace.get()));
    for (const core::HeadRef& head : heads) key += ":" + core::headName(head);
    return key;
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<TokenFlowData>();
    data->heads = headsOf(input);
    data->count = input.trace->count();
    data->modelName = input.trace->model().name();
    for (const core::Token& token : input.trace->prompt().tokens) {
      data->labels.push_back(tokenLabel(token));
      data->isSpecial.push_back(token.isSpecial);
    }
    for (const core::HeadRef& head : data->heads) {
      const core::AttentionMap map(input.trace, head);
      data->mechanisms.push_back(map.mechanism()), data->isSigned.push_back(map.isSigned());
    }
    if (data->count > kMostFlowTokens) return data;
    for (size_t h = 0; h < data->heads.size(); ++h) {
      addEdges(core::AttentionMap(input.trace, data->heads[h]).tile({0, 0, data->count, 0, data->count, core::Pooling::Max}, job), h,
               *data);
      job.report(static_cast<double>(h + 1) / static_cast<double>(data->heads.size()));
    }
    std::stable_sort(data->edges.begin(), data->edges.end(), [](const FlowEdge& a, const FlowEdge& b) { return a.weight < b.weight; });
    if (data->edges.size() > kMostEdges) {
      data->dropped = static_cast<int64_t>(data->edges.size() - kMostEdges);
      data->edges.erase(data->edges.begin(), data->edges.end() - kMostEdges);
    }
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    const auto* flow = dynamic_cast<const TokenFlowData*>(data);
    if (flow == nullptr || !input.trace || flow->count != input.trace->count()) {
      if (input.trace) return emptyFigure(frame.size, "Lines from each token to the tokens it looks at", "Computing", frame.theme);
      return emptyFigure(frame.size, "Lines from each token to the tokens it looks at", "Open a model and type a sentence", frame.theme);
    }
    if (isFlowInColumns(input.options, flow->count, frame)) return drawTokenFlow(*flow, input.options, input.selection, frame);
    return drawInlineFlow(*flow, inlineRow(input, flow->heads.front(), frame), input.options, input.selection, frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "query", "key", "query_token", "key_token", "weight"}, {}};
    const auto& options = input.options;
    for (const core::HeadRef& head : headsOf(input)) {
      const core::AttentionMap map(input.trace, head);
      for (int64_t i = 0; i < input.trace->count(); ++i) {
        job.checkpoint();
        const std::vector<float> row = map.row(i);
        for (int64_t j = 0; j < input.trace->count(); ++j) {
          const float weight = row[static_cast<size_t>(j)];
          if (std::abs(weight) < (map.isSigned() ? 1e-12 : std::max<double>(options.threshold, kSmallestFlow))) continue;
          const auto& tokens = input.trace->prompt().tokens;
          table.rows.push_back({std::to_string(head.layer), std::to_string(head.head), std::to_string(i), std::to_string(j),
                                tokenLabel(tokens[static_cast<size_t>(i)]), tokenLabel(tokens[static_cast<size_t>(j)]),
                                shortNumber(weight, 7)});
        }
      }
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    if (!input.trace) return false;
    using Kind = Gesture::Kind;
    const double count = static_cast<double>(input.trace->count());
    if ((gesture.kind == Kind::Drag || gesture.kind == Kind::Click) && gesture.pick.kind == Pick::Kind::Control &&
        gesture.pick.bounds.width > 0) {
      const double f = std::clamp((gesture.at.x - gesture.pick.bounds.x) / gesture.pick.bounds.width, 0.0, 1.0);
      options.threshold = std::max<double>(kSmallestFlow, std::round(f * f * 1000) / 1000);
      return true;
    }
    if (gesture.kind == Kind::Click && (gesture.pick.kind == Pick::Kind::QueryToken || gesture.pick.kind == Pick::Kind::KeyToken)) {
      (gesture.pick.kind == Pick::Kind::QueryToken ? selection.query : selection.key) = gesture.pick.a;
      return true;
    }
    if (gesture.kind == Kind::Wheel) {
      options.firstRow = std::clamp(options.firstRow - 3 * gesture.delta.y, 0.0, std::max(0.0, count - 1));
      return true;
    }
    if (gesture.kind == Kind::DoubleClick) {
      options.firstRow = 0;
      return true;
    }
    return false;
  }
};

}  // namespace

const View& tokenFlowView() {
  static const TokenFlowView view;
  return view;
}

}  // namespace headscope::views
