// Singular vectors in words: for the selected head's W_OV or W_QK, the vocabulary items that its top directions read and write.
// options.words: matrix ("W_OV" or "W_QK").
#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "core/base/error.h"
#include "core/tokenizer/tokenizer.h"
#include "core/weights/words.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/token_text.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr int64_t kDirections = 4, kTop = 10;

struct WordsData : ViewData {
  core::HeadWords words;
  core::HeadRef head;
  std::string modelName;
  std::vector<std::string> labels;  // of every id that is shown, by position in `ids`
  std::vector<int32_t> ids;
  std::string labelOf(int32_t id) const {
    const auto it = std::lower_bound(ids.begin(), ids.end(), id);
    return it != ids.end() && *it == id ? labels[static_cast<size_t>(it - ids.begin())] : "#" + std::to_string(id);
  }
};

core::Circuit circuitOf(const core::ViewOptions& options) {
  const auto it = options.words.find("matrix");
  return it != options.words.end() && it->second == "W_QK" ? core::Circuit::QK : core::Circuit::OV;
}

const char* nameOf(core::Circuit circuit) { return circuit == core::Circuit::QK ? "W_QK" : "W_OV"; }

void readLabels(WordsData& data, const core::Model& model) {
  for (const core::DirectionWords& d : data.words.directions) {
    for (const auto* list : {&d.readPositive, &d.readNegative, &d.writePositive, &d.writeNegative}) {
      for (const core::WordScore& w : *list) data.ids.push_back(w.id);
    }
  }
  std::sort(data.ids.begin(), data.ids.end());
  data.ids.erase(std::unique(data.ids.begin(), data.ids.end()), data.ids.end());
  std::shared_ptr<const core::Tokenizer> tokenizer;
  try {
    tokenizer = core::Tokenizer::open(model.folder());
  } catch (const core::Error&) {
    // A folder without a tokenizer shows ids.
  }
  for (const int32_t id : data.ids) data.labels.push_back(tokenizer ? visibleText(tokenizer->decode({id})) : "#" + std::to_string(id));
}

class WordsView : public View {
 public:
  std::string_view name() const override { return "words"; }
  std::string_view title() const override { return "Singular vectors in words"; }
  bool needsTrace() const override { return false; }
  bool isPerHead() const override { return true; }
  std::string subject(const ViewInput& input) const override {
    return std::string(nameOf(circuitOf(input.options))) + " of " + headName(input.selection.ref());
  }
  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.model || input.model->spec().input != core::InputKind::Tokens) return {};
    return "words:" + std::to_string(reinterpret_cast<uintptr_t>(input.model.get())) + ":" + subject(input);
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<WordsData>();
    data->head = input.selection.ref();
    data->modelName = input.model->name();
    data->words = core::headWords(*input.model, data->head, circuitOf(input.options), kDirections, kTop, job);
    readLabels(*data, *input.model);
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.model) return emptyFigure(frame.size, "What a head reads and writes, in words", "Open a model folder", frame.theme);
    if (input.model->spec().input != core::InputKind::Tokens) {
      return emptyFigure(frame.size, "What a head reads and writes, in words", "The model reads images: it has no vocabulary", frame.theme);
    }
    const auto* words = dynamic_cast<const WordsData*>(data);
    if (words == nullptr) return emptyFigure(frame.size, "What the head reads and writes, in words", "Computing", frame.theme);
    return drawColumns(*words, frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "matrix", "direction", "sigma", "side", "end", "id", "text", "score"}, {}};
    if (dataKey(input, {}).empty()) return table;
    const auto data = std::static_pointer_cast<const WordsData>(compute(input, {}, job));
    for (size_t i = 0; i < data->words.directions.size(); ++i) {
      const core::DirectionWords& d = data->words.directions[i];
      const auto add = [&](const std::vector<core::WordScore>& list, const char* side, const char* end) {
        for (const core::WordScore& w : list) {
          table.rows.push_back({std::to_string(data->head.layer), std::to_string(data->head.head), nameOf(data->words.circuit),
                                std::to_string(i + 1), shortNumber(d.sigma, 7), side, end, std::to_string(w.id), data->labelOf(w.id),
                                shortNumber(w.score, 7)});
        }
      };
      add(d.readPositive, "reads", "positive"), add(d.readNegative, "reads", "negative");
      add(d.writePositive, "writes", "positive"), add(d.writeNegative, "writes", "negative");
    }
    return table;
  }

 private:
  /// One column a direction and end: what is read, and under an arrow what is written.
  static Figure drawColumns(const WordsData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    Figure figure;
    figure.background = t.canvas;
    figure.title = "Singular vectors in words";
    const bool isQk = data.words.circuit == core::Circuit::QK;
    const size_t columns = data.words.directions.size() * 2;
    const double left = t.gap * 2, top = t.smallSize * 3.4, line = t.monoSize * 1.45;
    const double width = (frame.size.width - left - t.gap) / static_cast<double>(std::max<size_t>(1, columns));
    const double block = line * (kTop + 1.6);
    const double height = top + 2 * block + t.gap;
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : height};
    for (size_t c = 0; c < columns; ++c) {
      const core::DirectionWords& d = data.words.directions[c / 2];
      const bool isPositive = c % 2 == 0;
      const double x = left + static_cast<double>(c) * width;
      if (isPositive) {
        std::string head = std::to_string(c / 2 + 1) + "   " + shortNumber(d.sigma);
        const bool hasEqual = (c >= 2 && data.words.directions[c / 2 - 1].group == d.group) ||
                              (c / 2 + 1 < data.words.directions.size() && data.words.directions[c / 2 + 1].group == d.group);
        if (hasEqual) head += "  (one of equals)";
        figure.add(textAt({x, t.smallSize * 1.2}, head, t.heading(), t.ink, AnchorX::Left, AnchorY::Middle));
      }
      figure.add(textAt({x, t.smallSize * 2.8}, isPositive ? "+" : "\u2212", t.small(), t.inkSecond, AnchorX::Left, AnchorY::Middle));
      addList(figure, data, isPositive ? d.readPositive : d.readNegative, isQk ? "query" : "reads", {x, top, width - t.gap, block}, line,
              frame, t.query);
      addList(figure, data, isPositive ? d.writePositive : d.writeNegative, isQk ? "key" : "writes", {x, top + block, width - t.gap, block},
              line, frame, isQk ? t.key : t.value);
    }
    figure.caption = std::string("Top singular directions of ") + nameOf(data.words.circuit) + " of head " + headName(data.head) + " of " +
                     data.modelName + ": vocabulary items at both ends of what is " +
                     (isQk ? "matched on the query's and on the key's side" : "read and of what is written") + ", norm gains " +
                     (data.words.isFolded ? "folded" : "not folded") + "; a direction's sign is arbitrary, the two sides share it.";
    return figure;
  }

  static void addList(Figure& figure, const WordsData& data, const std::vector<core::WordScore>& list, const char* title, const Rect& area,
                      double line, const ViewFrame& frame, Color color) {
    const Theme& t = frame.theme;
    figure.add(textAt({area.x, area.y + line * 0.5}, title, t.small(), color, AnchorX::Left, AnchorY::Middle));
    double most = 1e-12;
    for (const core::WordScore& w : list) most = std::max(most, std::abs(w.score));
    for (size_t i = 0; i < list.size(); ++i) {
      const double y = area.y + line * (static_cast<double>(i) + 1.1);
      const std::string label = data.labelOf(list[i].id);
      figure.add(RectItem{{area.x, y, area.width * std::abs(list[i].score) / most, line - 1}, color.withAlpha(0.14)});
      TextItem text = textAt({area.x + 2, y + line / 2}, escapeMissing(label, FontFace::Mono, frame.measure), t.mono(), t.ink,
                             AnchorX::Left, AnchorY::Middle);
      text.maxWidth = area.width - 4;
      Item& item = figure.add(std::move(text));
      item.pick = {Pick::Kind::Value, list[i].id, -1, -1, label + "\nscore  " + shortNumber(list[i].score)};
    }
  }
};

}  // namespace

const View& wordsView() {
  static const WordsView view;
  return view;
}

}  // namespace headscope::views
