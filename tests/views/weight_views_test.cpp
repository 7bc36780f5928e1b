// The views of weight space: what was planted in a checkpoint is what the picture shows and what the mouse finds.
#include <unistd.h>

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <variant>

#include "core/attention/forward.h"
#include "core/model/adapter.h"
#include "core/weights/synthetic_checkpoint.h"
#include "tests/views/support.h"
#include "views/view.h"

using namespace headscope;
using namespace headscope::tests;
using namespace headscope::views;
namespace fs = std::filesystem;

namespace {

/// 3 layers of 4 heads: head 0.2 writes what 2.1's query reads; head 1.0's queries have rank 2; head 1.3's hold a NaN.
struct PlantedModel {
  fs::path folder = fs::temp_directory_path() / ("headscope_weight_views_" + std::to_string(::getpid()));
  std::shared_ptr<const core::Model> model;
  PlantedModel() {
    core::SyntheticCheckpoint plan;
    plan.layers = 3, plan.width = 96, plan.heads = plan.kvHeads = 4, plan.headWidth = 16;
    plan.plant = [plan](const std::string& name, core::MatrixView w) {
      for (int64_t r = 0; r < w.rows; ++r) {
        for (int64_t c = 0; c < w.cols; ++c) {
          const bool isWritten = name == plan.outputName(0) && c >= 32 && c < 48, isRead = name == plan.queryName(2) && r >= 16 && r < 32;
          if (isWritten) w(r, c) = r >= 10 && r < 26 ? w(r, c) * 3 : 0;
          if (isRead) w(r, c) = c >= 10 && c < 26 ? w(r, c) * 3 : 0;
          if (name == plan.queryName(1) && r >= 2 && r < 16) w(r, c) = w(r % 2, c);
        }
      }
      if (name == plan.queryName(1)) w(50, 7) = std::numeric_limits<float>::quiet_NaN();
    };
    plan.write(folder);
    model = core::Model::open(folder);
  }
  ~PlantedModel() { fs::remove_all(folder); }
};

Figure drawn(const char* name, const ViewInput& input, bool isPaper = false, std::shared_ptr<const ViewData>* kept = nullptr) {
  const View* view = findView(name);
  EXPECT_NE(view, nullptr) << name;
  const Theme theme = isPaper ? paperTheme() : darkTheme();
  const FixedMeasure measure;
  const Size size = isPaper ? Size{240, 0} : Size{800, 600};
  core::Job job;
  std::shared_ptr<const ViewData> data;
  if (!view->dataKey(input, size).empty()) data = view->compute(input, size, job);
  if (kept != nullptr) *kept = data;
  ViewFrame frame{theme, measure, size, isPaper};
  frame.hover.layer = frame.hover.head = -1;
  // Loading first: it must not need data.
  EXPECT_NO_THROW(view->draw(input, nullptr, frame));
  return view->draw(input, data.get(), frame);
}

/// The pick of a head's own item (not of lines and edges that pass it).
const Item* itemOf(const Figure& figure, int64_t layer, int64_t head) {
  for (const Item& item : figure.content) {
    if (item.pick.kind == Pick::Kind::Head && item.pick.c >= -1 && item.pick.a == layer && item.pick.b == head) return &item;
  }
  return nullptr;
}

template <typename T>
int64_t countOf(const Figure& figure) {
  int64_t count = 0;
  for (const Item& item : figure.content) count += std::holds_alternative<T>(item.shape);
  return count;
}

}  // namespace

TEST(WeightViews, compositionShowsThePlantedCircuitOnTop) {
  const PlantedModel planted;
  ViewInput input;
  input.model = planted.model;
  const Figure figure = drawn("composition", input);
  const Item* strongest = nullptr;  // the last curve drawn
  for (const Item& item : figure.content) {
    if (std::holds_alternative<CurveItem>(item.shape)) strongest = &item;
  }
  ASSERT_NE(strongest, nullptr);
  EXPECT_EQ(strongest->pick.a, 0 * 4 + 2);
  EXPECT_EQ(strongest->pick.b, 2 * 4 + 1);
  EXPECT_EQ(strongest->pick.c, 0);
  EXPECT_NE(strongest->pick.tip.find("0.2 to Q of 2.1"), std::string::npos) << strongest->pick.tip;
  EXPECT_NE(figure.caption.find("layers.1.self_attn.q_proj"), std::string::npos) << figure.caption;  // the NaN is named

  // A click on a head isolates it; a second one shows all again.
  const View& view = *findView("composition");
  View::Gesture click{View::Gesture::Kind::Click, {}, {}, itemOf(figure, 2, 1)->pick};
  ASSERT_TRUE(view.handle(click, input, {800, 600}, input.options, input.selection));
  EXPECT_EQ(input.selection.ref(), (core::HeadRef{2, 1}));
  const Figure isolated = drawn("composition", input);
  EXPECT_LT(countOf<CurveItem>(isolated), countOf<CurveItem>(figure));
  for (const Item& item : isolated.content) {
    if (std::holds_alternative<CurveItem>(item.shape)) {
      EXPECT_TRUE(item.pick.a == 9 || item.pick.b == 9);
    }
  }
  view.handle(click, input, {800, 600}, input.options, input.selection);
  EXPECT_EQ(countOf<CurveItem>(drawn("composition", input)), countOf<CurveItem>(figure));

  // An edge selects its two heads; brushing works on nodes.
  const View::Gesture onEdge{View::Gesture::Kind::Click, {}, {}, strongest->pick};
  EXPECT_TRUE(view.handle(onEdge, input, {800, 600}, input.options, input.selection));
  EXPECT_EQ(input.selection.brushed, (std::vector<core::HeadRef>{{0, 2}, {2, 1}}));
  EXPECT_EQ(figure.headsIn({0, 0, 800, 600}).size(), 12U);
  // Fewer edges, and how many are hidden is said.
  input.options.numbers["top"] = 3;
  bool isSaid = false;
  const Figure few = drawn("composition", input);
  EXPECT_EQ(countOf<CurveItem>(few), 3);
  for (const Item& item : few.content) {
    if (const auto* text = std::get_if<TextItem>(&item.shape)) isSaid = isSaid || text->text.starts_with("3 edges, ");
  }
  EXPECT_TRUE(isSaid);
  input.options.words["form"] = "split";
  EXPECT_LE(countOf<CurveItem>(drawn("composition", input, true)), 9);
  input.options.words["edges"] = "change";
  EXPECT_EQ(countOf<CurveItem>(drawn("composition", input)), 0);  // no adapter: says so
  input.options.words["edges"] = "strength";
  input.options.numbers.clear();

  input.options.words["form"] = "matrix";
  input.options.words["kind"] = "q";
  const Figure matrix = drawn("composition", input);
  EXPECT_EQ(countOf<ImageItem>(matrix), 2);  // the matrix and its colour bar
  EXPECT_EQ(countOf<HatchItem>(matrix), 1);  // behind the broken head's pairs
  core::Job job;
  const Table table = view.table(input, job);
  EXPECT_EQ(table.rows.at(0), (std::vector<std::string>{"0", "2", "2", "1", "q", table.rows.at(0).at(5), table.rows.at(0).at(6)}));
}

TEST(WeightViews, rankMapShowsTheLowRankHeadAndHatchesTheBrokenOne) {
  const PlantedModel planted;
  ViewInput input;
  input.model = planted.model;
  const Figure figure = drawn("rank_map", input);
  const Item *low = itemOf(figure, 1, 0), *broken = itemOf(figure, 1, 3), *usual = itemOf(figure, 0, 0);
  ASSERT_TRUE(low != nullptr && broken != nullptr && usual != nullptr);
  EXPECT_NE(low->pick.tip.find("  2"), std::string::npos) << low->pick.tip;
  EXPECT_TRUE(std::holds_alternative<HatchItem>(broken->shape));
  EXPECT_TRUE(std::holds_alternative<RectItem>(usual->shape));
  // A drag brushes.
  View::Gesture drag{View::Gesture::Kind::Drag, {800, 600}, {}, usual->pick};
  for (const auto& [layer, head] : figure.headsIn({0, 0, 800, 600})) drag.heads.push_back({layer, head});
  EXPECT_EQ(drag.heads.size(), 12U);  // rows of the table are not cells
  EXPECT_TRUE(findView("rank_map")->handle(drag, input, {800, 600}, input.options, input.selection));
  EXPECT_EQ(input.selection.brushed.size(), 12U);
  // The table lists what is brushed, and a click on a heading sorts it.
  input.selection.brushed = {{1, 0}, {1, 3}, {2, 2}};
  const auto rowsOf = [&] {
    std::vector<std::string> rows;
    for (const Item& item : drawn("rank_map", input).content) {
      if (item.pick.kind == Pick::Kind::Head && item.pick.c == -2)
        rows.push_back(std::to_string(item.pick.a) + "." + std::to_string(item.pick.b));
    }
    return rows;
  };
  EXPECT_EQ(rowsOf(), (std::vector<std::string>{"1.0", "1.3", "2.2"}));
  View::Gesture sort{View::Gesture::Kind::Click, {}, {}, {Pick::Kind::Control, 900, 1, -1, {}}};
  EXPECT_TRUE(findView("rank_map")->handle(sort, input, {800, 600}, input.options, input.selection));
  EXPECT_EQ(rowsOf(), (std::vector<std::string>{"2.2", "1.0", "1.3"}));  // highest rank first, NaN last
  EXPECT_TRUE(findView("rank_map")->handle(sort, input, {800, 600}, input.options, input.selection));
  EXPECT_EQ(rowsOf(), (std::vector<std::string>{"1.0", "2.2", "1.3"}));
  // Two scalars against each other: a dot a head that has both.
  input.options.words["form"] = "scatter";
  const Figure scatter = drawn("rank_map", input);
  EXPECT_NE(itemOf(scatter, 1, 0), nullptr);
  EXPECT_EQ(scatter.headsIn({0, 0, 800, 600}).size(), 11U);
  input.options.words["x"] = "lora_QK";
  drawn("rank_map", input);  // says that there is no adapter
  input.options.words.clear();
  drawn("rank_map", input, true);
}

TEST(WeightViews, spectraMarkTheSelectedHeadsRanks) {
  const PlantedModel planted;
  ViewInput input;
  input.model = planted.model;
  input.selection.layer = 1, input.selection.head = 0;
  const Figure figure = drawn("spectra", input);
  // The spectrum of rank 2 ends beside the marks at its rank: its name is below theirs.
  double lowestMark = 0, name = 0;
  for (const Item& item : figure.content) {
    const auto* text = std::get_if<TextItem>(&item.shape);
    if (text == nullptr || text->at.y > figure.size.height / 2) continue;
    if (text->text == "99.9 %: rank 2") lowestMark = text->at.y + text->font.size_pt / 2;
    if (text->text == "1.0") name = text->at.y - text->font.size_pt / 2;
  }
  EXPECT_GT(lowestMark, 0);
  EXPECT_GT(name, lowestMark);
  for (const char* form : {"values", "energy"}) {
    for (const char* across : {"heads", "layers"}) {
      for (const char* matrix : {"W_Q", "W_OV"}) {
        input.options.words = {{"form", form}, {"across", across}, {"matrix", matrix}};
        EXPECT_GE(countOf<PolylineItem>(drawn("spectra", input, true)), 3);
      }
    }
  }
  input.options.words.clear();
  View::Gesture wheel{View::Gesture::Kind::Wheel, {10, 10}, {0, 1}, {}};
  EXPECT_TRUE(findView("spectra")->handle(wheel, input, {800, 600}, input.options, input.selection));
  EXPECT_EQ(findView("spectra")->subject(input), "W_QK@1 of layer 1");
  const Figure at1 = drawn("spectra", input);
  EXPECT_GE(countOf<PolylineItem>(at1), 3);
  // Thresholds are dragged: a rank on the chart of values, energy on the chart of energies.
  const auto gripOf = [](const Figure& figure, int64_t id) {
    for (const Item& item : figure.overlay) {
      if (item.pick.kind == Pick::Kind::Control && item.pick.a == id && item.pick.within.width > 0) return item.pick;
    }
    return Pick{};
  };
  View::Gesture drag{View::Gesture::Kind::Drag, {}, {}, gripOf(at1, 4)};
  ASSERT_GT(drag.pick.within.width, 0);
  drag.at = {drag.pick.within.right(), drag.pick.within.y};
  EXPECT_TRUE(findView("spectra")->handle(drag, input, {800, 600}, input.options, input.selection));
  EXPECT_EQ(input.options.numbers.at("rank_1"), 16);
  drag.pick = gripOf(at1, 6);
  drag.at = {drag.pick.within.x, drag.pick.within.center().y};
  EXPECT_TRUE(findView("spectra")->handle(drag, input, {800, 600}, input.options, input.selection));
  EXPECT_EQ(input.options.numbers.count("rank_1"), 0U);
  EXPECT_NEAR(input.options.numbers.at("mark_1"), 0.00316, 1e-5);
  // Rank against the offset: the head of rank 2 stays there.
  input.options.words["form"] = "offset";
  std::shared_ptr<const ViewData> curves;
  drawn("spectra", input, false, &curves);
  drawn("spectra", input, true);
  input.options.words["form"] = "truncated";
  drawn("spectra", input);  // says that it wants a prompt
}

namespace {

/// The text on screen that begins like this; "" when there is none.
std::string textBeginning(const std::string& start, const Figure& figure) {
  for (const auto* items : {&figure.content, &figure.overlay}) {
    for (const Item& item : *items) {
      if (const auto* text = std::get_if<TextItem>(&item.shape); text != nullptr && text->text.starts_with(start)) return text->text;
    }
  }
  return {};
}

}  // namespace

// Everywhere on screen: which tensor is broken, and whether norms are folded.
TEST(WeightViews, brokenTensorsAndFoldedNormsAreSaidOnScreen) {
  const PlantedModel planted;
  ViewInput input;
  input.model = planted.model;
  input.selection.layer = 1;
  for (const char* view : {"spectra", "rank_map", "composition", "subspace"}) {
    if (std::string(view) == "subspace") input.options.words["side"] = "query";
    const Figure screen = drawn(view, input);
    EXPECT_FALSE(textBeginning("layer 1: model.layers.1.self_attn.q_proj: NaN", screen).empty() &&
                 textBeginning("model.layers.1.self_attn.q_proj: NaN", screen).empty() &&
                 textBeginning("layer 1, query head 3: NaN", screen).empty())
        << view;
    const bool isInPicture = !textBeginning("norms folded", screen).empty();
    EXPECT_TRUE(isInPicture || findView(view)->subject(input).ends_with("norms folded")) << view;
    for (const Item& item : drawn(view, input, true).overlay) EXPECT_FALSE(std::holds_alternative<TextItem>(item.shape)) << view;
  }
  EXPECT_TRUE(findView("words")->subject(input).ends_with("norms folded"));
  EXPECT_TRUE(findView("lora")->subject(input).ends_with("norms not folded"));
}

// MLA's latent projections are a layer's, whatever head is selected: named so, with ranks and the power law of their tail.
TEST(WeightViews, spectraOfALayersOwnMatrix) {
  const fs::path folder = fs::temp_directory_path() / ("headscope_whole_view_" + std::to_string(::getpid()));
  core::SyntheticCheckpoint plan;
  plan.family = core::SyntheticCheckpoint::Family::DeepSeekV3;
  plan.write(folder);
  ViewInput input;
  input.model = core::Model::open(folder);
  input.selection.layer = 1, input.selection.head = 3;
  input.options.words["matrix"] = "W_DQ";
  const View& view = *findView("spectra");
  std::shared_ptr<const ViewData> data;
  const Figure figure = drawn("spectra", input, false, &data);
  EXPECT_EQ(textBeginning("layer 1", figure), "layer 1");
  EXPECT_NE(textBeginning("99 %: rank ", figure), "");
  EXPECT_NE(figure.caption.find("W_DQ of layer 1 of"), std::string::npos) << figure.caption;
  const FixedMeasure measure;
  ViewFrame frame{darkTheme(), measure, {800, 600}};
  frame.hover.layer = frame.hover.head = -1;
  frame.pointer = Point{300, 150};
  EXPECT_NE(textBeginning("layer 1 power law alpha", view.draw(input, data.get(), frame)), "");
  input.options.words["across"] = "layers";
  EXPECT_EQ(textBeginning("layer 0", drawn("spectra", input)), "layer 0");
  EXPECT_EQ(view.subject(input), "W_DQ of every layer");
  fs::remove_all(folder);
}

// A narrow pane: the table below the map, or none; never across its title.
TEST(WeightViews, aNarrowRankMapHasItsTableBelow) {
  const PlantedModel planted;
  ViewInput input;
  input.model = planted.model;
  core::Job job;
  const View& view = *findView("rank_map");
  const auto data = view.compute(input, {340, 600}, job);
  const FixedMeasure measure;
  for (const Size size : {Size{340, 600}, Size{340, 280}, Size{300, 200}, Size{900, 600}}) {
    ViewFrame frame{darkTheme(), measure, size};
    frame.hover.layer = frame.hover.head = -1;
    const Figure figure = view.draw(input, data.get(), frame);
    double titleRight = 0, titleY = 0, headLeft = -1, headY = 0;
    for (const Item& item : figure.content) {
      const auto* text = std::get_if<TextItem>(&item.shape);
      if (text != nullptr && text->text.starts_with("W_QK, rank at"))
        titleRight = text->at.x + measure.width(text->text, text->font), titleY = text->at.y;
    }
    for (const auto* items : {&figure.content, &figure.overlay}) {
      for (const Item& item : *items) {
        const auto* text = std::get_if<TextItem>(&item.shape);
        if (text != nullptr && text->text == "head") headLeft = text->at.x, headY = text->at.y;
      }
    }
    ASSERT_GT(titleRight, 0);
    EXPECT_TRUE(headLeft < 0 || headLeft > titleRight || headY > titleY + 40) << size.width << " x " << size.height;
    EXPECT_EQ(headLeft >= 0, size.height > 320) << size.width << " x " << size.height;
  }
}

// Weights seen through the covariance of what the heads read in the prompt: no more values than the prompt's tokens allow, the mean
// input's share said.
TEST(WeightViews, spectraOnThePrompt) {
  const fs::path folder = fs::temp_directory_path() / ("headscope_weighted_view_" + std::to_string(::getpid()));
  core::SyntheticCheckpoint plan;
  plan.layers = 2, plan.width = 48, plan.heads = plan.kvHeads = 4, plan.headWidth = 12, plan.isRunnable = true;
  plan.write(folder);
  ViewInput input;
  input.model = core::Model::open(folder);
  input.selection.layer = 1, input.selection.head = 2;
  const View& view = *findView("spectra");
  View::Gesture click{View::Gesture::Kind::Click, {}, {}, {}};
  for (const Item& item : drawn("spectra", input).overlay) {
    if (item.pick.tip.starts_with("Weights seen through")) click.pick = item.pick;
  }
  ASSERT_TRUE(view.handle(click, input, {800, 600}, input.options, input.selection));
  EXPECT_EQ(input.options.words.at("weights"), "prompt");
  EXPECT_FALSE(textBeginning("Run a prompt", drawn("spectra", input)).empty());

  auto prompt = std::make_shared<core::Prompt>();
  for (const int32_t id : {7, 90, 12, 7, 33}) prompt->tokens.push_back({id});
  core::Job job;
  input.trace = core::runForward(input.model, prompt, core::openBackend("cpu"), {}, job);
  const Figure figure = drawn("spectra", input);
  EXPECT_TRUE(textBeginning("weighted by 5 tokens, mean's share ", figure).ends_with(" %"));
  EXPECT_NE(figure.caption.find("in the 5 tokens of the prompt"), std::string::npos) << figure.caption;
  const Table table = view.table(input, job);
  EXPECT_EQ(table.columns.back(), "bias_share");
  int64_t signal = 0;
  for (const auto& row : table.rows) {
    if (row[1] == "2") signal += row[5] == "1";
    const double share = std::stod(row[6]);
    EXPECT_TRUE(share >= 0 && share <= 1) << row[6];
  }
  EXPECT_EQ(signal, 4);  // five tokens about their mean
  input.options.words["across"] = "layers";
  EXPECT_GE(countOf<PolylineItem>(drawn("spectra", input)), 4);
  ASSERT_TRUE(view.handle(click, input, {800, 600}, input.options, input.selection));
  EXPECT_EQ(input.options.words.count("weights"), 0U);
  fs::remove_all(folder);
}

TEST(WeightViews, sharedSubspaceAndItsRank) {
  const PlantedModel planted;
  ViewInput input;
  input.model = planted.model;
  std::shared_ptr<const ViewData> data;
  const Figure figure = drawn("subspace", input, false, &data);
  bool hasEven = false;
  for (const Item& item : figure.content) {
    if (const auto* text = std::get_if<TextItem>(&item.shape)) hasEven = hasEven || text->text == "break-even 38.4";
  }
  EXPECT_TRUE(hasEven);  // 64 * 96 / 160
  for (const Item& item : figure.overlay) {
    if (item.pick.kind != Pick::Kind::Control || !(item.pick.within.width > 0)) continue;
    View::Gesture drag{View::Gesture::Kind::Drag, {item.pick.within.right(), item.pick.within.y}, {}, item.pick};
    EXPECT_TRUE(findView("subspace")->handle(drag, input, {800, 600}, input.options, input.selection));
    EXPECT_EQ(input.options.numbers["rank"], 64);  // all of it, by the slider and by the grip
    input.options.numbers.clear();
  }
  input.options.numbers["rank"] = 20;
  bool hasSaved = false;
  for (const Item& item : drawn("subspace", input).content) {
    if (const auto* text = std::get_if<TextItem>(&item.shape)) hasSaved = hasSaved || text->text == "47.9 % of parameters saved";
  }
  EXPECT_TRUE(hasSaved);  // 1 - 20 * 160 / (64 * 96)
  drawn("subspace", input, true);
}

TEST(WeightViews, loraGridsBarsAndSpectra) {
  HEADSCOPE_REQUIRE_GOLDEN();
  ViewInput input;
  const auto base = core::Model::open(goldenFolder() / "models/llama3_gqa");
  input.model = base;
  EXPECT_TRUE(findView("lora")->dataKey(input, {}).empty());  // no adapter: nothing to compute
  drawn("lora", input);
  input.model = base->withAdapter(core::Adapter::open(goldenFolder() / "adapters/llama_qv"));
  input.selection.layer = 1, input.selection.head = 3;
  const Figure figure = drawn("lora", input);
  const Item* cell = itemOf(figure, 1, 3);
  ASSERT_NE(cell, nullptr);
  EXPECT_NE(cell->pick.tip.find("QK change"), std::string::npos);
  // The slider asks for another strength of the adapter, in the option that the program takes out again.
  for (const Item& item : figure.overlay) {
    if (item.pick.kind != Pick::Kind::Control || item.pick.a != 1) continue;
    View::Gesture drag{View::Gesture::Kind::Drag, item.pick.within.center(), {}, item.pick};
    EXPECT_TRUE(findView("lora")->handle(drag, input, {800, 600}, input.options, input.selection));
  }
  EXPECT_EQ(input.options.numbers[kStrengthOption], 0.75);
  input.options.numbers.clear();
  input.options.words["circuit"] = "OV";
  EXPECT_GT(countOf<RectItem>(drawn("lora", input, true)), 24);
}

TEST(WeightViews, wordsFallBackToIds) {
  HEADSCOPE_REQUIRE_GOLDEN();
  ViewInput input;
  input.model = core::Model::open(goldenFolder() / "models/gpt2");
  const Figure figure = drawn("words", input);
  int64_t ids = 0;
  for (const Item& item : figure.content) {
    if (const auto* text = std::get_if<TextItem>(&item.shape)) ids += text->text.starts_with("#");
  }
  EXPECT_EQ(ids, 4 * 4 * 10);
  input.model = core::Model::open(goldenFolder() / "models/vit");
  drawn("words", input);
}

TEST(WeightViews, nothingOpen) {
  for (const char* name : {"spectra", "rank_map", "composition", "lora", "subspace", "words"})
    EXPECT_FALSE(drawn(name, {}).content.empty());
}
