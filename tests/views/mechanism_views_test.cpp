// The mechanism views on the bundled model: every one draws at several sizes in both themes, says what it shows, and gives its
// numbers; what can't be shown is said instead.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/attention/forward.h"
#include "core/backend/backend.h"
#include "tests/support/folders.h"
#include "tests/views/support.h"
#include "views/view.h"

namespace headscope::tests {
namespace {

using namespace views;

ViewInput bundledInput() {
  ViewInput input;
  input.model = core::Model::open(tests::sourceFolder() / "assets/tales");
  core::Prompt prompt;
  for (int i = 0; i < 40; ++i) {
    core::Token token;
    token.id = 5 + (i * 7) % 60;
    prompt.tokens.push_back(token);
  }
  core::Job job;
  input.trace = core::runForward(input.model, std::make_shared<core::Prompt>(std::move(prompt)), core::openBackend("cpu"), {}, job);
  input.selection.layer = 1;
  input.selection.head = 5;
  return input;
}

bool isFinite(const Figure& figure) {
  for (const Item& item : figure.content) {
    if (const auto* text = std::get_if<TextItem>(&item.shape); text != nullptr && !(std::isfinite(text->at.x) && std::isfinite(text->at.y)))
      return false;
    if (const auto* rect = std::get_if<RectItem>(&item.shape);
        rect != nullptr && !(std::isfinite(rect->rect.x) && std::isfinite(rect->rect.width)))
      return false;
  }
  return true;
}

TEST(MechanismViews, drawAndTellTheirNumbers) {
  const FixedMeasure measure;
  ViewInput input = bundledInput();
  for (const char* name : {"mask", "comparison", "kv_cache", "sparse_v", "positions", "complexity"}) {
    const View* view = findView(name);
    ASSERT_NE(view, nullptr) << name;
    input.options = {};
    input.options.numbers["largest"] = 512;
    input.options.words["mechanisms"] = "local:window=8;linear;nystrom:landmarks=4;cope";
    core::Job job;
    const auto data = view->compute(input, {600, 400}, job);
    for (const bool isDark : {false, true}) {
      const Theme theme = isDark ? darkTheme() : lightTheme();
      for (const Size size : {Size{900, 600}, Size{300, 200}, Size{600, 0}}) {
        const Figure figure = view->draw(input, data.get(), ViewFrame{theme, measure, size});
        EXPECT_GT(figure.content.size(), 5u) << name;
        EXPECT_TRUE(isFinite(figure)) << name << size.width;
        EXPECT_FALSE(figure.caption.empty()) << name;
      }
      EXPECT_FALSE(view->draw({}, nullptr, ViewFrame{theme, measure, {300, 200}}).content.empty()) << name;
    }
    EXPECT_FALSE(view->table(input, job).rows.empty()) << name;
  }
}

TEST(MechanismViews, clicksDrawBlocksOfABlockMask) {
  ViewInput input = bundledInput();
  const View* view = findView("mask");
  input.options.words["mechanism"] = "block:size=8,blocks=diagonal";
  View::Gesture click{View::Gesture::Kind::Click};
  click.pick = {Pick::Kind::Cell, 20, 3, -1, ""};
  core::Selection selection;
  ASSERT_TRUE(view->handle(click, input, {400, 400}, input.options, selection));
  EXPECT_EQ(input.options.words["mechanism"], "block:size=8,blocks=diagonal+2.0");
  ASSERT_TRUE(view->handle(click, input, {400, 400}, input.options, selection));
  EXPECT_EQ(input.options.words["mechanism"], "block:size=8,blocks=diagonal");
}

TEST(MechanismViews, everyFormDrawsAtEverySize) {
  const FixedMeasure measure;
  const std::pair<const char*, std::map<std::string, std::string>> forms[] = {
      {"comparison", {{"scatter", "all"}, {"replace", "all"}, {"mechanisms", "local:window=4;linear"}}},
      {"comparison", {{"replace", "head"}}},
      {"mask", {{"replace", "layer"}, {"mechanism", "block:size=8,blocks=0.0+3.1"}}},
      {"complexity", {{"form", "table"}}},
      {"complexity", {{"form", "layer"}}},
      {"sparse_v", {{"form", "clusters"}}},
      {"sparse_v", {{"form", "clusters"}, {"on", "queries"}}},
      {"sparse_v", {{"kind", "without_first"}}},
  };
  for (const auto& [name, words] : forms) {
    ViewInput input = bundledInput();
    input.options.words = words;
    input.options.numbers["largest"] = 512;
    core::Job job;
    const View* view = findView(name);
    const auto data = view->compute(input, {600, 400}, job);
    for (const Size size : {Size{900, 600}, Size{300, 200}, Size{243, 0}, Size{504, 0}}) {
      const Figure figure = view->draw(input, data.get(), ViewFrame{lightTheme(), measure, size, size.height == 0});
      EXPECT_GT(figure.content.size(), 5u) << name;
      EXPECT_TRUE(isFinite(figure)) << name << size.width;
      EXPECT_FALSE(figure.caption.empty()) << name;
    }
    EXPECT_FALSE(view->table(input, job).rows.empty()) << name;
  }
}

TEST(MechanismViews, whatIfsAreLabelledOnPaper) {
  const FixedMeasure measure;
  ViewInput input = bundledInput();
  for (const char* name : {"mask", "comparison"}) {
    input.options.words["mechanism"] = "dense_attention";
    core::Job job;
    const View* view = findView(name);
    const auto data = view->compute(input, {600, 0}, job);
    const Figure figure = view->draw(input, data.get(), ViewFrame{paperTheme(), measure, {243, 0}, true});
    EXPECT_NE(figure.caption.find("what-if"), std::string::npos) << name;
    bool isSaid = false;
    for (const Item& item : figure.content) {
      const auto* text = std::get_if<TextItem>(&item.shape);
      isSaid = isSaid || (text != nullptr && text->text.find("what-if") != std::string::npos);
    }
    EXPECT_TRUE(isSaid) << name;
  }
}

TEST(MechanismViews, aDragDrawsEveryBlockItCrosses) {
  ViewInput input = bundledInput();
  const View* view = findView("mask");
  input.options.words["mechanism"] = "block:size=8,blocks=none";
  core::Job job;
  const FixedMeasure measure;
  const Size size{800, 600};
  const auto data = view->compute(input, size, job);
  const Figure figure = view->draw(input, data.get(), ViewFrame{lightTheme(), measure, size});
  core::Selection selection;
  Point from{};
  for (double x = 0; x < 400 && from.x == 0; ++x) {
    if (figure.pick({x, 200}).kind == Pick::Kind::Cell) from = {x + 2, 200};
  }
  ASSERT_GT(from.x, 0);
  for (double step = 0; step < 120; step += 6) {
    View::Gesture drag{View::Gesture::Kind::Drag};
    drag.at = {from.x + step, from.y};
    drag.start = from;
    drag.pick = figure.pick(from);
    ASSERT_TRUE(view->handle(drag, input, size, input.options, selection));
  }
  const std::string drawn = input.options.words["mechanism"];
  EXPECT_GE(std::count(drawn.begin(), drawn.end(), '+'), 2) << drawn;
  input.options.numbers["size"] = 4;  // a slider acts on what was drawn
  EXPECT_NE(view->dataKey(input, size).find("size=4"), std::string::npos);
}

TEST(MechanismViews, refusalsAreSaid) {
  const FixedMeasure measure;
  ViewInput input = bundledInput();
  const Theme theme = lightTheme();
  for (const char* word : {"cope", "nonsense", "local:window=0"}) {
    for (const char* name : {"mask", "comparison"}) {
      input.options.words["mechanism"] = word;
      core::Job job;
      const View* view = findView(name);
      const auto data = view->compute(input, {400, 400}, job);
      EXPECT_FALSE(view->draw(input, data.get(), ViewFrame{theme, measure, {400, 400}}).content.empty()) << word;
    }
  }
}

}  // namespace
}  // namespace headscope::tests
