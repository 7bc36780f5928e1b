#pragma once
// The image view's pictures, from plain data: the picture that the model reads, and over it, in grey, the weights that one query
// patch or the class token gives to every patch: of one head, of all heads as a grid, or attention rollout. The view
// (image_view.cpp) fills the data from a trace; tests fill it by hand.
#include <mutex>
#include <string>
#include <vector>

#include "core/image/pixel_image.h"
#include "core/model/model_spec.h"
#include "core/session/session.h"
#include "core/tensor/matrix.h"
#include "views/color_ramp.h"
#include "views/value_scale.h"
#include "views/view.h"

namespace headscope::views {

/// Keeps the last overlay of each slot, so that a repaint costs nothing. Thread-safe.
class OverlayCache {
 public:
  struct Key {
    ValueScale scale;
    bool isDark = false;
    double opacity = 0;
    int64_t width = 0;  // of the picture in pixels: the grid's is smaller
    bool operator==(const Key&) const = default;
  };
  explicit OverlayCache(size_t slots) : slots_(slots) {}
  /// The cached picture of a slot, or null when it was made with other settings.
  std::shared_ptr<const Image> find(size_t slot, const Key& key) const;
  void keep(size_t slot, const Key& key, std::shared_ptr<const Image> image) const;

 private:
  struct Slot {
    Key key;
    std::shared_ptr<const Image> image;
  };
  mutable std::mutex mutex_;
  mutable std::vector<Slot> slots_;
};

enum class ImageForm { Head, Heads, Rollout };

struct ImageData : ViewData {
  ImageData(int64_t layerCount, int64_t headCount)
      : layers(layerCount), heads(headCount), cache(static_cast<size_t>(layerCount * headCount + 1 + layerCount)) {}
  int64_t layers, heads;
  core::ImageSpec spec;                 // of the patches
  int64_t first = 1;                    // position of the first patch: 1 behind a class token, 0 without one
  int64_t query = 0;                    // position whose weights these are
  core::PixelImage picture;             // as the model sees it, [height, width, 3]
  core::PixelImage small;               // the same, few pixels, for the grid and the row of layers
  core::Matrix weights;                 // [layers * heads, N] of the query
  std::vector<bool> isSigned;           // [layers * heads] entries may be negative; empty: none are
  std::vector<std::string> mechanisms;  // [layers * heads] what heads ran under; empty: all under the model's own attention
  core::Matrix rollout;                 // [layers, N] over layers 0 to l; empty when not asked for
  std::string modelName;
  std::shared_ptr<const Image> plain;  // `picture` in its colours
  OverlayCache cache;                  // layers * heads maps, the rollout, the rollout of each layer

  int64_t across() const { return spec.width / spec.patch; }
  int64_t down() const { return spec.height / spec.patch; }
  /// "class token", "patch 3, 5" (row, column from 0).
  std::string placeOf(int64_t position) const;
};

/// The picture as it is.
std::shared_ptr<const Image> plainImage(const core::PixelImage& picture);
/// The picture in grey with every patch's colour over it. `weights` are of the patches, row by row; NaN leaves a patch uncoloured.
std::shared_ptr<const Image> overlayImage(const core::PixelImage& picture, const core::ImageSpec& spec, const float* weights,
                                          const ValueScale& scale, const ColorRamp& ramp, double opacity);

ImageForm imageFormOf(const core::ViewOptions& options);
Figure drawImage(const ImageData& data, const core::ViewOptions& options, const core::Selection& selection, const core::HeadScores* scores,
                 const ViewFrame& frame);

}  // namespace headscope::views
