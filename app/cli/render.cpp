// headscope render: the same picture as the window's, from a session, a figure or a model, without a display.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>

#include "app/cli/inputs.h"
#include "app/image_file.h"
#include "app/render.h"
#include "app/replaced_run.h"
#include "app/sinks/figure_file.h"
#include "app/sinks/figure_session.h"
#include "app/sinks/qt_fonts.h"
#include "core/attention/forward.h"
#include "core/attention/telling_heads.h"
#include "core/base/error.h"
#include "core/session/folder_hash.h"
#include "views/mechanism_words.h"

namespace headscope::app {
namespace {
namespace fs = std::filesystem;

struct RenderFlags {
  std::string mechanism, replace, target, out, view, head, heads, csv, theme, scale, limits, sortBy, form;
  std::optional<double> width_mm, font_pt, threshold;
  std::optional<int64_t> query, key;
  std::vector<std::string> settings;
  double scale_px = 4;
  bool hasCaption = false, hasLetters = false, keepsFirst = false;
  PromptFlags prompt;
};

bool hasPrompt(const PromptFlags& p) { return p.prompt || !p.textFile.empty() || !p.ids.empty() || p.repeat > 0; }

std::string viewNames() {
  std::string names;
  for (const views::View* view : views::allViews()) names += (names.empty() ? "" : ", ") + std::string(view->name());
  return names;
}

core::ColorScale scaleOf(const std::string& word) {
  return word == "linear" ? core::ColorScale::Linear : word == "log" ? core::ColorScale::Log : core::ColorScale::SquareRoot;
}

std::pair<double, double> limitsOf(const std::string& text) {
  const size_t comma = text.find(',');
  try {
    size_t used = 0, rest = 0;
    const double low = std::stod(text.substr(0, comma), &used),
                 high = comma == std::string::npos ? low : std::stod(text.substr(comma + 1), &rest);
    if (comma != std::string::npos && used == comma && rest == text.size() - comma - 1 && low < high) return {low, high};
  } catch (const std::exception&) {
  }
  throw core::Error("\"" + text + "\" is not LOW,HIGH with LOW below HIGH", "--limits");
}

/// "KEY=VALUE" into the view's own options: a number where the value is one, a word otherwise.
void applySetting(const std::string& text, core::ViewOptions& options) {
  const size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos) throw core::Error("\"" + text + "\" is not KEY=VALUE", "--set");
  const std::string key = text.substr(0, equals), value = text.substr(equals + 1);
  double number = 0;
  const auto [end, fault] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (fault == std::errc() && end == value.data() + value.size() && std::isfinite(number)) {
    options.numbers[key] = number;
  } else {
    options.words[key] = value;
  }
}

// What the session says, with the flags that were given in its place.
core::Session sessionOf(const RenderFlags& flags, const CommonFlags& common) {
  core::Session s;
  std::error_code code;
  if (fs::is_regular_file(flags.target, code))
    s = sessionFromFile(flags.target);
  else
    s.model = flags.target;
  if (!common.adapter.empty()) s.adapter = common.adapter, s.strength = common.strength;
  if (!common.image.empty()) s.image = common.image, s.imageHash.clear();
  if (s.panes.empty()) s.panes.push_back({"attention_map", {}});
  if (!flags.view.empty()) {
    const auto known = std::find_if(s.panes.begin(), s.panes.end(), [&](const core::PaneState& pane) { return pane.view == flags.view; });
    s.panes = {known != s.panes.end() ? *known : core::PaneState{flags.view, {}}};
  }
  s.panes.resize(1);
  core::ViewOptions& options = s.panes[0].options;
  if (!flags.scale.empty()) options.scale = scaleOf(flags.scale);
  if (!flags.limits.empty()) options.limits = limitsOf(flags.limits);
  if (flags.keepsFirst) options.hideFirst = false;
  if (flags.threshold) options.threshold = *flags.threshold;
  if (!flags.sortBy.empty()) options.sortBy = flags.sortBy;
  if (!flags.form.empty()) options.words["form"] = flags.form;
  if (!flags.mechanism.empty()) views::chooseMechanism(options, flags.mechanism);
  if (!flags.replace.empty()) {
    if (flags.mechanism.empty() && s.mechanism.empty())
      throw core::Error("heads to replace without a mechanism", "--replace", "name one with --mechanism");
    if (!flags.mechanism.empty()) s.mechanism = flags.mechanism;
    s.replacedHeads = flags.replace;
  }
  for (const std::string& setting : flags.settings) applySetting(setting, options);
  if (!flags.theme.empty()) s.theme = flags.theme;
  if (flags.width_mm) s.figure.width_mm = *flags.width_mm;
  if (flags.font_pt) s.figure.font_pt = *flags.font_pt;
  s.figure.hasLetters = s.figure.hasLetters || flags.hasLetters;
  if (views::findView(s.panes[0].view) == nullptr)
    throw core::Error("there is no view \"" + s.panes[0].view + "\"", "--view", "the views are " + viewNames());
  return s;
}

// The prompt of the flags, or the session's.
std::shared_ptr<const core::Prompt> promptOf(const RenderFlags& flags, core::Session& s, const core::Model& model,
                                             const CommonFlags& common) {
  const PromptFlags source = hasPrompt(flags.prompt) ? flags.prompt : promptFlagsOf(s);
  auto prompt = makePrompt(model, source, common);
  s.prompt = prompt->text, s.pair = prompt->text.empty() ? std::string() : source.pair;
  s.image = common.image;
  const std::string hash = s.image.empty() ? std::string() : imageFileHash(s.image);
  if (!s.imageHash.empty() && s.imageHash != hash && !common.isQuiet)
    std::fprintf(stderr, "headscope: %s is not the picture that the figure was made with\n", s.image.c_str());
  s.imageHash = hash;
  s.ids = prompt->text.empty() && prompt->pixels.size() == 0 ? prompt->ids() : std::vector<int32_t>();
  s.typeIds.clear();
  const auto isSecond = [](const core::Token& token) { return token.segment != 0; };
  if (!s.ids.empty() && std::any_of(prompt->tokens.begin(), prompt->tokens.end(), isSecond)) {
    for (const core::Token& token : prompt->tokens) s.typeIds.push_back(token.segment);
  }
  return prompt;
}

void selectHeads(const RenderFlags& flags, bool isSession, const views::ViewInput& input, core::Session& s) {
  const core::ModelSpec& spec = input.model->spec();
  if (!flags.heads.empty()) {
    s.selection.brushed = parseHeads(flags.heads, spec.layers, spec.heads, "--heads");
    if (!s.selection.brushed.empty()) s.selection.layer = s.selection.brushed[0].layer, s.selection.head = s.selection.brushed[0].head;
  }
  if (!flags.head.empty()) {
    const auto heads = parseHeads(flags.head, spec.layers, spec.heads, "--head");
    if (heads.size() != 1)
      throw core::Error("\"" + flags.head + "\" is not one head", "--head", "write it as LAYER.HEAD, or use --heads for several");
    s.selection.layer = heads[0].layer, s.selection.head = heads[0].head;
    if (flags.heads.empty()) s.selection.brushed.clear();
  } else if (flags.heads.empty() && !isSession && input.scores) {
    const core::HeadRef first = core::firstHeadToShow(*input.scores);
    s.selection.layer = first.layer, s.selection.head = first.head;
  }
  if (flags.query) s.selection.query = *flags.query;
  if (flags.key) s.selection.key = *flags.key;
  requireInside(s.selection, spec, input.trace ? input.trace->count() : 0, flags.target, "--query", "--key");
}

void run(const RenderFlags& flags, const CommonFlags& given) {
  const OffscreenApplication application;
  CommonFlags common = given;
  core::Session session = sessionOf(flags, common);
  std::error_code code;
  const bool isSession = fs::is_regular_file(flags.target, code);
  common.adapter = session.adapter, common.strength = session.strength, common.image = session.image;
  const views::View& view = *views::findView(session.panes[0].view);
  runWithProgress("render", common, [&](core::Job& job) {
    views::ViewInput input;
    input.model = openModel(session.model, common);
    session.modelHash = core::folderHash(input.model->folder());
    if (view.needsTrace() || hasPrompt(flags.prompt)) {
      const auto backend = openBackend(common);
      const auto options =
          replacedRun(input.model, session.mechanism, session.replacedHeads, flags.replace.empty() ? flags.target : "--replace", backend);
      input.trace = core::runForward(input.model, promptOf(flags, session, *input.model, common), backend, options, job);
      input.scores = std::make_shared<core::HeadScores>(core::headScores(*input.trace, false, job));
    }
    selectHeads(flags, isSession, input, session);
    input.selection = session.selection, input.options = session.panes[0].options;
    const views::Figure figure = paperFigure(view, input, session.figure, session.theme == "dark", job);
    FigureFileOptions options;
    options.pixelsPerPoint = flags.scale_px;
    writeFigure(flags.out, figure, session, options);
    if (!flags.csv.empty()) writeCsv(flags.csv, view.table(input, job));
    if (flags.hasCaption) writeCaption(flags.out, figure, session);
  });
}

}  // namespace

void declareRender(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<RenderFlags>();
  CLI::App* command = root.add_subcommand("render", "a view as SVG, PDF or PNG, the same picture as the window's");
  command->add_option("target", flags->target, "model folder or bundled name, session file, or a figure that Headscope exported")
      ->required();
  command->add_option("-o,--out", flags->out, "FIGURE.svg, .pdf or .png")->required();
  command->add_option("--view", flags->view, "which view (default: attention_map)");
  command->add_option("--head", flags->head, "LAYER.HEAD (default: the one that the window selects first)");
  command->add_option("--heads", flags->heads, "several heads, 3.1,2.0: a panel");
  command->add_option("--query", flags->query, "query token, from 0")->check(CLI::NonNegativeNumber);
  command->add_option("--key", flags->key, "key token, from 0")->check(CLI::NonNegativeNumber);
  command->add_option("--width-mm", flags->width_mm, "width in millimetres (default: 86)")->check(CLI::Range(10.0, 2000.0));
  command->add_option("--font-pt", flags->font_pt, "type size in points (default: 7)")->check(CLI::Range(2.0, 72.0));
  command->add_option("--theme", flags->theme, "light or dark (default: light)")->check(CLI::IsMember({"light", "dark"}));
  command->add_option("--scale-px", flags->scale_px, "PNG: pixels a point")->check(CLI::Range(0.1, 64.0))->capture_default_str();
  command->add_option("--color-scale", flags->scale, "linear, sqrt or log (default: sqrt)")
      ->check(CLI::IsMember({"linear", "sqrt", "log"}));
  command->add_option("--limits", flags->limits, "locked colour limits LOW,HIGH");
  command->add_flag("--keep-first", flags->keepsFirst, "let the first token's column count for the colour limits");
  command->add_option("--threshold", flags->threshold, "smallest weight drawn as a line");
  command->add_option("--sort-by", flags->sortBy, "order heads by this score");
  command->add_option("--form", flags->form, "token_flow: columns or inline; image: head, heads or rollout")
      ->check(CLI::IsMember({"columns", "inline", "head", "heads", "rollout"}));
  command->add_option("--mechanism", flags->mechanism, "mask, comparison: which, as local:window=64");
  command->add_option("--replace", flags->replace, "the whole model with these heads under --mechanism: all, or 3.1,4.*");
  command->add_option("--set", flags->settings, "KEY=VALUE: the view's own options, as its session holds them (scatter=all, context=4096)")
      ->allow_extra_args(false);
  command->add_flag("--letters", flags->hasLetters, "panel letters a, b, c");
  command->add_option("--csv", flags->csv, "the numbers shown, as CSV");
  command->add_flag("--caption", flags->hasCaption, "a caption beside the figure, as text");
  addPromptFlags(*command, flags->prompt);
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
