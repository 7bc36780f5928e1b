// Neuron detail: how one query's weights come about.
#include <algorithm>
#include <cmath>

#include "core/attention/attention_map.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/mechanism_words.h"
#include "views/neuron.h"
#include "views/token_text.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

int64_t queryOf(const ViewInput& input) {
  const int64_t query = input.selection.query, count = input.trace->count();
  return query >= 0 && query < count ? query : count - 1;
}

bool hasHead(const ViewInput& input) {
  return input.trace && input.selection.layer >= 0 && input.selection.layer < input.trace->layersRun() && input.selection.head >= 0 &&
         input.selection.head < input.trace->spec().heads;
}

// Each value's part of the output along the output's own direction; sums to 1.
void addShares(NeuronData& data, core::ConstMatrixView values) {
  std::vector<double> out(static_cast<size_t>(values.cols), 0.0);
  for (const NeuronKey& k : data.keys) {
    for (int64_t c = 0; c < values.cols; ++c) out[static_cast<size_t>(c)] += k.weight * values(k.key, c);
  }
  double norm = 0;
  for (const double v : out) norm += v * v;
  for (NeuronKey& k : data.keys) {
    double along = 0;
    for (int64_t c = 0; c < values.cols; ++c) along += values(k.key, c) * out[static_cast<size_t>(c)];
    k.share = norm > 0 ? k.weight * along / norm : 0;
  }
}

class NeuronView : public View {
 public:
  std::string_view name() const override { return "neuron"; }
  std::string_view title() const override { return "Neuron detail"; }
  bool isPerHead(const ViewInput&) const override { return true; }
  std::string subject(const ViewInput& input) const override {
    std::string out = replacedSubject(input, input.selection.ref());
    if (input.trace) out += ", query " + std::to_string(queryOf(input));
    return out;
  }

  std::string dataKey(const ViewInput& input, Size) const override {
    if (!hasHead(input)) return {};
    return "neuron:" + std::to_string(reinterpret_cast<uintptr_t>(input.trace.get())) + ":" + core::headName(input.selection.ref()) + ":" +
           std::to_string(queryOf(input));
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    const core::Trace& trace = *input.trace;
    const core::ModelSpec& spec = trace.spec();
    auto data = std::make_shared<NeuronData>();
    data->head = input.selection.ref(), data->query = queryOf(input);
    data->scale = spec.layer[static_cast<size_t>(data->head.layer)].attentionScale, data->softcap = spec.attentionSoftcap;
    data->modelName = trace.model().name();
    for (const core::Token& token : trace.prompt().tokens) data->labels.push_back(tokenLabel(token));
    const core::AttentionMap map(input.trace, data->head);
    const std::vector<float> row = map.row(data->query);
    data->mechanism = map.mechanism();
    for (int64_t j = 0; j < trace.count(); ++j) {
      if (j % 1024 == 0) job.checkpoint();
      const float weight = row[static_cast<size_t>(j)];
      if (map.isSeen(data->query, j, weight)) data->keys.push_back({j, map.score(data->query, j), weight, 0});
    }
    const int64_t kvHead = spec.kvHeadOf(data->head.head);
    const core::ConstMatrixView q = trace.query(data->head.layer, data->head.head), k = trace.key(data->head.layer, kvHead);
    data->queryVector = core::Matrix(1, q.cols);
    std::copy_n(q.row(data->query), q.cols, data->queryVector.data());
    data->keyVectors = core::Matrix(static_cast<int64_t>(data->keys.size()), k.cols);
    for (size_t i = 0; i < data->keys.size(); ++i)
      std::copy_n(k.row(data->keys[i].key), k.cols, data->keyVectors.row(static_cast<int64_t>(i)));
    data->keyTop = largestEntry(data->keyVectors);
    if (map.readsOwnValues()) {
      addShares(*data, trace.value(data->head.layer, kvHead));
    } else {
      for (NeuronKey& k : data->keys) k.share = std::nan("");
    }
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (const auto* neuron = dynamic_cast<const NeuronData*>(data); neuron != nullptr && input.trace) {
      return drawNeuron(*neuron, input.options, input.selection, frame);
    }
    return emptyFigure(frame.size, "How one query's weights come about, number by number",
                       input.trace ? "Computing" : "Open a model and type a sentence", frame.theme);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "query", "key", "key_token", "score", "weight", "output_share"}, {}};
    if (!hasHead(input)) return table;
    const auto held = std::dynamic_pointer_cast<const NeuronData>(compute(input, {}, job));
    for (const NeuronKey& k : held->keys) {
      table.rows.push_back({std::to_string(held->head.layer), std::to_string(held->head.head), std::to_string(held->query),
                            std::to_string(k.key), held->labels[static_cast<size_t>(k.key)], shortNumber(k.score, 7),
                            shortNumber(k.weight, 7), shortNumber(k.share, 7)});
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions&, core::Selection& selection) const override {
    if (!input.trace || gesture.kind != Gesture::Kind::Click) return false;
    if (gesture.pick.kind == Pick::Kind::KeyToken)
      selection.key = gesture.pick.a;
    else if (gesture.pick.kind == Pick::Kind::Value)
      selection.key = gesture.pick.b;
    else
      return false;
    return true;
  }
};

}  // namespace

const View& neuronView() {
  static const NeuronView view;
  return view;
}

}  // namespace headscope::views
