// headscope attend and heads as a user runs them: all golden models and adapters, and what is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "core/model/adapter.h"
#include "tests/support/golden.h"
#include "tests/support/golden_run.h"
#include "tests/support/program.h"

using namespace headscope::core;
using namespace headscope::tests;
namespace fs = std::filesystem;

namespace {

std::string joined(const std::vector<int64_t>& numbers) {
  std::ostringstream text;
  for (size_t i = 0; i < numbers.size(); ++i) text << (i > 0 ? "," : "") << numbers[i];
  return text.str();
}

std::string integers(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* info = file.find(name);
  if (info == nullptr) return "";
  std::vector<int64_t> values(static_cast<size_t>(info->count()));
  std::memcpy(values.data(), info->data, values.size() * sizeof(int64_t));
  return joined(values);
}

/// Flags that give a golden prompt to a command.
std::vector<std::string> promptFlags(const fs::path& goldenFile) {
  const auto golden = SafetensorsFile::open(goldenFile);
  if (golden->find("pixel_values") != nullptr) return {"--image", goldenFile.string()};
  std::vector<std::string> flags = {"--ids", integers(*golden, "ids")};
  if (golden->find("token_type_ids") != nullptr) flags.insert(flags.end(), {"--type-ids", integers(*golden, "token_type_ids")});
  return flags;
}

ProgramResult attend(const fs::path& model, const fs::path& goldenFile, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"attend", model.string()};
  for (const auto& part : {promptFlags(goldenFile), more}) arguments.insert(arguments.end(), part.begin(), part.end());
  return runProgram(arguments);
}

/// Largest difference of every reference tensor, maps absolute and the rest relative to their largest value.
void expectGolden(const SafetensorsFile& got, const SafetensorsFile& golden, const std::string& name) {
  double maps = 0, rest = 0;
  for (const TensorInfo& info : golden.tensors()) {
    const std::string tensor(info.name);
    if (!isFloat(info.dtype) || tensor == "pixel_values") continue;
    const TensorInfo* own = got.find(tensor);
    ASSERT_NE(own, nullptr) << tensor;
    EXPECT_EQ(own->shape, info.shape) << tensor;
    const std::vector<float> a = floatsOf(got, tensor), b = floatsOf(golden, tensor);
    ASSERT_EQ(a.size(), b.size());
    double difference = 0, largest = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      difference = std::max(difference, static_cast<double>(std::abs(a[i] - b[i])));
      largest = std::max(largest, static_cast<double>(std::abs(b[i])));
    }
    double& worst = tensor.starts_with("attentions") ? maps : rest;
    worst = std::max(worst, tensor.starts_with("attentions") ? difference : difference / largest);
  }
  std::printf("%-26s attentions %.1e  hidden and logits %.1e\n", name.c_str(), maps, rest);
  EXPECT_LE(maps, 1e-5) << name;
  EXPECT_LE(rest, 1e-4) << name;
}

fs::path gpt2() { return goldenFolder() / "models" / "gpt2"; }

}  // namespace

TEST(Attend, everyGoldenModel) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const TemporaryFolder folder;
  for (const auto& entry : fs::directory_iterator(goldenFolder() / "models")) {
    const std::string out = folder / "out.safetensors";
    const ProgramResult result = attend(entry.path(), entry.path() / "golden.safetensors", {"--out", out});
    ASSERT_EQ(result.exitCode, 0) << entry.path() << result.errors;
    expectGolden(*SafetensorsFile::open(out), *openGolden(entry.path()), entry.path().filename());
  }
}

TEST(Attend, everyGoldenAdapter) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const TemporaryFolder folder;
  for (const auto& entry : fs::directory_iterator(goldenFolder() / "adapters")) {
    const fs::path base = fs::path(Adapter::open(entry.path())->config().baseModel).filename();
    const std::string out = folder / "out.safetensors";
    const ProgramResult result =
        attend(goldenFolder() / "models" / base, entry.path() / "golden.safetensors", {"--out", out, "--adapter", entry.path().string()});
    ASSERT_EQ(result.exitCode, 0) << entry.path() << result.errors;
    expectGolden(*SafetensorsFile::open(out), *openGolden(entry.path()), entry.path().filename());
  }
}

TEST(Attend, selectsLayersHeadsAndTensors) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const TemporaryFolder folder;
  const fs::path model = goldenFolder() / "models" / "llama3_gqa";
  const std::string all = folder / "all.safetensors", some = folder / "some.safetensors";
  ASSERT_EQ(attend(model, model / "golden.safetensors", {"--out", all, "--select", "attentions,q,k,v"}).exitCode, 0);
  ASSERT_EQ(
      attend(model, model / "golden.safetensors", {"--out", some, "--select", "attentions,q,k,v,hidden", "--layers", "1", "--heads", "1,3"})
          .exitCode,
      0);
  const auto whole = SafetensorsFile::open(all), part = SafetensorsFile::open(some);
  EXPECT_EQ(whole->find("k.0")->shape, (std::vector<int64_t>{2, 40, 24}));
  EXPECT_EQ(part->find("attentions.0"), nullptr);
  EXPECT_EQ(part->find("logits"), nullptr);
  EXPECT_NE(part->find("hidden.2"), nullptr);
  EXPECT_EQ(part->find("attentions.1")->shape, (std::vector<int64_t>{2, 40, 40}));
  const std::vector<float> a = floatsOf(*whole, "attentions.1"), b = floatsOf(*part, "attentions.1");
  const auto head = [&](int64_t h) { return std::vector<float>(a.begin() + h * 1600, a.begin() + (h + 1) * 1600); };
  EXPECT_EQ(head(1), std::vector<float>(b.begin(), b.begin() + 1600));
  EXPECT_EQ(head(3), std::vector<float>(b.begin() + 1600, b.end()));
}

TEST(Attend, saysWhatIsWrong) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const TemporaryFolder folder;
  const std::string out = folder / "out.safetensors", model = gpt2().string();
  struct Case {
    std::vector<std::string> arguments;
    int exitCode;
    std::string says;
  };
  const std::string long200 = [] {
    std::string ids = "1";
    for (int i = 0; i < 199; ++i) ids += ",1";
    return ids;
  }();
  const std::vector<Case> cases = {
      {{"attend", model, "--ids", "5,400", "--out", out}, 1, "400"},
      {{"attend", model, "--ids", "5,-1", "--out", out}, 1, "-1"},
      {{"attend", model, "--ids", "5,x", "--out", out}, 1, "--ids"},
      {{"attend", model, "--prompt", "", "--out", out}, 1, "empty"},
      {{"attend", model, "--ids", long200, "--out", out}, 1, "128"},
      {{"attend", model, "--ids", "1,2", "--layers", "7", "--out", out}, 1, "--layers"},
      {{"attend", model, "--ids", "1,2", "--heads", "0.9", "--out", out}, 1, "--heads"},
      {{"attend", model, "--ids", "1,2", "--select", "maps", "--out", out}, 1, "maps"},
      {{"attend", model, "--ids", "1,2", "--out", folder / "no/such/out.safetensors"}, 1, "no/such"},
      {{"attend", folder / "nothing", "--ids", "1,2", "--out", out}, 1, "nothing"},
      {{"attend", model, "--ids", "1,2", "--device", "cuda", "--out", out}, 1, "CUDA"},
      {{"attend", model, "--out", out}, 2, "--prompt"},
      {{"attend", model, "--ids", "1", "--repeat", "3", "--out", out}, 2, "several"},
      {{"attend", (goldenFolder() / "models" / "vit").string(), "--ids", "1,2", "--out", out}, 1, "image"},
      {{"heads", model, "--ids", "1,2", "--out", folder / "out.txt"}, 1, ".csv"},
      {{"bench", "nothing"}, 1, "map_overview"},
  };
  for (const Case& c : cases) {
    const ProgramResult result = runProgram(c.arguments);
    EXPECT_EQ(result.exitCode, c.exitCode) << c.says << ": " << result.errors;
    EXPECT_NE(result.errors.find(c.says), std::string::npos) << c.says << ": " << result.errors;
    if (c.exitCode == 1) {
      EXPECT_EQ(std::count(result.errors.begin(), result.errors.end(), '\n'), 1) << result.errors;
    }
  }
  EXPECT_FALSE(fs::exists(out));
}

TEST(Heads, tableOfScores) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const TemporaryFolder folder;
  const std::string csv = folder / "heads.csv", tensors = folder / "heads.safetensors";
  ASSERT_EQ(runProgram({"heads", gpt2().string(), "--repeat", "20", "--seed", "3", "--out", csv}).exitCode, 0);
  ASSERT_EQ(runProgram({"heads", gpt2().string(), "--repeat", "20", "--seed", "3", "--out", tensors}).exitCode, 0);
  std::ifstream in(csv);
  std::string header, first;
  std::getline(in, header);
  std::getline(in, first);
  EXPECT_TRUE(header.starts_with("layer,head,entropy,previous,self,first,induction,duplicate,distance,keys.0.8,")) << header;
  EXPECT_NE(header.find("keys.0.999,weighted_keys.0.8"), std::string::npos);
  const auto file = SafetensorsFile::open(tensors);
  EXPECT_EQ(file->find("induction")->shape, (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(file->find("induction")->dtype, DType::F64);
  char entropy[40];
  std::snprintf(entropy, sizeof(entropy), "0,0,%.9g,", doublesOf(*file, "entropy")[0]);
  EXPECT_TRUE(first.starts_with(entropy)) << first;
}

TEST(Heads, blankCellsWhereAModelSeesBothWays) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const TemporaryFolder folder;
  const std::string csv = folder / "heads.csv";
  ASSERT_EQ(runProgram({"heads", (goldenFolder() / "models" / "bert").string(), "--ids", "1,2,3,2", "--out", csv}).exitCode, 0);
  std::ifstream in(csv);
  std::string line;
  std::getline(in, line);
  std::getline(in, line);
  EXPECT_NE(line.find(",,"), std::string::npos) << line;
}
