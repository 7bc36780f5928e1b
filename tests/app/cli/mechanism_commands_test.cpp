// variants, budget, cache, complexity and the mechanism views of render as people run them.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "tests/support/folders.h"

namespace headscope::app {
namespace {
namespace fs = std::filesystem;

class MechanismCommands : public ::testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() /
             ("headscope_mechanisms_" + std::to_string(::getpid()) + "_" + ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
    std::ofstream(folder / "texts.txt")
        << "The wolf said to the girl.\n\nOnce upon a time there was a king, and the king had a daughter.\n";
  }
  void TearDown() override { fs::remove_all(folder); }

  int run(const std::string& arguments) {
    const std::string program = (tests::buildFolder() / "headscope").string();
    const std::string command =
        "cd '" + folder.string() + "' && env -u DISPLAY -u WAYLAND_DISPLAY '" + program + "' " + arguments + " >out.txt 2>err.txt";
    const int status = std::system(command.c_str());
    said = contents("out.txt");
    errors = contents("err.txt");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string contents(const std::string& name) {
    std::ifstream in(folder / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fs::path folder;
  std::string said, errors;
  const std::string prompt = "--prompt 'The cat sat. The cat'";
};

TEST_F(MechanismCommands, variantsWithReplacementSeedsAndRecall) {
  ASSERT_EQ(run("variants tales " + prompt +
                " --mechanisms 'local:window=2;rfa:features=8;clustered:clusters=3,visit=1' --heads 1.2 --replace all --seeds 3"
                " --centres-from texts.txt --recall recall.csv --json"),
            0)
      << errors;
  const auto json = nlohmann::json::parse(said);
  ASSERT_EQ(json.size(), 4u);
  EXPECT_EQ(json[1]["mechanism"], "local:window=2");
  EXPECT_GT(json[1]["model_loss"].get<double>(), 0);
  EXPECT_GT(json[1]["model_kl"].get<double>(), 0);
  EXPECT_EQ(json[2]["seeds"], 3);
  EXPECT_GT(json[2]["output_error_spread"].get<double>(), 0);
  const std::string recall = contents("recall.csv");
  EXPECT_TRUE(recall.starts_with("layer,head,mechanism,visit,share_read,recall,exact_topk,random")) << recall;
  EXPECT_EQ(std::count(recall.begin(), recall.end(), '\n'), 4);
  EXPECT_EQ(run("variants tales " + prompt + " --centres-from absent.txt"), 2);
}

TEST_F(MechanismCommands, budgetCacheAndComplexity) {
  ASSERT_EQ(run("budget tales " + prompt + " --bound 0.1 --mechanisms 'local:window=4' --out plan.json"), 0) << errors;
  EXPECT_EQ(nlohmann::json::parse(contents("plan.json"))["format"], "headscope-attention-plan");
  ASSERT_EQ(run("cache tales --context 1000 --json"), 0) << errors;
  EXPECT_EQ(nlohmann::json::parse(said)[0]["context"], 1000);
  ASSERT_EQ(run("complexity --sizes 64,128 --mechanisms 'causal;linear' --layer-width 32 --layer-heads 4 --json"), 0) << errors;
  const auto json = nlohmann::json::parse(said);
  std::set<std::string> parts;
  for (const auto& row : json) {
    parts.insert(row["part"]);
    EXPECT_TRUE(row["seconds"].get<double>() > 0) << row;
    EXPECT_FALSE(row["time_order"].get<std::string>().empty()) << row;
  }
  EXPECT_EQ(parts, (std::set<std::string>{"head", "layer", "table"}));
  EXPECT_EQ(run("complexity --layer-width 32 --layer-heads 5"), 1);
  EXPECT_NE(errors.find("--layer-heads"), std::string::npos);
}

TEST_F(MechanismCommands, viewsRenderWithTheirOwnOptions) {
  ASSERT_EQ(run("render tales " + prompt + " --view sparse_v --set texts=texts.txt -o a.svg --csv a.csv --caption"), 0) << errors;
  EXPECT_NE(contents("a.txt").find("2 prompts of texts.txt"), std::string::npos) << contents("a.txt");
  EXPECT_NE(contents("a.csv").find(",all,"), std::string::npos);
  ASSERT_EQ(
      run("render tales " + prompt + " --view sparse_v --set form=clusters --set clusters=3 --set visit=1 --set fit=texts.txt -o b.svg"), 0)
      << errors;
  ASSERT_EQ(run("render b.svg -o c.svg"), 0) << errors;
  EXPECT_EQ(contents("b.svg"), contents("c.svg"));
  EXPECT_EQ(run("render tales " + prompt + " --view mask --set nonsense -o d.svg"), 1);
  EXPECT_NE(errors.find("--set"), std::string::npos);
}

}  // namespace
}  // namespace headscope::app
