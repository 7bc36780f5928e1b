#include "core/mechanisms/mask.h"

#include <algorithm>

namespace headscope::core {

void Mask::blockRanges(int64_t first, int64_t count, RangeList& out) const {
  out.clear();
  for (int64_t r = first; r < first + count; ++r) {
    ranges(r, out.ranges);
    out.begin.push_back(out.ranges.size());
  }
}

double Mask::selectionOperations(int64_t) const { return 0; }

BlockState Mask::block(int64_t row, int64_t rows, int64_t key, int64_t keys) const {
  RangeList list;
  blockRanges(row, rows, list);
  int64_t seen = 0;
  for (const KeyRange& r : list.ranges) seen += std::max<int64_t>(0, std::min(r.end, key + keys) - std::max(r.first, key));
  return seen == 0 ? BlockState::Empty : seen == rows * keys ? BlockState::Full : BlockState::Partial;
}

bool Mask::sees(int64_t row, int64_t key) const {
  std::vector<KeyRange> list;
  ranges(row, list);
  return std::any_of(list.begin(), list.end(), [&](const KeyRange& r) { return key >= r.first && key < r.end; });
}

int64_t Mask::pairs() const {
  int64_t seen = 0;
  std::vector<KeyRange> list;
  for (int64_t r = 0; r < size(); ++r) {
    list.clear();
    ranges(r, list);
    for (const KeyRange& range : list) seen += range.end - range.first;
  }
  return seen;
}

KeyRange Visibility::row(int64_t query) const {
  if (!isCausal) return window > 0 ? KeyRange{std::max<int64_t>(0, query + 1 - window), std::min(size, query + window)} : KeyRange{0, size};
  return {window > 0 ? std::max<int64_t>(0, query + 1 - window) : 0, query + 1};
}

void PatternMask::ranges(int64_t row, std::vector<KeyRange>& out) const {
  const KeyRange visible = visibility_.row(row);
  if (!pattern_) {
    if (visible.first < visible.end) out.push_back(visible);
    return;
  }
  const size_t start = out.size();
  pattern_(row, out);
  size_t kept = start;  // clip, and join what overlaps or touches, in place
  for (size_t i = start; i < out.size(); ++i) {
    const KeyRange r{std::max(out[i].first, visible.first), std::min(out[i].end, visible.end)};
    if (r.first >= r.end) continue;
    if (kept > start && r.first <= out[kept - 1].end) {
      out[kept - 1].end = std::max(out[kept - 1].end, r.end);
    } else {
      out[kept++] = r;
    }
  }
  out.resize(kept);
}

}  // namespace headscope::core
