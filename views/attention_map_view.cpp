// Attention map: one head's weights, queries down, keys across.
#include <algorithm>
#include <cmath>

#include "core/attention/attention_map.h"
#include "core/attention/effective_scores.h"
#include "core/base/error.h"
#include "views/attention_map.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/map_sampling.h"
#include "views/mechanism_words.h"
#include "views/token_text.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr double kMostTableCells = 4e6;    // of a CSV: some 200 MB
constexpr int64_t kReceivedTokens = 4096;  // beyond, a pass over all N^2 weights is too much for a strip

bool hasHead(const ViewInput& input) {
  return input.trace && input.selection.layer >= 0 && input.selection.layer < input.trace->layersRun() && input.selection.head >= 0 &&
         input.selection.head < input.trace->spec().heads;
}

MapSampling samplingOf(const ViewInput& input, Size size) {
  const int64_t count = input.trace->count();
  const double side = std::max(size.width, size.height > 0 ? std::min(size.width, size.height) : size.width) * 0.75;
  return sampleMap(visiblePart(input.options, count), count, side);
}

std::optional<CellDetail> detailAt(const ViewInput& input, const AttentionMapData& data, int64_t query, int64_t key) {
  if (query < 0 || key < 0 || query >= data.count || key >= data.count || input.trace->count() != data.count) return std::nullopt;
  CellDetail detail{query, key, 0, 0, 0};
  if (data.level > 0) {
    const int64_t row = (query - data.firstRow) / data.step(), col = (key - data.firstCol) / data.step();
    if (row < 0 || col < 0 || row >= data.values.rows() || col >= data.values.cols()) return std::nullopt;
    detail.weight = data.values(row, col);
    return detail;
  }
  const core::AttentionMap map(input.trace, data.head);
  const std::vector<float> row = map.row(query);
  detail.weight = row[static_cast<size_t>(key)];
  for (int64_t j = 0; j < data.count; ++j) {
    if (map.isSeen(query, j, row[static_cast<size_t>(j)])) ++detail.visible;
  }
  if (!map.isSeen(query, key, row[static_cast<size_t>(key)]))
    detail.weight = std::nan("");
  else
    detail.rank = 1 + std::count_if(row.begin(), row.end(), [&](float w) { return std::abs(w) > std::abs(detail.weight); });
  return detail;
}

class AttentionMapView : public View {
 public:
  std::string_view name() const override { return "attention_map"; }
  std::string_view title() const override { return "Attention map"; }
  bool isPerHead(const ViewInput&) const override { return true; }
  std::string subject(const ViewInput& input) const override { return replacedSubject(input, input.selection.ref()); }

  std::string dataKey(const ViewInput& input, Size size) const override {
    if (!hasHead(input)) return {};
    const MapSampling s = samplingOf(input, size);
    std::string key = "attention_map";
    for (const int64_t v : {reinterpret_cast<intptr_t>(input.trace.get()), static_cast<intptr_t>(input.selection.layer),
                            static_cast<intptr_t>(input.selection.head), static_cast<intptr_t>(s.level), static_cast<intptr_t>(s.firstRow),
                            static_cast<intptr_t>(s.rows), static_cast<intptr_t>(s.firstCol), static_cast<intptr_t>(s.cols)}) {
      key += ":" + std::to_string(v);
    }
    return key;
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size size, core::Job& job) const override {
    const core::Trace& trace = *input.trace;
    const core::AttentionMap map(input.trace, input.selection.ref());
    const MapSampling s = samplingOf(input, size);
    auto data = std::make_shared<AttentionMapData>();
    data->head = input.selection.ref();
    data->count = trace.count();
    data->level = s.level;
    data->firstRow = s.firstRow << s.level, data->firstCol = s.firstCol << s.level;
    data->values = map.tile({s.level, s.firstRow, s.rows, s.firstCol, s.cols, core::Pooling::Max}, job);
    job.report(0.8, "row statistics");
    data->mechanism = map.mechanism(), data->notes = map.notes(job), data->isSigned = map.isSigned();
    if (data->mechanism.empty()) {
      const auto entropy = trace.rows(data->head).entropy;
      data->entropy.assign(entropy.begin(), entropy.end());
    } else if (!data->isSigned && data->count <= kReceivedTokens) {
      data->entropy = effectiveEntropy(map, job);
    }
    if (data->isSigned)
      data->received.clear();  // mass that is no mass
    else if (s.level == 0 && s.rows == data->count && s.cols == data->count)
      data->received = columnSums(data->values);
    else if (data->count <= kReceivedTokens)
      data->received = map.received(job);
    data->labels.reserve(static_cast<size_t>(data->count));
    for (const core::Token& token : trace.prompt().tokens) {
      data->labels.push_back(tokenLabel(token));
      data->isSpecial.push_back(token.isSpecial);
    }
    data->modelName = trace.model().name();
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    const auto* map = dynamic_cast<const AttentionMapData*>(data);
    if (map == nullptr || !input.trace || map->count != input.trace->count()) {
      if (hasHead(input) || frame.progress >= 0) return loading(frame);
      return emptyFigure(frame.size, "The attention of one head, queries down and keys across", "Open a model and type a sentence",
                         frame.theme);
    }
    return drawAttentionMap(*map, input.options, input.selection, detailAt(input, *map, frame.hover.query, frame.hover.key), frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "query", "key", "query_token", "key_token", "weight"}, {}};
    if (!hasHead(input)) return table;
    const core::AttentionMap map(input.trace, input.selection.ref());
    const VisiblePart part = visiblePart(input.options, input.trace->count());
    const auto& tokens = input.trace->prompt().tokens;
    const auto first = [](double from) { return static_cast<int64_t>(std::floor(from)); };
    const auto last = [&](double from, double size) {
      return std::min(input.trace->count(), static_cast<int64_t>(std::ceil(from + size)));
    };
    const double shown = part.rows * part.cols;
    if (shown > kMostTableCells) {
      throw core::Error("a table of " + std::to_string(static_cast<int64_t>(shown)) + " weights is too long", std::string(name()),
                        "zoom in: only what is visible is written; headscope attend writes whole maps");
    }
    for (int64_t i = first(part.firstRow); i < last(part.firstRow, part.rows); ++i) {
      job.checkpoint();
      const std::vector<float> row = map.row(i);
      for (int64_t j = first(part.firstCol); j < last(part.firstCol, part.cols); ++j) {
        if (!map.isSeen(i, j, row[static_cast<size_t>(j)])) continue;
        table.rows.push_back({std::to_string(input.selection.layer), std::to_string(input.selection.head), std::to_string(i),
                              std::to_string(j), tokenLabel(tokens[static_cast<size_t>(i)]), tokenLabel(tokens[static_cast<size_t>(j)]),
                              shortNumber(row[static_cast<size_t>(j)], 7)});
      }
    }
    return table;
  }

  bool follow(const ViewInput& input, Size, core::ViewOptions& options) const override {
    return input.trace && followInMap(input.selection, input.trace->count(), options);
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    if (!input.trace) return false;
    if (gesture.kind == Gesture::Kind::Click) {
      if (gesture.pick.kind == Pick::Kind::Cell)
        selection.query = gesture.pick.a, selection.key = gesture.pick.b;
      else if (gesture.pick.kind == Pick::Kind::QueryToken)
        selection.query = gesture.pick.a;
      else if (gesture.pick.kind == Pick::Kind::KeyToken)
        selection.key = gesture.pick.a;
      else
        return false;
      return true;
    }
    return zoomMap(gesture, input.trace->count(), options);
  }

 private:
  static std::vector<float> columnSums(const core::Matrix& values) {
    std::vector<double> sums(static_cast<size_t>(values.cols()), 0.0);
    for (int64_t r = 0; r < values.rows(); ++r) {
      for (int64_t c = 0; c < values.cols(); ++c) sums[static_cast<size_t>(c)] += values(r, c);
    }
    return {sums.begin(), sums.end()};
  }

  static Figure loading(const ViewFrame& frame) {
    Figure figure;
    figure.size = frame.size, figure.background = frame.theme.canvas;
    const double side = std::min(frame.size.width, frame.size.height) * 0.6;
    const Rect plot{(frame.size.width - side) / 2, (frame.size.height - side) / 2, side, side};
    figure.add(RectItem{plot, frame.theme.panel, frame.theme.line, 0});
    figure.add(RectItem{{plot.x, plot.y, side, side * std::clamp(frame.progress, 0.0, 1.0)}, frame.theme.raised});
    return figure;
  }
};

}  // namespace

const View& attentionMapView() {
  static const AttentionMapView view;
  return view;
}

}  // namespace headscope::views
