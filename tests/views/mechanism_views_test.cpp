// The mechanism views on the bundled model: every one draws at several sizes in both themes, says what it shows, and gives its
// numbers; what can't be shown is said instead.
#include <gtest/gtest.h>

#include <cmath>

#include "core/attention/forward.h"
#include "core/backend/backend.h"
#include "tests/views/support.h"
#include "views/view.h"

namespace headscope::tests {
namespace {

using namespace views;

ViewInput bundledInput() {
  ViewInput input;
  input.model = core::Model::open(std::string(HEADSCOPE_SOURCE_FOLDER) + "/assets/tales");
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
