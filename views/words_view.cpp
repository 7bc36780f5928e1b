// Singular vectors in words: for the selected head's W_OV or W_QK, the vocabulary items that its top directions read and write, and
// the tokens of the prompt that lie furthest along them.
// options.words: matrix ("W_OV" or "W_QK"). options.numbers: first (first direction shown, from 0; the wheel moves it).
#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "core/base/error.h"
#include "core/tokenizer/prompt_builder.h"
#include "core/tokenizer/tokenizer.h"
#include "views/device.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/figure_slider.h"
#include "views/option_values.h"
#include "views/screen_notes.h"
#include "views/token_text.h"
#include "views/view_list.h"
#include "views/words_data.h"

namespace headscope::views {
namespace {

constexpr int64_t kDirections = 8, kTop = 10, kPromptTop = 4;
constexpr int64_t kMatrixButton = 1, kNextButton = 2;

core::Circuit circuitOf(const core::ViewOptions& options) {
  return wordIn(options, "matrix", "W_OV") == "W_QK" ? core::Circuit::QK : core::Circuit::OV;
}

const char* nameOf(core::Circuit circuit) { return circuit == core::Circuit::QK ? "W_QK" : "W_OV"; }

bool hasPrompt(const ViewInput& input) { return input.trace && input.selection.layer < input.trace->layersRun(); }

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
  for (const int32_t id : data.ids) data.labels.push_back(tokenLabel(core::tokenOf(tokenizer.get(), id)));
}

/// What is listed in a column: a word of the vocabulary, or a token of the prompt.
struct Entry {
  std::string label, tip;
  double score = 0;
  int64_t token = -1;  // position in the prompt; -1: of the vocabulary
};

std::vector<Entry> wordEntries(const WordsData& data, const std::vector<core::WordScore>& list) {
  std::vector<Entry> entries;
  for (const core::WordScore& w : list) {
    const std::string label = data.labelOf(w.id);
    entries.push_back({label, label + "\nscore  " + shortNumber(w.score), w.score, -1});
  }
  return entries;
}

/// The prompt's tokens furthest along a direction, on one of its ends; those on the other end are left out.
std::vector<Entry> promptEntries(const WordsData& data, const std::vector<float>& projections, bool isPositive) {
  std::vector<size_t> order;
  for (size_t i = 0; i < projections.size() && i < data.tokens.size(); ++i) {
    if (isPositive ? projections[i] > 0 : projections[i] < 0) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return std::abs(projections[a]) > std::abs(projections[b]); });
  order.resize(std::min(order.size(), static_cast<size_t>(kPromptTop)));
  std::vector<Entry> entries;
  for (const size_t i : order) {
    const std::string tip = data.tokens[i] + "  " + std::to_string(i) + "\nalong the direction  " + shortNumber(projections[i]);
    entries.push_back({data.tokens[i], tip, projections[i], static_cast<int64_t>(i)});
  }
  return entries;
}

class WordsView : public View {
 public:
  std::string_view name() const override { return "words"; }
  std::string_view title() const override { return "Singular vectors in words"; }
  bool needsTrace() const override { return false; }
  bool isPerHead(const ViewInput&) const override { return true; }
  std::string whyNot(const core::ModelSpec& spec) const override {
    return spec.input == core::InputKind::Tokens ? "" : "This model reads images: it has no vocabulary";
  }
  std::string subject(const ViewInput& input) const override {
    return std::string(nameOf(circuitOf(input.options))) + " of " + core::headName(input.selection.ref()) +
           (input.model ? ", " + foldWords(*input.model) : std::string());
  }
  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.model || input.model->spec().input != core::InputKind::Tokens) return {};
    return "words:" + std::to_string(reinterpret_cast<uintptr_t>(input.model.get())) + ":" + subject(input) + ":" +
           (hasPrompt(input) ? std::to_string(reinterpret_cast<uintptr_t>(input.trace.get())) : "");
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<WordsData>();
    data->head = input.selection.ref();
    data->modelName = input.model->name();
    const core::Circuit circuit = circuitOf(input.options);
    const auto device = deviceOf(input);
    if (device) device->keepWeights(input.model);
    data->words = core::headWords(*input.model, data->head, circuit, kDirections, kTop, job, device.get());
    readLabels(*data, *input.model);
    if (hasPrompt(input)) {
      job.report(0.7, "the prompt's tokens");
      data->prompt = core::promptProjections(*input.trace, data->head, circuit, kDirections, job);
      for (const core::Token& token : input.trace->prompt().tokens) data->tokens.push_back(tokenLabel(token));
    }
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.model) return emptyFigure(frame.size, "What a head reads and writes, in words", "Open a model folder", frame.theme);
    if (const std::string why = whyNot(input.model->spec()); !why.empty()) {
      return emptyFigure(frame.size, "What a head reads and writes, in words", why, frame.theme);
    }
    const auto* words = dynamic_cast<const WordsData*>(data);
    if (words == nullptr) return emptyFigure(frame.size, "What the head reads and writes, in words", "Computing", frame.theme);
    return drawColumns(input, *words, frame);
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
      const auto addPrompt = [&](const std::vector<float>& projections, const char* side) {
        for (size_t n = 0; n < projections.size(); ++n) {
          table.rows.push_back({std::to_string(data->head.layer), std::to_string(data->head.head), nameOf(data->words.circuit),
                                std::to_string(i + 1), shortNumber(d.sigma, 7), side, projections[n] < 0 ? "negative" : "positive",
                                std::to_string(n), data->tokens[n], shortNumber(projections[n], 7)});
        }
      };
      if (i < data->prompt.size()) addPrompt(data->prompt[i].read, "prompt reads"), addPrompt(data->prompt[i].matched, "prompt key");
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    if (!input.model) return false;
    using Kind = Gesture::Kind;
    const auto move = [&](double by) {
      options.numbers["first"] = std::clamp(std::round(numberIn(options, "first", 0) + by), 0.0, static_cast<double>(kDirections - 1));
      return true;
    };
    if (gesture.kind == Kind::Wheel) return move(gesture.delta.y > 0 ? -1 : 1);
    if (gesture.kind != Kind::Click) return false;
    if (gesture.pick.kind == Pick::Kind::Token) {
      selection.query = gesture.pick.a;
      return true;
    }
    if (gesture.pick.kind != Pick::Kind::Control) return false;
    if (gesture.pick.a == kMatrixButton) options.words["matrix"] = gesture.pick.b == 0 ? "W_OV" : "W_QK";
    return gesture.pick.a == kNextButton ? move(gesture.pick.b == 0 ? -1 : 1) : gesture.pick.a == kMatrixButton;
  }

 private:
  /// What fits: directions across (two columns each), words down.
  struct Fit {
    int64_t first = 0, shown = 1, rows = kTop, promptRows = 0;
    double left = 0, top = 0, column = 0, line = 0, gap = 0;
  };

  static Fit fitTo(const ViewInput& input, const WordsData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const auto count = static_cast<int64_t>(data.words.directions.size());
    Fit fit;
    fit.gap = frame.isPaper ? t.gap : t.gap;
    fit.left = frame.isPaper ? 0 : t.gap * 2;
    const double least = 2 * (t.monoSize * 6.6 + fit.gap), room = frame.size.width - 2 * fit.left;
    fit.shown = std::clamp<int64_t>(static_cast<int64_t>((room + fit.gap) / least), 1, std::min<int64_t>(std::max<int64_t>(count, 1), 4));
    fit.first = static_cast<int64_t>(
        std::clamp(numberIn(input.options, "first", 0), 0.0, static_cast<double>(std::max<int64_t>(0, count - fit.shown))));
    fit.column = (room + fit.gap) / static_cast<double>(2 * fit.shown) - fit.gap;
    fit.top = (frame.isPaper ? 0 : 26) + t.headingSize * 1.7;
    fit.line = t.monoSize * 1.45;
    fit.promptRows = data.prompt.empty() ? 0 : kPromptTop;
    if (frame.size.height > 0) {  // fewer words in a low pane, the prompt's tokens last
      const double blocks = (frame.size.height - fit.top - t.gap) / 2 / fit.line - 2.2 - (fit.promptRows > 0 ? fit.promptRows + 1.2 : 0);
      fit.rows = std::clamp<int64_t>(static_cast<int64_t>(blocks), 2, kTop);
    }
    return fit;
  }

  static Figure drawColumns(const ViewInput& input, const WordsData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const Fit fit = fitTo(input, data, frame);
    const bool isQk = data.words.circuit == core::Circuit::QK;
    Figure figure;
    figure.background = t.canvas;
    figure.title = "Singular vectors in words";
    const double promptBlock = fit.promptRows > 0 ? fit.line * (static_cast<double>(fit.promptRows) + 1.3) : 0;
    const double words = fit.line * (static_cast<double>(fit.rows) + 1.5), upper = words + promptBlock;
    const double lower = words + (isQk ? promptBlock : 0);
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : fit.top + upper + lower};
    for (int64_t c = 0; c < 2 * fit.shown && fit.first + c / 2 < static_cast<int64_t>(data.words.directions.size()); ++c) {
      const auto index = static_cast<size_t>(fit.first + c / 2);
      const core::DirectionWords& d = data.words.directions[index];
      const bool isPositive = c % 2 == 0;
      const double x = fit.left + static_cast<double>(c) * (fit.column + fit.gap), headY = fit.top - t.headingSize * 0.9;
      if (isPositive) addHeading(figure, data, index, {x, headY}, 2 * fit.column, t);
      const std::string end = isPositive ? " +" : " \u2212";
      double y = fit.top;
      addList(figure, wordEntries(data, isPositive ? d.readPositive : d.readNegative), (isQk ? "query" : "reads") + end,
              {x, y, fit.column, 0}, fit.rows, fit.line, frame, t.query);
      y += words;
      if (index < data.prompt.size() && fit.promptRows > 0) {
        addList(figure, promptEntries(data, data.prompt[index].read, isPositive), "in the prompt", {x, y, fit.column, 0}, fit.promptRows,
                fit.line, frame, t.specialInk);
        y += promptBlock;
      }
      addList(figure, wordEntries(data, isPositive ? d.writePositive : d.writeNegative), (isQk ? "key" : "writes") + end,
              {x, y, fit.column, 0}, fit.rows, fit.line, frame, isQk ? t.key : t.value);
      y += words;
      if (isQk && index < data.prompt.size() && fit.promptRows > 0)
        addList(figure, promptEntries(data, data.prompt[index].matched, isPositive), "in the prompt", {x, y, fit.column, 0}, fit.promptRows,
                fit.line, frame, t.specialInk);
    }
    if (!frame.isPaper) addControls(figure, input, data, fit, frame);
    figure.caption = std::string("Top singular directions of ") + nameOf(data.words.circuit) + " of head " + core::headName(data.head) +
                     " of " + data.modelName + " with their singular values: vocabulary items at both ends of what is " +
                     (isQk ? "matched on the query's and on the key's side" : "read and of what is written") +
                     (fit.promptRows > 0 ? ", and the prompt's tokens furthest along it" : "") + "; norm gains " +
                     (data.words.isFolded ? "folded" : "not folded") + "; a direction's sign is arbitrary, the two sides share it.";
    return figure;
  }

  static void addHeading(Figure& figure, const WordsData& data, size_t index, Point at, double width, const Theme& t) {
    const auto& all = data.words.directions;
    const bool hasEqual =
        (index > 0 && all[index - 1].group == all[index].group) || (index + 1 < all.size() && all[index + 1].group == all[index].group);
    TextItem head =
        textAt(at, std::to_string(index + 1) + "   \u03c3 " + shortNumber(all[index].sigma) + (hasEqual ? "  (one of equals)" : ""),
               t.heading(), t.ink, AnchorX::Left, AnchorY::Middle);
    head.maxWidth = width;
    figure.add(std::move(head));
  }

  static void addControls(Figure& figure, const ViewInput& input, const WordsData& data, const Fit& fit, const ViewFrame& frame) {
    const double y = 15, gap = frame.theme.gap * 2;
    const bool isQk = circuitOf(input.options) == core::Circuit::QK;
    double x = addWordButton(figure, kMatrixButton, 0, {fit.left, y}, "W_OV", !isQk, "What the head reads and writes", frame) + gap;
    x = addWordButton(figure, kMatrixButton, 1, {x, y}, "W_QK", isQk, "What queries look for and what keys offer", frame) + 2 * gap;
    const auto count = static_cast<int64_t>(data.words.directions.size());
    if (count <= fit.shown) return;
    x = addWordButton(figure, kNextButton, 0, {x, y}, "\u2190", false, "Stronger directions; the wheel does it too", frame) +
        frame.theme.gap;
    const std::string words =
        "directions " + std::to_string(fit.first + 1) + " to " + std::to_string(fit.first + fit.shown) + " of " + std::to_string(count);
    figure.addOverlay(textAt({x, y}, words, frame.theme.small(), frame.theme.inkSecond, AnchorX::Left, AnchorY::Middle));
    x += frame.measure.width(words, frame.theme.small()) + frame.theme.gap;
    addWordButton(figure, kNextButton, 1, {x, y}, "\u2192", false, "Weaker directions; the wheel does it too", frame);
  }

  static void addList(Figure& figure, const std::vector<Entry>& list, const std::string& title, const Rect& area, int64_t rows, double line,
                      const ViewFrame& frame, Color color) {
    const Theme& t = frame.theme;
    figure.add(textAt({area.x, area.y + line * 0.5}, title, t.small(), color, AnchorX::Left, AnchorY::Middle));
    double most = 1e-12;
    for (const Entry& entry : list) most = std::max(most, std::abs(entry.score));
    for (size_t i = 0; i < list.size() && i < static_cast<size_t>(rows); ++i) {
      const double y = area.y + line * (static_cast<double>(i) + 1.1);
      figure.add(RectItem{{area.x, y, area.width * std::abs(list[i].score) / most, line - 1}, color.withAlpha(0.16)});
      TextItem text = textAt({area.x + 2, y + line / 2}, escapeMissing(list[i].label, FontFace::Mono, frame.measure), t.mono(), t.ink,
                             AnchorX::Left, AnchorY::Middle);
      text.maxWidth = area.width - 4;
      figure.add(std::move(text));
      const Pick::Kind kind = list[i].token >= 0 ? Pick::Kind::Token : Pick::Kind::Value;
      figure.content.push_back(pickArea({area.x, y, area.width, line}, {kind, std::max<int64_t>(list[i].token, 0), -1, -1, list[i].tip}));
    }
  }
};

}  // namespace

const View& wordsView() {
  static const WordsView view;
  return view;
}

}  // namespace headscope::views
