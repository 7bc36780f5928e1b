#include "app/first_session.h"

#include <cstdio>
#include <filesystem>

#include "app/cli/inputs.h"
#include "app/render.h"
#include "app/sinks/figure_file.h"
#include "app/sinks/qt_fonts.h"
#include "core/attention/forward.h"
#include "core/attention/head_name.h"
#include "core/attention/telling_heads.h"
#include "core/session/folder_hash.h"

namespace headscope::app {
namespace {

void printTellingHeads(const core::HeadScores& scores) {
  std::printf("\n%-6s %-10s %6s  %s\n", "head", "score", "value", "what it does");
  for (const core::TellingHead& head : core::tellingHeads(scores)) {
    const std::string name = core::headName(head.head);
    std::printf("%-6s %-10s %6.2f  %s\n", name.c_str(), head.score.c_str(), head.value, head.words.c_str());
  }
  std::printf("\n");
}

}  // namespace

const char* firstPrompt() {
  return "The wolf said to the girl, where are you going so early in the morning? I am going to my grandmother, said the girl. "
         "The wolf said to himself, where are you";
}

void runFirstSessionWithoutDisplay(const std::string& folder) {
  namespace fs = std::filesystem;
  const OffscreenApplication application;
  CommonFlags flags;
  flags.isQuiet = true;
  core::Session session;
  session.model = "tales", session.prompt = firstPrompt();
  core::Job job;
  views::ViewInput input;
  input.model = openModel(session.model, flags);
  PromptFlags prompt;
  prompt.prompt = session.prompt;
  input.trace = core::runForward(input.model, makePrompt(*input.model, prompt, flags), openBackend(flags), {}, job);
  input.scores = std::make_shared<core::HeadScores>(core::headScores(*input.trace, false, job));
  const core::HeadRef first = core::firstHeadToShow(*input.scores);
  session.selection.layer = first.layer, session.selection.head = first.head;
  session.panes = {{"attention_map", {}}};
  session.modelHash = core::folderHash(input.model->folder());
  input.selection = session.selection;
  std::printf("There is no display, so no window. The bundled model \"%s\" read:\n  %s\n", session.model.c_str(), session.prompt.c_str());
  printTellingHeads(*input.scores);
  const views::Figure figure = paperFigure(*views::findView("attention_map"), input, session.figure, false, job);
  std::error_code code;
  fs::create_directories(folder, code);
  for (const char* ending : {".svg", ".png"}) {
    const fs::path path = fs::path(folder) / ("attention_map_" + core::headName(first) + ending);
    writeFigure(path, figure, session);
    std::printf("%s\n", fs::absolute(path).string().c_str());
  }
}

}  // namespace headscope::app
