// What a slider of the mask studio costs: the view's data and its figure, computed anew for every value.
#include "app/cli/mask_bench.h"

#include "core/attention/forward.h"
#include "core/bench/random_model.h"
#include "views/view.h"

namespace headscope::app {
namespace {

class RoughMeasure : public views::TextMeasure {
 public:
  double width(const std::string& text, const views::Font& font) const override {
    return 0.55 * font.size_pt * static_cast<double>(text.size());
  }
  double ascent(const views::Font& font) const override { return 0.8 * font.size_pt; }
  double descent(const views::Font& font) const override { return 0.2 * font.size_pt; }
};

}  // namespace

std::vector<core::BenchResult> benchMaskRepaint(core::BenchContext& context) {
  core::Job job;
  views::ViewInput input;
  const auto model = core::randomTales(context.scratch);
  input.model = model;
  input.trace = core::runForward(model, core::randomPrompt(model->spec(), 512), context.backend, {}, job);
  input.options.words["mechanism"] = "local";
  const views::View& view = *views::findView("mask");
  const views::Theme theme = views::lightTheme();
  const RoughMeasure measure;
  int window = 8;
  const auto repaint = [&] {
    input.options.numbers["window"] = window = window % 256 + 8;
    const auto data = view.compute(input, {880, 640}, job);
    view.draw(input, data.get(), views::ViewFrame{theme, measure, {880, 640}});
  };
  core::BenchResult result;
  result.bench = "mask_repaint";
  result.ours = core::quickest(10, repaint);
  result.more["cpu_s"] = core::thriftiest(5, repaint);
  result.limit = 0.05;
  return {result};
}

}  // namespace headscope::app
