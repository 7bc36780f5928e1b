// Pictures of the weight views from data made by hand, against golden dumps; and the parts they are made of.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/views/support.h"
#include "views/composition_picture.h"
#include "views/figure/text_dump.h"
#include "views/figure_slider.h"
#include "views/head_heat.h"
#include "views/line_chart.h"
#include "views/lora_parts.h"
#include "views/side_table.h"
#include "views/spectra_charts.h"
#include "views/truncated_picture.h"

using namespace headscope;
using namespace headscope::tests;
using namespace headscope::views;

namespace {

const FixedMeasure kMeasure;

struct Canvas {
  Theme theme;
  ViewFrame frame;
  Figure figure;
  explicit Canvas(bool isPaper, Size size) : theme(isPaper ? paperTheme() : lightTheme()), frame{theme, kMeasure, size, isPaper} {
    frame.hover.layer = frame.hover.head = -1;
    figure.size = size;
    figure.background = theme.canvas;
  }
};

core::Spectrum spectrumOf(std::vector<double> sigma) {
  core::Spectrum s;
  s.sigma = std::move(sigma);
  return s;
}

core::HeadLora loraOf(int64_t layer, int64_t head, double qk, double ov) {
  core::HeadLora h;
  h.layer = layer, h.head = head;
  h.qk.relative = qk, h.ov.relative = ov;
  h.qk.termNorms = {qk, qk / 2, qk / 4}, h.ov.termNorms = {ov / 2, ov, 0};
  h.qk.before = spectrumOf({4, 2, 1, 0}), h.qk.after = spectrumOf({4, 3, 1, 0.5}), h.qk.change = spectrumOf({2, 1, 0, 0});
  return h;
}

/// 2 layers of 2 heads: 0.1 feeds the query of 1.0, and by an adapter the value of 1.1 less.
std::shared_ptr<CompositionData> smallComposition(bool hasAdapter) {
  auto data = std::make_shared<CompositionData>();
  data->layers = data->heads = 2, data->modelName = "small";
  core::Composition& c = data->scores;
  c.layers = c.heads = 2, c.width = 16, c.expectation = 0.25;
  for (auto& values : c.values) values.assign(16, 0.0f);
  c.values[0][c.index(0, 1, 1, 0)] = 0.75f;
  c.values[2][c.index(0, 0, 1, 1)] = 0.5f;
  data->strongest = {std::vector<uint32_t>{6}, {}, {3}};
  for (core::Matrix& m : data->excess) m = core::Matrix::zeros(4, 4);
  data->excess[0](1, 2) = 0.5f, data->excess[2](0, 3) = 0.25f;
  if (hasAdapter) {
    auto base = std::make_shared<core::Composition>(c);
    base->values[2][c.index(0, 0, 1, 1)] = 0.75f;
    data->base = base;
    data->changed = {std::vector<uint32_t>{}, {}, {3}};
    for (core::Matrix& m : data->change) m = core::Matrix::zeros(4, 4);
    data->change[2](0, 3) = -0.25f;
  }
  return data;
}

int64_t curvesOf(const Figure& figure) {
  int64_t count = 0;
  for (const Item& item : figure.content) count += std::holds_alternative<CurveItem>(item.shape);
  return count;
}

}  // namespace

TEST(WeightPictures, compositionGraphAndMatrix) {
  ViewInput input;
  const auto data = smallComposition(true);
  Canvas screen(false, {360, 240}), paper(true, {240, 160});
  drawComposition(screen.figure, input, *data, screen.frame, {8, 40, 344, 190});
  expectGolden("composition_screen", dumpFigure(screen.figure, true));
  input.options.words["form"] = "matrix";
  drawComposition(paper.figure, input, *data, paper.frame, {0, 0, 240, 160});
  expectGolden("composition_matrix_paper", dumpFigure(paper.figure));
  const MatrixCell cell = cellAt({12, 2}, {0, 0, 16, 16}, 2, 2);
  EXPECT_EQ(cell.from, (core::HeadRef{0, 0}));
  EXPECT_EQ(cell.to, (core::HeadRef{1, 1}));
}

TEST(WeightPictures, compositionChangesAreSignedAndIsolationKeepsAHeadsOwn) {
  ViewInput input;
  input.options.words["edges"] = "change";
  const auto data = smallComposition(true);
  const ChosenEdges chosen = chooseEdges(*data, choiceOf(input));
  ASSERT_EQ(chosen.edges.size(), 1U);
  EXPECT_EQ(chosen.edges[0].change(), -0.25);
  Canvas canvas(false, {360, 240});
  drawComposition(canvas.figure, input, *data, canvas.frame, {0, 0, 360, 240});
  EXPECT_EQ(curvesOf(canvas.figure), 1);
  input.options.words.clear();
  input.options.numbers["isolate"] = 1;
  input.selection.layer = 1, input.selection.head = 0;
  const ChosenEdges own = chooseEdges(*data, choiceOf(input));
  ASSERT_EQ(own.edges.size(), 1U);
  EXPECT_EQ(own.edges[0].from, (core::HeadRef{0, 1}));
  input.options.numbers["least"] = 0.6;
  EXPECT_EQ(chooseEdges(*data, choiceOf(input)).eligible, 0U);
}

TEST(WeightPictures, lora) {
  LoraData data;
  data.modelName = "small", data.layers = 2, data.heads = 2;
  for (int64_t l = 0; l < 2; ++l) {
    auto layer = std::make_shared<core::LoraLayer>();
    layer->layer = l;
    layer->heads = {loraOf(l, 0, 0.5, 0.25), loraOf(l, 1, l == 1 ? 1.0 : 0.0, 0)};
    layer->intruders = {{"q_proj", l, l * 3}};
    data.done.push_back(layer);
  }
  data.modules = {{"model.layers.0.self_attn.v_proj", 8, 2, {1, 0.5}, 6, 2, true},
                  {"model.layers.1.self_attn.q_proj", 8, 2, {1}, 8, 0, true}};
  ViewInput input;
  input.selection.layer = 1, input.selection.head = 1;
  Canvas paper(true, {240, 300});
  addLoraGrids(paper.figure, input, data, paper.frame, {0, 0, 240, 80}, 24);
  addLoraTopHeads(paper.figure, input, data, paper.frame, {0, 90, 116, 100}, false);
  addLoraSpectra(paper.figure, input, data, paper.frame, {124, 90, 116, 100}, false);
  addWastedRanks(paper.figure, data, paper.frame, {0, 200, 116, 60});
  addIntruders(paper.figure, data, paper.frame, {124, 200, 116, 60});
  expectGolden("lora_paper", dumpFigure(paper.figure));
  // A layer that is not there yet is hatched, not an error.
  data.done[1] = nullptr;
  Canvas part(false, {400, 200});
  addLoraGrids(part.figure, input, data, part.frame, {0, 0, 400, 200}, 32);
  int64_t hatches = 0;
  for (const Item& item : part.figure.content) hatches += std::holds_alternative<HatchItem>(item.shape);
  EXPECT_EQ(hatches, 4);
}

TEST(WeightPictures, marksOfASpectrumByEnergyAndByRank) {
  const core::Spectrum s = spectrumOf({8, 4, 2, 1});  // energies 64, 16, 4, 1 of 85
  core::ViewOptions options;
  EXPECT_EQ(rankMark(options, 1, s).rank, 4);
  options.numbers["mark_1"] = 0.06;
  EXPECT_EQ(rankMark(options, 1, s).label(), "94 %: rank 2");
  options.numbers["rank_1"] = 3;
  EXPECT_EQ(rankMark(options, 1, s).rank, 3);
  EXPECT_NEAR(rankMark(options, 1, s).epsilon, 1.0 / 85, 1e-12);
  options.numbers["rank_1"] = 1e9;
  EXPECT_EQ(rankMark(options, 1, s).rank, 4);
  EXPECT_EQ(rankMark(options, 1, spectrumOf({0, 0})).label(), "");
}

TEST(WeightPictures, truncatedHead) {
  TruncatedData data;
  data.head = {1, 0}, data.modelName = "small", data.count = 2;
  data.queryKeyRank = 1, data.queryKeyFull = 2, data.valueOutputRank = 2, data.valueOutputFull = 2;
  data.truth = core::Matrix::zeros(2, 2), data.cut = core::Matrix::zeros(2, 2);
  data.truth(0, 0) = 1, data.truth(1, 1) = 0.75f, data.truth(1, 0) = 0.25f;
  data.cut(0, 0) = 1, data.cut(1, 1) = 0.5f, data.cut(1, 0) = 0.5f;
  data.rowKl = {0, 0.125f}, data.rowOutput = {0, 0.5};
  data.queryKeyErrors = {1, 0.5, 0}, data.valueOutputErrors = {1, 0.25, 0};
  data.output = 0.25, data.meanKl = 0.0625, data.meanCosine = 0.5;
  ViewInput input;
  input.options.hideFirst = false;
  Canvas paper(true, {240, 0});
  const Figure figure = drawTruncated(input, data, paper.frame, {0, 0, 240, 0});
  expectGolden("truncated_paper", dumpFigure(figure));
  data.refusal = "NaN weights";
  EXPECT_FALSE(drawTruncated(input, data, paper.frame, {0, 0, 240, 0}).content.empty());
}

TEST(LineChart, logAxesShowAtLeastTwoDecades) {
  for (const auto& [low, high] :
       {std::pair{0.5, 3.0}, std::pair{1.2, 1.3}, std::pair{0.0, 7.0}, std::pair{1e-6, 2.0}, std::pair{1.0, 1.0}}) {
    const ChartAxis axis = logAxis(low, high, "");
    EXPECT_GT(axis.low, 0);
    EXPECT_GE(axis.high, high);
    EXPECT_GE(std::floor(std::log10(axis.high) + 1e-9) - std::ceil(std::log10(axis.low) - 1e-9), 1) << low << " " << high;
    EXPECT_NEAR(axis.unit(axis.at(0.3)), 0.3, 1e-9);
  }
}

TEST(LineChart, labelsOfALowChartStandApart) {
  for (const double size : {11.0, 17.6}) {
    for (double height = 4; height < 200; height += 7) {
      Canvas canvas(false, {300, height + 80});
      canvas.theme.smallSize = size;
      LineChart chart(canvas.figure, {60, 40, 160, height}, {1, 32, false, "rank"}, {1e-6, 1, true, ""}, canvas.theme);
      chart.addAxes();
      chart.addMarkLabels({{0.01, "99 %: rank 30", canvas.theme.accent}, {0.001, "99.9 %: rank 32", canvas.theme.accent}});
      chart.addEndLabels({{1e-5, "a", canvas.theme.ink}, {1e-4, "b", canvas.theme.accent}, {1e-3, "c", canvas.theme.ink}});
      std::vector<Rect> boxes;
      for (const Item& item : canvas.figure.content) {
        const auto* text = std::get_if<TextItem>(&item.shape);
        if (text == nullptr || text->text.empty()) continue;
        const double w = kMeasure.width(text->text, text->font), h = size;
        const double x = text->anchorX == AnchorX::Left    ? text->at.x
                         : text->anchorX == AnchorX::Right ? text->at.x - w
                                                           : text->at.x - w / 2;
        const double y = text->anchorY == AnchorY::Top      ? text->at.y
                         : text->anchorY == AnchorY::Bottom ? text->at.y - h
                                                            : text->at.y - h / 2;
        for (const Rect& other : boxes) {
          const bool isApart = x >= other.right() || other.x >= x + w || y >= other.bottom() || other.y >= y + h;
          EXPECT_TRUE(isApart) << text->text << " at a height of " << height;
        }
        boxes.push_back({x, y, w, h});
      }
    }
  }
}

TEST(LineChart, labelsAtLineEndsKeepApart) {
  Canvas canvas(false, {300, 120});
  LineChart chart(canvas.figure, {40, 10, 200, 90}, {0, 1, false, ""}, {0, 1, false, ""}, canvas.theme);
  chart.addEndLabels(
      {{0.5, "a", canvas.theme.ink}, {0.5, "b", canvas.theme.ink}, {0.0, "c", canvas.theme.ink}, {std::nan(""), "d", canvas.theme.ink}});
  std::vector<double> rows;
  for (const Item& item : canvas.figure.content) {
    if (const auto* text = std::get_if<TextItem>(&item.shape)) rows.push_back(text->at.y);
  }
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_GE(rows[1] - rows[0], canvas.theme.smallSize * 1.2);
  EXPECT_GE(rows[2] - rows[1], canvas.theme.smallSize * 1.2);
  EXPECT_NEAR((rows[0] + rows[1]) / 2, 55, 1e-6);  // around where the lines end
}

TEST(LineChart, readingsAnswerTheMouseInThePlot) {
  Canvas canvas(false, {300, 200});
  const std::vector<Point> line{{0, 0}, {1, 0.5}, {2, 1}};
  const auto read = [&](std::optional<Point> pointer) {
    canvas.figure.overlay.clear();
    canvas.frame.pointer = pointer;
    LineChart chart(canvas.figure, {40, 10, 200, 150}, {0, 2, false, ""}, {0, 1, false, ""}, canvas.theme);
    chart.addReadings("index", {{"value", &line, canvas.theme.accent}, {"rank", nullptr, canvas.theme.ink, "7"}}, canvas.frame);
    std::string words;
    for (const Item& item : canvas.figure.overlay) {
      if (const auto* text = std::get_if<TextItem>(&item.shape)) words += text->text + ";";
    }
    return words;
  };
  EXPECT_EQ(read(Point{145, 50}), "index 1;value;0.5;rank;7;");
  EXPECT_EQ(read(Point{5, 50}), "");
  EXPECT_EQ(read(std::nullopt), "");
}

TEST(FigureSlider, roundTrip) {
  Canvas canvas(false, {300, 40});
  for (const FigureSlider& slider : {FigureSlider{3, 1, 1000, true, true}, FigureSlider{4, 0, 1.5, false, false}}) {
    canvas.figure.overlay.clear();
    addSlider(canvas.figure, slider, {10, 20}, slider.high / 2, "label", "1", "tip", canvas.frame);
    View::Gesture drag{View::Gesture::Kind::Drag, {}, {}, canvas.figure.overlay.back().pick};
    const Rect track = drag.pick.within;
    EXPECT_TRUE(isOn(slider, drag));
    drag.at = {track.x - 50, 20};
    EXPECT_EQ(valueOf(slider, drag), slider.low);
    drag.at = {track.right() + 50, 20};
    EXPECT_EQ(valueOf(slider, drag), slider.high);
    drag.pick.a = 9;
    EXPECT_FALSE(isOn(slider, drag));
  }
  EXPECT_EQ((FigureSlider{1, 0, 10, false, true}.clamped(std::nan(""))), 0);
}

TEST(HeadHeat, brushesOnlyWhereADragBeganOnIt) {
  core::Selection selection;
  View::Gesture drag{View::Gesture::Kind::Drag, {}, {}, {Pick::Kind::Head, 0, 1, -1, {}}};
  drag.heads = {{0, 1}, {1, 0}};
  EXPECT_TRUE(brushByDrag(drag, selection));
  EXPECT_EQ(selection.brushed.size(), 2U);
  EXPECT_EQ(selection.ref(), (core::HeadRef{0, 1}));
  drag.pick.c = -2;  // a table's row
  EXPECT_FALSE(brushByDrag(drag, selection));
  drag.pick.c = -1, drag.isPan = true;
  EXPECT_FALSE(brushByDrag(drag, selection));
}

TEST(HeadHeat, staysInItsAreaAndFewLayersCanBeSeen) {
  const Canvas paper(true, {240, 0});
  for (const auto& [layers, heads] : {std::pair{1, 128}, {2, 4}, {12, 12}, {32, 32}, {61, 128}}) {
    const HeadHeat heat = layOutHeat(layers, heads, {0, 0, 95, 120}, 24, paper.frame);
    EXPECT_LE(heat.cells().right(), 95.01) << layers << " x " << heads;
    EXPECT_LE(heat.cells().bottom(), 120.01) << layers << " x " << heads;
    EXPECT_GE(heat.cells().height, 16) << layers << " x " << heads;
  }
}
