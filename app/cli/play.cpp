// headscope play: a scenario's steps one after the other, without a display: what each says, and its pictures.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <tuple>

#include "app/cli/inputs.h"
#include "app/render.h"
#include "app/replaced_run.h"
#include "app/scenario_file.h"
#include "app/sinks/figure_file.h"
#include "app/sinks/figure_session.h"
#include "app/sinks/qt_fonts.h"
#include "core/attention/forward.h"
#include "core/base/error.h"
#include "core/session/folder_hash.h"
#include "core/session/scenario.h"

namespace headscope::app {
namespace {
namespace fs = std::filesystem;

struct PlayFlags {
  std::string scenario, shots, format = "png";
};

/// The model and the trace of the step before serve the next one, unless it changes what they were made of.
class Stage {
 public:
  explicit Stage(const CommonFlags& common) : common_(common) {}

  /// What the step's views are drawn from.
  views::ViewInput prepare(const core::Session& session, const std::string& where, core::Job& job) {
    CommonFlags flags = common_;
    flags.adapter = session.adapter, flags.strength = session.strength, flags.image = session.image;
    const ModelKey modelKey{session.model, session.adapter, session.strength};
    if (!input_.model || modelKey != modelKey_) {
      input_ = {};
      input_.model = openModel(session.model, flags);
      modelKey_ = modelKey;
    }
    const PromptKey promptKey{session.prompt, session.pair,      session.ids,          session.typeIds,
                              session.image,  session.mechanism, session.replacedHeads};
    if (!input_.trace || promptKey != promptKey_) {
      if (backend_ == nullptr) backend_ = openBackend(common_);
      const auto options = replacedRun(input_.model, session.mechanism, session.replacedHeads, where, backend_);
      const auto prompt = makePrompt(*input_.model, promptFlagsOf(session), flags);
      input_.trace = core::runForward(input_.model, prompt, backend_, options, job);
      input_.scores = std::make_shared<core::HeadScores>(core::headScores(*input_.trace, false, job));
      promptKey_ = promptKey;
    }
    requireInside(session.selection, input_.model->spec(), input_.trace->count(), where, where, where);
    input_.selection = session.selection;
    return input_;
  }

 private:
  using ModelKey = std::tuple<std::string, std::string, double>;
  using PromptKey = std::tuple<std::string, std::string, std::vector<int32_t>, std::vector<int32_t>, std::string, std::string, std::string>;

  const CommonFlags& common_;
  std::shared_ptr<core::Backend> backend_;
  views::ViewInput input_;
  ModelKey modelKey_;
  PromptKey promptKey_;
};

/// "03", or "03_2" for the second of several panes.
std::string shotName(size_t step, size_t steps, size_t pane, size_t panes) {
  std::string number = std::to_string(step + 1);
  number.insert(0, std::to_string(steps).size() - number.size(), '0');
  return panes == 1 ? number : number + "_" + std::to_string(pane + 1);
}

void playStep(const core::Scenario& scenario, size_t i, const PlayFlags& flags, const CommonFlags& common, Stage& stage) {
  core::Session session = scenario.steps[i].session;
  const std::string where = flags.scenario + ", step " + std::to_string(i + 1);
  if (session.panes.empty()) session.panes.push_back({"head_grid", {}});
  runWithProgress("step " + std::to_string(i + 1), common, [&](core::Job& job) {
    views::ViewInput input = stage.prepare(session, where, job);
    std::printf("%zu/%zu  %s\n", i + 1, scenario.steps.size(), scenario.steps[i].say.c_str());
    if (flags.shots.empty()) return;
    session.modelHash = core::folderHash(input.model->folder());
    for (size_t p = 0; p < session.panes.size(); ++p) {
      const views::View* view = views::findView(session.panes[p].view);
      if (view == nullptr) throw core::Error("there is no view \"" + session.panes[p].view + "\"", where);
      input.options = session.panes[p].options;
      core::Session shown = session;
      shown.panes = {session.panes[p]};
      const fs::path file = fs::path(flags.shots) / (shotName(i, scenario.steps.size(), p, session.panes.size()) + "." + flags.format);
      writeFigure(file.string(), paperFigure(*view, input, session.figure, session.theme == "dark", job), shown, {});
      std::printf("     %s\n", file.c_str());
    }
  });
}

void run(const PlayFlags& flags, const CommonFlags& common) {
  const OffscreenApplication application;
  const core::Scenario scenario = readScenario(resolveScenario(flags.scenario));
  if (!flags.shots.empty()) {
    std::error_code code;
    fs::create_directories(flags.shots, code);
    if (code) throw core::Error("can't make the folder: " + code.message(), flags.shots);
  }
  if (!scenario.title.empty()) std::printf("%s\n", scenario.title.c_str());
  Stage stage(common);
  for (size_t i = 0; i < scenario.steps.size(); ++i) playStep(scenario, i, flags, common, stage);
}

}  // namespace

void declarePlay(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<PlayFlags>();
  CLI::App* command = root.add_subcommand("play", "a scenario step by step: what each says, and its pictures");
  command->add_option("scenario", flags->scenario, "scenario file, or a bundled lesson (first_look)")->required();
  command->add_option("--shots", flags->shots, "folder for a picture of every step");
  command->add_option("--format", flags->format, "of the pictures")->check(CLI::IsMember({"png", "svg", "pdf"}))->capture_default_str();
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
