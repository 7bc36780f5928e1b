// headscope render as people run it: the program itself on the bundled model.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "app/sinks/figure_session.h"
#include "tests/support/folders.h"
#include "tests/support/golden.h"
#include "tests/support/program.h"

namespace headscope::app {
namespace {
namespace fs = std::filesystem;

using tests::contents;

class Render : public ::testing::Test {
 protected:
  /// Runs `headscope render ARGUMENTS` in the folder; the exit code. What it writes is in `errors`.
  int render(const std::string& arguments) {
    const std::string program = (tests::buildFolder() / "headscope").string();
    const std::string command = "cd '" + folder.string() + "' && env -u DISPLAY -u WAYLAND_DISPLAY -u QT_QPA_PLATFORM '" + program +
                                "' render " + arguments + " >out.txt 2>err.txt";
    const int status = std::system(command.c_str());
    errors = contents(folder / "err.txt");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  tests::TemporaryFolder scratch;
  const fs::path folder = scratch.path();
  std::string errors;
  const std::string prompt = "--prompt 'The cat sat. The cat'";
};

TEST_F(Render, EveryViewInEveryFormat) {
  for (const char* view : {"head_grid", "attention_map", "token_flow", "neuron"}) {
    for (const char* format : {"svg", "pdf", "png"}) {
      const std::string file = std::string(view) + "." + format;
      ASSERT_EQ(render("tales " + prompt + " --view " + view + " -o " + file), 0) << errors;
      EXPECT_GT(fs::file_size(folder / file), 1000u);
      const core::Session session = sessionFromFile(folder / file);
      EXPECT_EQ(session.model, "tales");
      EXPECT_EQ(session.prompt, "The cat sat. The cat");
      EXPECT_EQ(session.panes.at(0).view, view);
    }
  }
  EXPECT_EQ(errors, "");
}

TEST_F(Render, AFigureMakesItselfAgainByteForByte) {
  ASSERT_EQ(render("tales " + prompt + " --head 1.3 --limits 0,0.5 --color-scale log --width-mm 120 --theme dark -o a.svg"), 0) << errors;
  ASSERT_EQ(render("tales " + prompt + " --head 1.3 --limits 0,0.5 --color-scale log --width-mm 120 --theme dark -o b.svg"), 0) << errors;
  EXPECT_EQ(contents(folder / "a.svg"), contents(folder / "b.svg"));
  ASSERT_EQ(render("a.svg -o c.pdf"), 0) << errors;
  ASSERT_EQ(render("c.pdf -o d.png"), 0) << errors;
  ASSERT_EQ(render("d.png -o e.svg"), 0) << errors;
  EXPECT_EQ(contents(folder / "a.svg"), contents(folder / "e.svg"));
  ASSERT_EQ(render("c.pdf --prompt 'Another sentence' -o f.svg"), 0) << errors;
  const core::Session other = sessionFromFile(folder / "f.svg");
  EXPECT_EQ(other.prompt, "Another sentence");
  EXPECT_EQ(other.figure.width_mm, 120);
  EXPECT_EQ(other.selection.layer, 1);
}

TEST_F(Render, HeadsRunUnderAnotherMechanismAndTheFigureRemembers) {
  ASSERT_EQ(render("tales " + prompt + " --mechanism local:window=2 --replace all -o a.svg --caption"), 0) << errors;
  EXPECT_NE(contents(folder / "a.txt").find("local:window=2, in heads all"), std::string::npos);
  EXPECT_EQ(sessionFromFile(folder / "a.svg").replacedHeads, "all");
  ASSERT_EQ(render("a.svg -o b.svg"), 0) << errors;
  EXPECT_EQ(contents(folder / "a.svg"), contents(folder / "b.svg"));
  ASSERT_EQ(render("tales " + prompt + " --head 0.2 -o c.svg"), 0) << errors;
  EXPECT_NE(contents(folder / "a.svg"), contents(folder / "c.svg"));
  EXPECT_EQ(render("tales " + prompt + " --replace all -o d.svg"), 1);
  EXPECT_NE(errors.find("--mechanism"), std::string::npos) << errors;
  EXPECT_EQ(render("tales " + prompt + " --mechanism local:window=2 --replace 9.1 -o d.svg"), 1);
  EXPECT_NE(errors.find("--replace"), std::string::npos) << errors;
}

TEST_F(Render, TheDefaultHeadIsTheMostTelling) {
  ASSERT_EQ(render("tales --repeat 20 -o a.svg"), 0) << errors;
  const core::Session session = sessionFromFile(folder / "a.svg");
  EXPECT_EQ(session.selection.layer, 3);  // where the bundled model's induction heads are
  EXPECT_EQ(session.ids.empty(), session.prompt.size() > 0);
}

TEST_F(Render, PanelsCsvAndCaptions) {
  ASSERT_EQ(render("tales " + prompt + " --heads 1.3,3.2 --letters --width-mm 178 -o p.svg --csv p.csv --caption"), 0) << errors;
  const std::string svg = contents(folder / "p.svg");
  for (const char* word : {">a</text>", ">b</text>", ">1.3</text>", ">3.2</text>"}) EXPECT_NE(svg.find(word), std::string::npos) << word;
  EXPECT_TRUE(contents(folder / "p.csv").starts_with("layer,head,query,key,"));
  EXPECT_NE(contents(folder / "p.txt").find("(b) Attention map of layer 3, head 2"), std::string::npos);
}

TEST_F(Render, FaultsAreOneLineThatSaysWhatAndWhere) {
  const std::pair<std::string, const char*> cases[] = {
      {"tales " + prompt + " -o a.bmp", ".bmp"},
      {"tales " + prompt + " -o no/such/a.svg", "no/such"},
      {"tales " + prompt + " --view nonsense -o a.svg", "attention_map"},
      {"tales " + prompt + " --head 9.9 -o a.svg", "--head"},
      {"tales " + prompt + " --query 99 -o a.svg", "--query"},
      {"tales " + prompt + " --limits 2,1 -o a.svg", "--limits"},
      {"absent_model " + prompt + " -o a.svg", "absent_model"},
      {"err.txt -o a.svg", "err.txt"},
  };
  for (const auto& [arguments, part] : cases) {
    EXPECT_EQ(render(arguments), 1) << arguments;
    EXPECT_NE(errors.find(part), std::string::npos) << arguments << ": " << errors;
    EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 1) << errors;
    EXPECT_FALSE(fs::exists(folder / "a.svg"));
  }
  EXPECT_EQ(render("tales"), 2);
  EXPECT_EQ(render("tales " + prompt + " -o a.svg --theme pink"), 2);
}

TEST_F(Render, WithoutADisplayTheFirstSessionIsWritten) {
  const std::string command = "cd '" + folder.string() + "' && env -u DISPLAY -u WAYLAND_DISPLAY -u QT_QPA_PLATFORM '" +
                              (tests::buildFolder() / "headscope").string() + "' >out.txt 2>err.txt";
  ASSERT_EQ(std::system(command.c_str()), 0) << contents(folder / "err.txt");
  const std::string said = contents(folder / "out.txt");
  for (const char* part : {"no display", "induction", "previous", ".svg", ".png"}) EXPECT_NE(said.find(part), std::string::npos) << part;
  int figures = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string ending = entry.path().extension().string();
    if (ending != ".svg" && ending != ".png") continue;
    ++figures;
    EXPECT_EQ(sessionFromFile(entry.path()).model, "tales");
  }
  EXPECT_EQ(figures, 2);
}

TEST_F(Render, GoldenModelsByIds) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* model : {"gpt2", "llama3_gqa", "gemma2", "bert"}) {
    const std::string path = "'" + (tests::goldenFolder() / "models" / model).string() + "'";
    for (const char* view : {"head_grid", "attention_map", "token_flow", "neuron"}) {
      EXPECT_EQ(render(path + " --ids 5,9,13,9,5,7 --view " + view + " -o a.svg"), 0) << model << " " << view << ": " << errors;
    }
    EXPECT_NE(contents(folder / "a.svg").find("#5"), std::string::npos);  // without a tokenizer, ids
  }
}

}  // namespace
}  // namespace headscope::app
