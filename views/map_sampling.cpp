#include "views/map_sampling.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace headscope::views {
namespace {

constexpr int64_t kWholeTokens = 1024;
constexpr double kPixelsPerPoint = 2;  // sharp on high-density screens and in print

// [first, first + size) widened to multiples of half the next power of two, so that it changes only after a real move.
void align(double first, double size, int64_t all, int64_t& outFirst, int64_t& outSize) {
  const auto half = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max(2.0, std::ceil(size))))) / 2;
  outFirst = std::clamp<int64_t>(static_cast<int64_t>(std::floor(first)) / half * half, 0, all);
  const int64_t end = std::min(all, (static_cast<int64_t>(std::ceil(first + size)) + half - 1) / half * half);
  outSize = end - outFirst;
}

}  // namespace

int64_t levelFor(double tokens, double cells) {
  int64_t level = 0;
  while (tokens / static_cast<double>(int64_t{1} << level) > cells && level < 40) ++level;
  return level;
}

MapSampling sampleMap(const VisiblePart& part, int64_t count, double side) {
  if (count <= kWholeTokens) return {0, 0, count, 0, count};
  MapSampling s;
  s.level = levelFor(part.rows, std::max(64.0, side * kPixelsPerPoint));
  const double step = static_cast<double>(int64_t{1} << s.level);
  const auto all = (count + (int64_t{1} << s.level) - 1) >> s.level;
  align(part.firstRow / step, part.rows / step, all, s.firstRow, s.rows);
  align(part.firstCol / step, part.cols / step, all, s.firstCol, s.cols);
  return s;
}

}  // namespace headscope::views
