// Head grid: every head of the model as a small map.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "core/attention/attention_map.h"
#include "core/base/parallel.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/head_grid.h"
#include "views/map_sampling.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr double kMapCells = 96;  // a small map is at most this many cells a side

class HeadGridView : public View {
 public:
  std::string_view name() const override { return "head_grid"; }
  std::string_view title() const override { return "Head grid"; }
  std::string subject(const ViewInput& input) const override {
    return input.options.sortBy.empty() ? std::string() : "by " + input.options.sortBy;
  }

  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.trace) return {};
    return "head_grid:" + std::to_string(reinterpret_cast<uintptr_t>(input.trace.get()));
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    const core::Trace& trace = *input.trace;
    auto data = std::make_shared<HeadGridData>();
    data->layers = trace.layersRun(), data->heads = trace.spec().heads;
    data->count = trace.count();
    data->level = levelFor(static_cast<double>(data->count), kMapCells);
    data->modelName = trace.model().name();
    const int64_t all = data->layers * data->heads;
    data->maps.resize(static_cast<size_t>(all));
    data->limits.assign(static_cast<size_t>(all), 0), data->limitsAll.assign(static_cast<size_t>(all), 0);
    data->caches = std::vector<MapImageCache>(static_cast<size_t>(all));
    if (trace.effectiveMaps() != nullptr) {
      for (int64_t index = 0; index < all; ++index) {
        const core::AttentionMap map(input.trace, {index / data->heads, index % data->heads});
        data->mechanisms.push_back(map.mechanism()), data->isSigned.push_back(map.isSigned());
      }
    }
    std::atomic<int64_t> done{0};
    core::parallelFor(
        all,
        [&](int64_t index) {
          const core::HeadRef head{index / data->heads, index % data->heads};
          const core::AttentionMap map(input.trace, head);
          const int64_t cells = map.sizeAt(data->level);
          core::Matrix values = map.tile({data->level, 0, cells, 0, cells, core::Pooling::Max}, job);
          const auto slot = static_cast<size_t>(index);
          data->limits[slot] = scaleFor({}, values, cells > 1 ? 1 : 0, map.isSigned()).high;
          data->limitsAll[slot] = scaleFor({}, values, 0, map.isSigned()).high;
          data->maps[slot] = std::move(values);
          job.report(static_cast<double>(++done) / static_cast<double>(all),
                     "head " + std::to_string(done.load()) + " of " + std::to_string(all));
        },
        &job);
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (const auto* grid = dynamic_cast<const HeadGridData*>(data); grid != nullptr && input.trace) {
      return drawHeadGrid(*grid, input.options, input.selection, input.scores.get(), frame);
    }
    if (input.model) return drawHeadGridLoading(input.model->spec().layers, input.model->spec().heads, input.selection, frame);
    return emptyFigure(frame.size, "Every head of a model as a small map", "Open a model folder", frame.theme);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head"}, {}};
    if (!input.trace) return table;
    std::shared_ptr<const core::HeadScores> scores = input.scores;
    if (!scores) scores = std::make_shared<core::HeadScores>(core::headScores(*input.trace, false, job));
    for (const std::string& name : scores->names()) table.columns.push_back(name);
    for (int64_t layer = 0; layer < scores->layers(); ++layer) {
      for (int64_t head = 0; head < scores->heads(); ++head) {
        std::vector<std::string> row{std::to_string(layer), std::to_string(head)};
        for (const std::string& name : scores->names()) row.push_back(shortNumber(scores->at(name, {layer, head}), 7));
        table.rows.push_back(std::move(row));
      }
    }
    return table;
  }

  bool follow(const ViewInput& input, Size size, core::ViewOptions& options) const override {
    if (!input.model) return false;
    const core::ModelSpec& spec = input.model->spec();
    const HeadGridLayout layout = layOutHeadGrid(spec.layers, spec.heads, options, size, false);
    const auto order = headOrder(spec.layers, spec.heads, input.scores.get(), options.sortBy);
    const int64_t layer = input.selection.layer;
    if (layer < 0 || layer >= spec.layers) return false;
    const auto& row = order[static_cast<size_t>(layer)];
    const int64_t column = std::find(row.begin(), row.end(), input.selection.head) - row.begin();
    const auto moved = [](int64_t at, int64_t first, int64_t shown, int64_t all) {
      return at >= first && at < first + shown ? first : std::clamp<int64_t>(at - shown / 2, 0, all - shown);
    };
    const int64_t firstLayer = moved(layer, layout.firstLayer, layout.layers, spec.layers);
    const int64_t firstHead = moved(column, layout.firstHead, layout.heads, spec.heads);
    if (firstLayer == layout.firstLayer && firstHead == layout.firstHead) return false;
    options.firstRow = static_cast<double>(firstLayer), options.firstCol = static_cast<double>(firstHead);
    return true;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size size, core::ViewOptions& options,
              core::Selection& selection) const override {
    if (!input.model) return false;
    const core::ModelSpec& spec = input.model->spec();
    const HeadGridLayout layout = layOutHeadGrid(spec.layers, spec.heads, options, size, false);
    using Kind = Gesture::Kind;
    if (gesture.kind == Kind::Click && gesture.pick.kind == Pick::Kind::Head) {
      selection.layer = gesture.pick.a, selection.head = gesture.pick.b;
      selection.brushed.clear();
      return true;
    }
    if (gesture.kind == Kind::Wheel && (layout.layers < spec.layers || layout.heads < spec.heads)) {
      if (layout.layers < spec.layers)
        options.firstRow =
            std::clamp(static_cast<double>(layout.firstLayer) - gesture.delta.y, 0.0, static_cast<double>(spec.layers - layout.layers));
      options.firstCol =
          std::clamp(static_cast<double>(layout.firstHead) - gesture.delta.x - (layout.layers < spec.layers ? 0 : gesture.delta.y), 0.0,
                     static_cast<double>(spec.heads - layout.heads));
      return true;
    }
    if (gesture.kind == Kind::Drag && !gesture.isPan) return brush(gesture, input, layout, options, selection);
    return false;
  }

 private:
  static bool brush(const Gesture& gesture, const ViewInput& input, const HeadGridLayout& layout, const core::ViewOptions& options,
                    core::Selection& selection) {
    const core::ModelSpec& spec = input.model->spec();
    const auto order = headOrder(spec.layers, spec.heads, input.scores.get(), options.sortBy);
    const double x0 = std::min(gesture.start.x, gesture.at.x), x1 = std::max(gesture.start.x, gesture.at.x);
    const double y0 = std::min(gesture.start.y, gesture.at.y), y1 = std::max(gesture.start.y, gesture.at.y);
    std::vector<core::HeadRef> heads;
    for (int64_t row = layout.firstLayer; row < layout.firstLayer + layout.layers; ++row) {
      for (int64_t col = layout.firstHead; col < layout.firstHead + layout.heads; ++col) {
        const Rect cell = layout.cellAt(row, col);
        if (cell.right() >= x0 && cell.x <= x1 && cell.bottom() >= y0 && cell.y <= y1)
          heads.push_back({row, order[static_cast<size_t>(row)][static_cast<size_t>(col)]});
      }
    }
    std::sort(heads.begin(), heads.end());
    selection.brushed = heads;
    if (!heads.empty()) selection.layer = heads.front().layer, selection.head = heads.front().head;
    return true;
  }
};

}  // namespace

const View& headGridView() {
  static const HeadGridView view;
  return view;
}

}  // namespace headscope::views
