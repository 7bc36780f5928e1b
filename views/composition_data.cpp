#include "views/composition_data.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/job.h"
#include "core/base/stoppable_sort.h"
#include "core/weights/cached_results.h"
#include "views/device.h"

namespace headscope::views {
namespace {

using core::CompositionKind;
constexpr uint64_t kLargeModel = uint64_t{2048} << 20;  // DeepSeek-V3's 61 layers of 128 heads: hours, with progress; beyond it is refused
constexpr int64_t kChangeCells = 256;                   // of the matrix of changes on a side

void findStrongest(CompositionData& data, const core::Job& job) {
  const core::Composition& c = data.scores;
  const int64_t n = data.layers * data.heads;
  for (int kind = 0; kind < 3; ++kind) {
    const auto k = static_cast<size_t>(kind);
    std::vector<uint32_t>& order = data.strongest[k];
    core::Matrix& matrix = data.excess[k];
    matrix = core::Matrix::zeros(n, n);
    for (int64_t from = 0; from < n; ++from) {
      job.checkpoint();
      for (int64_t to = (from / data.heads + 1) * data.heads; to < n; ++to) {
        const CompositionEdge e = data.edge(kind, static_cast<uint32_t>(from * n + to));
        matrix(from, to) = static_cast<float>(std::isnan(e.excess) ? e.excess : std::max(0.0, e.excess));
        if (e.excess > 0) order.push_back(static_cast<uint32_t>(from * n + to));
      }
    }
    const std::vector<float>& values = c.values[k];
    core::stoppableSort(
        order.begin(), order.end(),
        [&](uint32_t a, uint32_t b) {
          const float x = matrix.data()[a], y = matrix.data()[b];
          return x != y ? x > y : values[a] > values[b];
        },
        job);
  }
}

void findChanges(CompositionData& data, const core::Job& job) {
  const int64_t n = data.layers * data.heads, step = (n + kChangeCells - 1) / kChangeCells, cells = (n + step - 1) / step;
  for (size_t k = 0; k < 3; ++k) {
    const std::vector<float>&after = data.scores.values[k], &before = data.base->values[k];
    std::vector<uint32_t>& order = data.changed[k];
    core::Matrix& pooled = data.change[k];
    pooled = core::Matrix::zeros(cells, cells);
    for (int64_t from = 0; from < n; ++from) {
      job.checkpoint();
      for (int64_t to = (from / data.heads + 1) * data.heads; to < n; ++to) {
        const auto index = static_cast<size_t>(from * n + to);
        const float change = after[index] - before[index];
        if (std::isnan(change)) continue;
        float& cell = pooled(from / step, to / step);
        if (std::abs(change) > std::abs(cell)) cell = change;
        if (std::abs(change) > 1e-4f) order.push_back(static_cast<uint32_t>(index));  // less is rounding
      }
    }
    core::stoppableSort(
        order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return std::abs(after[a] - before[a]) > std::abs(after[b] - before[b]); },
        job);
  }
}

}  // namespace

CompositionEdge CompositionData::edge(int kind, uint32_t index) const {
  const auto n = static_cast<uint32_t>(layers * heads);
  const int64_t from = index / n, to = index % n;
  CompositionEdge e;
  e.kind = kind, e.from = {from / heads, from % heads}, e.to = {to / heads, to % heads};
  const auto k = static_cast<CompositionKind>(kind);
  e.value = scores.at(k, e.from.layer, e.from.head, e.to.layer, e.to.head);
  e.excess = e.value - scores.baseline(k, e.from.layer, e.from.head, e.to.layer, e.to.head);
  e.before = base ? base->at(k, e.from.layer, e.from.head, e.to.layer, e.to.head) : std::numeric_limits<double>::quiet_NaN();
  return e;
}

std::vector<CompositionEdge> CompositionData::edgesOf(int kind, core::HeadRef head) const {
  std::vector<CompositionEdge> edges;
  const int64_t n = layers * heads, own = head.layer * heads + head.head;
  for (int64_t other = 0; other < n; ++other) {
    if (other / heads < head.layer) edges.push_back(edge(kind, static_cast<uint32_t>(other * n + own)));
    if (other / heads > head.layer) edges.push_back(edge(kind, static_cast<uint32_t>(own * n + other)));
  }
  return edges;
}

ChosenEdges chooseEdges(const CompositionData& data, const EdgeChoice& choice) {
  ChosenEdges chosen;
  const auto sizeOf = [&](const CompositionEdge& e) { return choice.isChange ? std::abs(e.change()) : e.excess; };
  for (int kind = 0; kind < 3; ++kind) {
    if (choice.kind >= 0 && kind != choice.kind) continue;
    if (choice.isIsolated) {
      for (const CompositionEdge& e : data.edgesOf(kind, choice.isolated)) {
        if (sizeOf(e) > (choice.isChange ? 1e-4 : 0) && sizeOf(e) >= choice.least) chosen.edges.push_back(e), ++chosen.eligible;
      }
      continue;
    }
    const std::vector<uint32_t>& order = (choice.isChange ? data.changed : data.strongest)[static_cast<size_t>(kind)];
    const auto end =
        std::partition_point(order.begin(), order.end(), [&](uint32_t i) { return sizeOf(data.edge(kind, i)) >= choice.least; });
    chosen.eligible += static_cast<size_t>(end - order.begin());
    const auto last = std::min(end, order.begin() + static_cast<std::ptrdiff_t>(std::min(choice.most, order.size())));
    for (auto i = order.begin(); i != last; ++i) chosen.edges.push_back(data.edge(kind, *i));
  }
  std::stable_sort(chosen.edges.begin(), chosen.edges.end(),
                   [&](const CompositionEdge& a, const CompositionEdge& b) { return sizeOf(a) > sizeOf(b); });
  if (chosen.edges.size() > choice.most) chosen.edges.resize(choice.most);
  return chosen;
}

std::shared_ptr<const CompositionData> computeComposition(const ViewInput& input, core::Job& job, const View::ShowPart& show) {
  const core::Model& model = *input.model;
  const auto start = [&] {
    auto data = std::make_shared<CompositionData>();
    data->layers = model.spec().layers, data->heads = model.spec().heads;
    data->modelName = model.name();
    data->isFolded = core::defaultFold(model.spec()) == core::Fold::On;
    return data;
  };
  core::CompositionOptions options;
  options.fold = core::defaultFold(model.spec());
  options.backend = deviceOf(input);
  if (!core::fitsComposition(model.spec(), options)) options.memoryBytes = kLargeModel;
  const auto data = start();
  data->scores = core::cachedComposition(model, options, core::DiskCache::ofUser(), job);
  findStrongest(*data, job);
  if (model.adapter() == nullptr) return data;
  // The graph is there; what the adapter changed in it follows.
  if (show) show(data);
  const auto both = start();
  both->scores = data->scores, both->strongest = data->strongest;
  for (size_t k = 0; k < 3; ++k) both->excess[k] = data->excess[k].clone();
  both->base =
      std::make_shared<const core::Composition>(core::cachedComposition(*model.withoutAdapter(), options, core::DiskCache::ofUser(), job));
  findChanges(*both, job);
  return both;
}

}  // namespace headscope::views
