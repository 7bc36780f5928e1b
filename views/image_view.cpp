// Image: the picture that a vision model reads, with the attention of one patch or of the class token laid over it.
#include <algorithm>

#include "core/attention/attention_map.h"
#include "core/attention/head_name.h"
#include "core/attention/rollout.h"
#include "core/image/image_processor.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/image_picture.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr int64_t kSmallSide = 96;  // pixels of the grid's pictures

bool hasPicture(const ViewInput& input) { return input.trace && input.trace->spec().image && input.trace->prompt().pixels.size() > 0; }

/// Positions are patches, with a class token before them where there is one more of them.
int64_t firstPatch(const core::Trace& trace) { return trace.count() - trace.spec().image->patches(); }

/// The selected position; the class token until one is chosen. The selection's last position, where prompts of text start, is a
/// patch like any other here.
int64_t queryOf(const ViewInput& input) { return std::clamp<int64_t>(input.selection.query, 0, input.trace->count() - 1); }

/// Few pixels for small pictures: the mean of blocks.
core::PixelImage shrunk(const core::PixelImage& picture) {
  const int64_t longer = std::max(picture.width, picture.height), factor = (longer + kSmallSide - 1) / kSmallSide;
  if (factor <= 1) return picture;
  return core::resized(picture, std::max<int64_t>(1, picture.width / factor), std::max<int64_t>(1, picture.height / factor),
                       core::Resampling::Box);
}

class ImageView : public View {
 public:
  std::string_view name() const override { return "image"; }
  std::string_view title() const override { return "Image"; }
  /// All heads in one picture are one already, and rollout is of all heads together.
  bool isPerHead(const ViewInput& input) const override { return imageFormOf(input.options) == ImageForm::Head; }
  std::string whyNot(const core::ModelSpec& spec) const override { return spec.image ? "" : "This model reads text, not images"; }

  std::string subject(const ViewInput& input) const override {
    if (!hasPicture(input)) return {};
    ImageData place(0, 0);
    place.spec = *input.trace->spec().image, place.first = firstPatch(*input.trace);
    const std::string from = place.placeOf(queryOf(input));
    switch (imageFormOf(input.options)) {
      case ImageForm::Head:
        return headName(input.selection.ref()) + ", " + from;
      case ImageForm::Heads:
        return "all heads, " + from;
      case ImageForm::Rollout:
        return "rollout, " + from;
    }
    return from;
  }

  std::string dataKey(const ViewInput& input, Size) const override {
    if (!hasPicture(input)) return {};
    return "image:" + std::to_string(reinterpret_cast<uintptr_t>(input.trace.get())) + ":" + std::to_string(queryOf(input)) +
           (imageFormOf(input.options) == ImageForm::Rollout ? ":rollout" : "");
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    const core::Trace& trace = *input.trace;
    const int64_t layers = trace.layersRun(), heads = trace.spec().heads;
    auto data = std::make_shared<ImageData>(layers, heads);
    data->spec = *trace.spec().image;
    data->first = firstPatch(trace);
    data->query = queryOf(input);
    data->picture = core::ImageProcessor::open(trace.model().folder(), data->spec).picture(trace.prompt().pixels);
    data->small = shrunk(data->picture);
    data->plain = plainImage(data->picture);
    data->modelName = trace.model().name();
    data->weights = core::Matrix(layers * heads, trace.count());
    for (int64_t row = 0; row < layers * heads; ++row) {
      if (row % heads == 0) job.checkpoint();
      const core::AttentionMap map(input.trace, {row / heads, row % heads});
      const std::vector<float> weights = map.row(data->query);
      if (trace.effectiveMaps() != nullptr) data->mechanisms.push_back(map.mechanism()), data->isSigned.push_back(map.isSigned());
      std::copy(weights.begin(), weights.end(), data->weights.row(row));
    }
    if (imageFormOf(input.options) == ImageForm::Rollout) data->rollout = core::attentionRollout(input.trace, data->query, job);
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    constexpr const char* kWhat = "The attention of a vision model, laid over the picture that it reads";
    if (!input.model) return emptyFigure(frame.size, kWhat, "Open the folder of a vision model (ViT)", frame.theme);
    if (const std::string why = whyNot(input.model->spec()); !why.empty())
      return emptyFigure(frame.size, kWhat, why + ": open the folder of a vision model (ViT)", frame.theme);
    if (!hasPicture(input)) return emptyFigure(frame.size, kWhat, "Drop a PNG or JPEG on the window, or File, Open image", frame.theme);
    const auto* image = dynamic_cast<const ImageData*>(data);
    const core::HeadRef head = input.selection.ref();
    const bool isShown = image != nullptr && image->layers > head.layer && image->heads > head.head && head.layer >= 0 && head.head >= 0 &&
                         (imageFormOf(input.options) != ImageForm::Rollout || image->rollout.size() > 0);
    if (!isShown) return emptyFigure(frame.size, kWhat, "Reading the weights", frame.theme);
    return drawImage(*image, input.options, input.selection, input.scores.get(), frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    const ImageForm form = imageFormOf(input.options);
    const bool isRollout = form == ImageForm::Rollout;
    Table table{{"layer", "head", "query", "key", "row", "column", isRollout ? "rollout" : "weight"}, {}};
    if (isRollout) table.columns.erase(table.columns.begin() + 1);
    if (!hasPicture(input)) return table;
    const auto data = std::static_pointer_cast<const ImageData>(compute(input, {}, job));
    const core::Matrix& rows = isRollout ? data->rollout : data->weights;
    const int64_t selected = input.selection.layer * data->heads + input.selection.head;
    for (int64_t row = 0; row < rows.rows(); ++row) {
      job.checkpoint();
      if (form == ImageForm::Head && row != selected) continue;
      for (int64_t key = 0; key < rows.cols(); ++key) {
        const int64_t patch = key - data->first;
        std::vector<std::string> cells{std::to_string(isRollout ? row : row / data->heads)};
        if (!isRollout) cells.push_back(std::to_string(row % data->heads));
        cells.insert(cells.end(),
                     {std::to_string(data->query), std::to_string(key), patch < 0 ? "" : std::to_string(patch / data->across()),
                      patch < 0 ? "" : std::to_string(patch % data->across()), shortNumber(rows(row, key), 7)});
        table.rows.push_back(std::move(cells));
      }
    }
    return table;
  }

  bool follow(const ViewInput& input, Size size, core::ViewOptions& options) const override {
    return imageFormOf(options) == ImageForm::Heads && findView("head_grid")->follow(input, size, options);
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size size, core::ViewOptions& options,
              core::Selection& selection) const override {
    if (imageFormOf(options) == ImageForm::Heads) return findView("head_grid")->handle(gesture, input, size, options, selection);
    if (gesture.kind != Gesture::Kind::Click || gesture.pick.kind != Pick::Kind::KeyToken) return false;
    selection.query = gesture.pick.a;
    return true;
  }
};

}  // namespace

const View& imageView() {
  static const ImageView view;
  return view;
}

}  // namespace headscope::views
