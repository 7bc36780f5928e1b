// What the panes show: each kind of model its own layout, a session's before both.
#include "app/window/pane_layout.h"

#include <gtest/gtest.h>

namespace headscope::app {
namespace {

using Kind = core::InputKind;

std::vector<std::string> viewsOf(const PaneLayout& layout) {
  std::vector<std::string> names;
  for (const core::PaneState& pane : layout.visible()) names.push_back(pane.view);
  return names;
}

}  // namespace

TEST(PaneLayout, aModelOfImagesOpensWithTheImageAndTextComesBackAsItWas) {
  PaneLayout layout;
  layout.suit(Kind::Tokens);
  layout.setView(0, "lora");
  layout.suit(Kind::Image);
  EXPECT_EQ(viewsOf(layout), (std::vector<std::string>{"image", "image", "spectra", "image"}));
  EXPECT_TRUE(layout.at(1).options.words.empty()) << "one head in the large pane";
  layout.setView(2, "rank_map");
  layout.suit(Kind::Tokens);
  EXPECT_EQ(viewsOf(layout), (std::vector<std::string>{"lora", "attention_map", "spectra", "neuron"}));
  layout.suit(Kind::Image);
  EXPECT_EQ(layout.at(2).view, "rank_map");
}

TEST(PaneLayout, aSessionsPanesStayWhateverItsModelIs) {
  PaneLayout layout;
  layout.suit(Kind::Tokens);
  core::PaneState rollout{"image", {}};
  rollout.options.words["form"] = "rollout";
  layout.apply({rollout});
  EXPECT_EQ(layout.at(0), rollout) << "before its model is there, too";
  EXPECT_EQ(layout.count(), 1);
  layout.suit(Kind::Image);
  EXPECT_EQ(layout.at(0), rollout);
  layout.suit(Kind::Tokens);
  EXPECT_EQ(layout.at(0).view, "head_grid") << "the layout for text is not the session's";
}

TEST(PaneLayout, countFocusAndMaximising) {
  PaneLayout layout;
  layout.setCount(3);
  EXPECT_EQ(layout.count(), 4);
  layout.focus(3);
  layout.toggleMaximised(2);
  EXPECT_EQ(layout.maximised(), 2);
  EXPECT_EQ(layout.focused(), 2);
  layout.setCount(1);
  EXPECT_EQ(layout.maximised(), -1);
  EXPECT_EQ(layout.focused(), 0);
  layout.focus(9);
  EXPECT_EQ(layout.focused(), 0);
}

}  // namespace headscope::app
