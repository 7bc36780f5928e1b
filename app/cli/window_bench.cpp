#include "app/cli/window_bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "app/assets.h"
#include "app/display.h"
#include "app/first_session.h"
#include "core/base/error.h"
#include "core/bench/random_model.h"
#include "core/tokenizer/tokenizer.h"

namespace headscope::app {
namespace {
namespace fs = std::filesystem;
using core::BenchResult;

constexpr double kFrameLimit_s = 0.016, kSliderLimit_s = 0.05;

double monotonicSeconds() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// The bundled model's first text again and again, `tokens` of its tokens long at most.
std::string textOfTokens(const core::Tokenizer& tokenizer, size_t tokens) {
  core::Job job;
  const auto count = [&](const std::string& text) { return tokenizer.encode(text, true, job).entries.size(); };
  const std::string sentence = std::string(firstPrompt()) + ". ";
  std::string text = sentence;
  for (size_t times = tokens / count(sentence) + 2; times > 1; --times) text += sentence;
  while (count(text) > tokens) {
    const size_t space = text.rfind(' ', text.size() - 1);
    if (space == std::string::npos) break;
    text.resize(space);
  }
  return text;
}

struct WindowRun {
  double started_s = 0;
  nlohmann::json times;

  double since(const char* event, double from) const { return times.value(event, from + BenchResult::kNone) - from; }
  double between(const char* from, const char* to) const { return since(to, times.value(from, BenchResult::kNone)); }
};

/// Runs `headscope MODEL --prompt TEXT --times FILE` with settings and caches of its own.
WindowRun runWindowOnce(const fs::path& scratch, const std::string& model, const std::string& prompt) {
  const fs::path file = scratch / "times.json", home = scratch / "home";
  fs::remove_all(home);
  fs::create_directories(home);
  std::vector<std::string> environment{"XDG_CONFIG_HOME=" + home.string(), "XDG_CACHE_HOME=" + home.string()};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!text.starts_with("XDG_CONFIG_HOME=") && !text.starts_with("XDG_CACHE_HOME=")) environment.push_back(text);
  }
  std::vector<std::string> arguments{"headscope", model, "--prompt", prompt, "--times", file.string()};
  const auto pointers = [](std::vector<std::string>& words) {
    std::vector<char*> list;
    for (std::string& word : words) list.push_back(word.data());
    list.push_back(nullptr);
    return list;
  };
  WindowRun run;
  pid_t child = 0;
  run.started_s = monotonicSeconds();
  if (::posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, pointers(arguments).data(), pointers(environment).data()) != 0)
    throw core::Error("the window's process can't be started", "/proc/self/exe");
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw core::Error("the window did not come to its end", "bench window", "open it by hand on this display and see what it says");
  std::ifstream in(file);
  run.times = nlohmann::json::parse(in);
  return run;
}

/// The longest frame in processor time of our own: what the program itself used, whoever else works on the machine and however
/// OpenGL draws. The wall times stand beside it.
BenchResult frameResult(const std::string& name, const WindowRun& run, const char* frames) {
  std::vector<double> processor, wall, whole;
  for (const auto& frame : run.times.at(frames)) {
    processor.push_back(frame.at("processor_s"));
    wall.push_back(frame.at("own_s"));
    whole.push_back(frame.at("with_driver_s"));
  }
  BenchResult result;
  result.bench = name;
  result.limit = kFrameLimit_s;
  if (processor.empty()) return result;
  std::sort(processor.begin(), processor.end());
  std::sort(wall.begin(), wall.end());
  std::sort(whole.begin(), whole.end());
  result.ours = processor.back();
  result.more = {{"median_s", processor[processor.size() / 2]},
                 {"wall_s", wall.back()},
                 {"with_driver_s", whole.back()},
                 {"median_with_driver_s", whole[whole.size() / 2]},
                 {"frames", static_cast<double>(processor.size())},
                 {"tokens", run.times.value("tokens", 0.0)}};
  return result;
}

/// From the slider's event to the frame with the new mask, maximised pane and the driver's drawing included. The median in wall time; the
/// program's processor time beside it, of all threads, OpenGL's own included.
BenchResult sliderResult(const WindowRun& run) {
  std::vector<double> wall, processor;
  for (const auto& step : run.times.at("slider_steps")) {
    wall.push_back(step.at("wall_s"));
    processor.push_back(step.at("processor_s"));
  }
  BenchResult result;
  result.bench = "window_slider_mask_512";
  result.limit = kSliderLimit_s;
  if (wall.empty()) return result;
  std::sort(wall.begin(), wall.end());
  std::sort(processor.begin(), processor.end());
  result.ours = wall[wall.size() / 2];
  result.more = {{"slowest_s", wall.back()},
                 {"quickest_s", wall.front()},
                 {"processor_s", processor[processor.size() / 2]},
                 {"steps", static_cast<double>(wall.size())},
                 {"tokens", run.times.value("tokens", 0.0)}};
  return result;
}

BenchResult timeResult(const std::string& name, double seconds, double limit) {
  BenchResult result;
  result.bench = name;
  result.ours = seconds;
  result.limit = limit;
  return result;
}

/// A GPT-2 small of random weights that reads text: with the bundled model's tokenizer.
fs::path readingGpt2Small(const fs::path& folder) {
  core::randomGpt2Small(folder);
  fs::copy_file(resolveModel("tales") / "tokenizer.json", folder / "tokenizer.json", fs::copy_options::overwrite_existing);
  return folder;
}

}  // namespace

std::vector<BenchResult> benchWindow(core::BenchContext& context) {
  if (!isDisplayThere()) {
    BenchResult none;
    none.bench = "window";
    none.note = "there is no display, so the window was not timed; run it on a desktop or under xvfb-run";
    return {none};
  }
  std::vector<BenchResult> results;
  const auto tokenizer = core::Tokenizer::open(resolveModel("tales"));
  {
    // The second run counts: the first reads the program and its libraries from the disk.
    runWindowOnce(context.scratch, "tales", firstPrompt());
    const WindowRun run = runWindowOnce(context.scratch, "tales", firstPrompt());
    results.push_back(timeResult("window_first_frame", run.since("first_frame", run.started_s), 0.5));
    results.push_back(timeResult("window_maps_after_first_frame", run.between("first_frame", "maps"), 1.0));
    results.push_back(frameResult("window_frame_pan_zoom", run, "moving_frames"));
  }
  {
    const WindowRun run = runWindowOnce(context.scratch, "tales", textOfTokens(*tokenizer, 8192));
    results.push_back(frameResult("window_frame_loading_8192", run, "loading_frames"));
    results.push_back(frameResult("window_frame_pan_zoom_8192", run, "moving_frames"));
  }
  const fs::path gpt2 = readingGpt2Small(context.scratch / "gpt2_small");
  const WindowRun run = runWindowOnce(context.scratch, gpt2.string(), textOfTokens(*tokenizer, 512));
  results.push_back(timeResult("window_head_grid_144_512", run.between("forward", "head_grid"), 0.2));
  results.back().more["tokens"] = run.times.value("tokens", 0.0);
  results.push_back(frameResult("window_frame_pan_zoom_144_512", run, "moving_frames"));
  results.push_back(sliderResult(run));
  return results;
}

}  // namespace headscope::app
