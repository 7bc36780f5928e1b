// What is wrong with files, folders and prompts, as the window says it; it stays usable after each.
#include <sys/resource.h>
#include <unistd.h>

#include <QFile>
#include <QFileInfo>
#include <QLabel>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "app/assets.h"
#include "app/window/export_dialog.h"
#include "app/window/prompt_panel.h"
#include "tests/app/window/window_fixture.h"
#include "tests/support/program.h"

namespace headscope::app {
namespace {
namespace fs = std::filesystem;

using tests::contents;

void write(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

class BadInput : public WindowTest {
 protected:
  /// A copy of the bundled model that a test may spoil.
  fs::path modelCopy(const std::string& name) {
    const fs::path folder = fs::path(folder_.path().toStdString()) / name;
    fs::copy(resolveModel("tales"), folder, fs::copy_options::recursive);
    return folder;
  }

  void expectSaid(const fs::path& opened, const std::vector<const char*>& parts) {
    const int64_t before = state().selection().layer;
    window_->openPath(QString::fromStdString(opened.string()));
    ASSERT_TRUE(waitFor([&] { return window_->notices().text().contains(parts.front()); }))
        << opened << ": " << window_->notices().text().toStdString();
    for (const char* part : parts) EXPECT_TRUE(window_->notices().text().contains(part)) << window_->notices().text().toStdString();
    EXPECT_EQ(state().opened().model->name(), "tales");
    state().moveHead(before == 0 ? 1 : -1, 0);
    EXPECT_NE(state().selection().layer, before) << "the window is usable";
    window_->notices().dismissErrors();
  }

  bool hasHatch(int pane) {
    const views::Figure& figure = window_->canvas()->workspace()->figure(pane);
    return std::any_of(figure.content.begin(), figure.content.end(),
                       [](const views::Item& item) { return std::holds_alternative<views::HatchItem>(item.shape); });
  }
};

/// Bytes of a safetensors file with a header changed by `change`.
std::string withHeader(const std::string& file, const std::function<void(nlohmann::ordered_json&)>& change) {
  uint64_t size = 0;
  std::memcpy(&size, file.data(), 8);
  auto header = nlohmann::ordered_json::parse(file.substr(8, size));
  change(header);
  const std::string text = header.dump();
  size = text.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &size, 8);
  return out + text + file.substr(8 + static_cast<size_t>(*reinterpret_cast<const uint64_t*>(file.data())));
}

}  // namespace

TEST_F(BadInput, brokenModelFoldersAreNamedAndTheModelStays) {
  ASSERT_TRUE(settle());
  const fs::path root = folder_.path().toStdString();
  fs::create_directory(root / "nothing");
  expectSaid(root / "nothing", {"nothing", "config.json"});

  const fs::path noConfig = modelCopy("no_config");
  fs::remove(noConfig / "config.json");
  expectSaid(noConfig, {"no_config", "config.json"});

  const fs::path wrongJson = modelCopy("wrong_json");
  write(wrongJson / "config.json", "{\"model_type\": \"llama\", ");
  expectSaid(wrongJson, {"wrong_json", "config.json"});

  const fs::path half = modelCopy("half");
  fs::resize_file(half / "model.safetensors", fs::file_size(half / "model.safetensors") / 2);
  expectSaid(half, {"half", "model.safetensors"});

  const fs::path lying = modelCopy("lying");
  const std::string weights = contents(lying / "model.safetensors");
  write(lying / "model.safetensors", withHeader(weights, [](nlohmann::ordered_json& header) {
          header["model.embed_tokens.weight"]["shape"] = {1, 2};
        }));
  expectSaid(lying, {"lying", "model.embed_tokens.weight"});

  const fs::path unknown = modelCopy("unknown");
  auto config = nlohmann::json::parse(contents(unknown / "config.json"));
  config["model_type"] = "mamba", config["architectures"] = {"MambaForCausalLM"};
  write(unknown / "config.json", config.dump());
  expectSaid(unknown, {"mamba", "llama", "gpt2"});

  ASSERT_TRUE(settle());
}

TEST_F(BadInput, aModelCutShortWhileOpenIsSaidAndOpensAgain) {
  ASSERT_TRUE(settle());
  const fs::path folder = modelCopy("cut");
  window_->openPath(QString::fromStdString(folder.string()));
  ASSERT_TRUE(waitFor([&] { return state().opened().model->name() == "cut"; }));
  ASSERT_TRUE(settle());
  const std::string whole = contents(folder / "model.safetensors");
  fs::resize_file(folder / "model.safetensors", 100'000);
  for (const char* prompt : {"the girl and the wolf", "and once more"}) {
    state().setPrompt(prompt, false);
    ASSERT_TRUE(waitFor([&] { return window_->notices().text().contains("cut the file short"); }));
    EXPECT_TRUE(window_->notices().text().contains("model.safetensors")) << window_->notices().text().toStdString();
    EXPECT_FALSE(state().trace()) << "nothing of zeros for weights is shown";
    window_->notices().dismissErrors();
  }
  write(folder / "model.safetensors", whole);
  window_->openPath(QString::fromStdString(folder.string()));
  ASSERT_TRUE(waitFor([&] { return state().trace() != nullptr; })) << window_->notices().text().toStdString();
  ASSERT_TRUE(settle());
  EXPECT_TRUE(window_->notices().text().isEmpty()) << window_->notices().text().toStdString();
  ExportRequest request;
  request.path = folder_.filePath("whole_again.svg");
  window_->exportTo(1, request);
  ASSERT_TRUE(waitFor([&] { return state().jobs().isIdle(); }));
  EXPECT_GT(QFileInfo(request.path).size(), 100) << "what was said of the old file is over: " << window_->notices().text().toStdString();
}

TEST_F(BadInput, nanWeightsAreShownHatched) {
  ASSERT_TRUE(settle());
  EXPECT_FALSE(hasHatch(0));
  const fs::path folder = modelCopy("nan_weights");
  std::string file = contents(folder / "model.safetensors");
  uint64_t size = 0;
  std::memcpy(&size, file.data(), 8);
  const auto header = nlohmann::json::parse(file.substr(8, size));
  const auto range = header.at("model.layers.2.self_attn.q_proj.weight").at("data_offsets");
  const uint16_t nan = 0x7E00;  // float16
  for (size_t at = 8 + size + range[0].get<size_t>(); at < 8 + size + range[1].get<size_t>(); at += 2)
    std::memcpy(file.data() + at, &nan, 2);
  write(folder / "model.safetensors", file);
  window_->openPath(QString::fromStdString(folder.string()));
  ASSERT_TRUE(waitFor([&] { return state().opened().model->name() == "nan_weights"; })) << window_->notices().text().toStdString();
  core::Selection spoilt = state().selection();
  spoilt.layer = 2;
  ASSERT_TRUE(settle());
  state().select(spoilt);
  ASSERT_TRUE(settle());
  frame();
  EXPECT_TRUE(hasHatch(0)) << "the grid's heads";
  EXPECT_TRUE(hasHatch(1)) << "the map";
}

TEST_F(BadInput, aPromptThatIsTooLongIsCutAndTheNoteSaysWhere) {
  OpenedModel opened;
  core::Job job;
  opened = openModelFiles("tales", "", 1, job);
  std::string text;
  for (int i = 0; i < 1500; ++i) text += "the girl said to the wolf ";
  const auto prompt = promptOf(opened, {text, "", ""}, job);
  EXPECT_EQ(prompt->count(), kMostTokens);
  ASSERT_EQ(prompt->notes.size(), 1u);
  for (const char* part : {"the window's limit is 8192", "the last", "are cut"})
    EXPECT_NE(prompt->notes[0].find(part), std::string::npos) << prompt->notes[0];
}

TEST_F(BadInput, beyondTheTrainedContextIsSaid) {
  ASSERT_TRUE(settle());
  QString text;
  for (int i = 0; i < 100; ++i) text += "the girl said to the wolf ";
  state().setPrompt(text, false);
  ASSERT_TRUE(waitFor([&] { return state().trace() && state().trace()->count() > 512; }));
  bool isSaid = false;
  for (const QLabel* label : window_->promptPanel().findChildren<QLabel*>())
    isSaid = isSaid || label->text().contains("beyond the trained 512");
  EXPECT_TRUE(isSaid);
  ASSERT_TRUE(settle());
}

TEST_F(BadInput, aFullDiskWhileExportingLeavesTheOldFile) {
  ASSERT_TRUE(settle());
  // A limit on file sizes stands for the full disk: writes beyond it fail in the same way.
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  for (const char* name : {"a.svg", "a.pdf", "a.png", "a.csv"}) {
    ExportRequest request;
    request.path = folder_.filePath(QLatin1String(name));
    write(request.path.toStdString(), "old");
    const rlimit tight{1000, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &tight);
    window_->exportTo(1, request);
    EXPECT_TRUE(waitFor([&] { return window_->notices().text().contains(QLatin1String(name)); }))
        << window_->notices().text().toStdString();
    EXPECT_TRUE(waitFor([&] { return state().jobs().isIdle(); }));
    ::setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_FALSE(window_->notices().text().contains("Saved")) << name;
    EXPECT_EQ(contents(request.path.toStdString()), "old");
    window_->notices().dismissErrors();
  }
  std::signal(SIGXFSZ, old);
}

TEST_F(BadInput, aReadOnlyFolderIsSaid) {
  if (::geteuid() == 0) GTEST_SKIP() << "root writes everywhere; the absent folder of another test covers the message";
  ASSERT_TRUE(settle());
  const fs::path folder = fs::path(folder_.path().toStdString()) / "locked";
  fs::create_directory(folder);
  fs::permissions(folder, fs::perms::owner_read | fs::perms::owner_exec);
  ExportRequest request;
  request.path = QString::fromStdString((folder / "map.svg").string());
  window_->exportTo(1, request);
  EXPECT_TRUE(waitFor([&] { return window_->notices().text().contains("locked"); }));
  fs::permissions(folder, fs::perms::owner_all);
  EXPECT_TRUE(settle());
}

}  // namespace headscope::app
