#pragma once
// MapImage: a matrix coloured through a ValueScale, one pixel a cell, whole or in tiles. MapImageCache keeps what it made.
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "core/tensor/matrix.h"
#include "views/color_ramp.h"
#include "views/figure/figure.h"
#include "views/value_scale.h"

namespace headscope::views {

/// One pixel a cell. NaN cells are transparent: put a hatch behind. `hasNan` may be null.
std::shared_ptr<const Image> mapImage(core::ConstMatrixView values, const ValueScale& scale, const ColorRamp& ramp, bool* hasNan = nullptr);

/// How far to pool so that `points` points show at most two cells each: a screen that draws fewer pixels than cells would drop
/// some, and with them thin stripes.
int poolingFor(double cells, double points);

/// Keeps what was last made from the same values, so that a repaint costs nothing. Thread-safe.
class MapImageCache {
 public:
  struct Key {
    ValueScale scale;
    bool isDark = false;
    int pooling = 0;  // 2^pooling x 2^pooling cells become one pixel, the largest of them (in size, where signed)
    bool operator==(const Key&) const = default;
  };
  struct Entry {
    std::shared_ptr<const Image> image;
    bool hasNan = false;
  };
  Entry get(const Key& key, core::ConstMatrixView values, const ColorRamp& ramp) const;

  /// A part of the picture, small enough that making and uploading those that come into sight fits into a frame.
  struct Tile {
    Entry entry;
    double firstRow = 0, firstCol = 0;  // cells; it shows image size << pooling of them, the last ones may reach beyond the matrix
  };
  struct Cells {
    double firstRow = 0, endRow = 0, firstCol = 0, endCol = 0;
  };
  /// The tiles that touch these cells.
  std::vector<Tile> tiles(const Key& key, core::ConstMatrixView values, const ColorRamp& ramp, const Cells& cells) const;

  /// scaleFor(), without reading the values again.
  ValueScale scale(const core::ViewOptions& options, core::ConstMatrixView values, int64_t firstCol, bool isSigned = false) const;

 private:
  mutable std::mutex mutex_;
  mutable Key key_, tilesKey_;
  mutable Entry entry_;
  mutable std::map<std::pair<int64_t, int64_t>, Entry> tiles_;            // by row and column of tiles
  mutable std::optional<std::pair<int64_t, ValueScale>> unlockedLimits_;  // first column, and what came out
};

}  // namespace headscope::views
