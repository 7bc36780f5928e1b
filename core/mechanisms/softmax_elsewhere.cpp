#include "core/mechanisms/softmax_elsewhere.h"

#include <algorithm>
#include <limits>

#include "core/backend/backend.h"
#include "core/base/parallel.h"

namespace headscope::core {
namespace {

constexpr int64_t kRowsAtOnce = 4096, kBlockRows = 64;

/// The mask's ranges of rows [first, first + rows), and what choosing them took.
struct Listed {
  RangeList seen;
  double selection = 0, pairs = 0;
};

Listed listRows(const Mask& mask, int64_t first, int64_t rows, Job& job) {
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  std::vector<RangeList> parts(static_cast<size_t>(blocks));
  std::vector<double> selection(static_cast<size_t>(blocks), 0.0);
  parallelFor(
      blocks,
      [&](int64_t b) {
        const int64_t from = first + b * kBlockRows, count = std::min(kBlockRows, first + rows - from);
        mask.blockRanges(from, count, parts[static_cast<size_t>(b)]);
        for (int64_t r = from; r < from + count; ++r) selection[static_cast<size_t>(b)] += mask.selectionOperations(r);
      },
      &job);
  Listed all;
  for (size_t b = 0; b < parts.size(); ++b) {
    const size_t before = all.seen.ranges.size();
    all.seen.ranges.insert(all.seen.ranges.end(), parts[b].ranges.begin(), parts[b].ranges.end());
    for (size_t r = 1; r < parts[b].begin.size(); ++r) all.seen.begin.push_back(before + parts[b].begin[r]);
    all.selection += selection[b];
    parts[b] = {};
  }
  for (const KeyRange& r : all.seen.ranges) all.pairs += static_cast<double>(r.end - r.first);
  return all;
}

bool isLinear(const SoftmaxHead& head) { return !head.bias || head.bias->slope(); }

/// The head as a device takes it, of query rows [first, first + rows).
MaskedHead deviceHead(const SoftmaxHead& head, int64_t first, int64_t rows) {
  return {head.query.rowsFrom(first, rows), head.key, head.value, head.scale, head.softcap, head.bias ? *head.bias->slope() : 0.0, first};
}

/// work(first row, rows, their keys, the head of these rows), some rows after others.
template <typename Work>
void forEachPart(const SoftmaxHead& head, Job& job, const Work& work) {
  for (int64_t first = 0; first < head.query.rows; first += kRowsAtOnce) {
    const int64_t rows = std::min(kRowsAtOnce, head.query.rows - first);
    work(first, rows, listRows(*head.mask, first, rows, job), deviceHead(head, first, rows));
  }
}

}  // namespace

bool canAttendElsewhere(const SoftmaxHead& head) {
  return head.backend != nullptr && head.backend->supports(Op::MaskedAttention) && head.key.cols <= kWidestMaskedHead &&
         head.value.cols <= kWidestMaskedHead && isLinear(head);
}

SoftmaxTally attendElsewhere(const SoftmaxHead& head, MatrixView out, Job& job) {
  SoftmaxTally tally;
  forEachPart(head, job, [&](int64_t first, int64_t rows, const Listed& listed, const MaskedHead& part) {
    const MaskedRows done = head.backend->maskedAttention(part, listed.seen, out.rowsFrom(first, rows), job);
    tally.pairs += done.pairs, tally.keptPairs += listed.pairs, tally.selection += listed.selection;
    tally.keyRows += done.keyRows, tally.rows += static_cast<double>(rows);
    for (int64_t r = 0; r < rows; ++r) {
      if (done.logSumExp[static_cast<size_t>(r)] == -std::numeric_limits<float>::infinity()) tally.emptyRows.push_back(first + r);
    }
  });
  return tally;
}

bool canChooseElsewhere(const SoftmaxHead& head) {
  return head.backend != nullptr && head.backend->supports(Op::ChosenAttention) && head.backend->supports(Op::ChosenTile) && isLinear(head);
}

ChosenRows chooseElsewhere(const SoftmaxHead& head, const KeyChoice& rule, MatrixView out, Job& job) {
  ChosenRows all;
  forEachPart(head, job, [&](int64_t first, int64_t rows, const Listed& listed, const MaskedHead& part) {
    const MatrixView to = out.cols > 0 ? out.rowsFrom(first, rows) : MatrixView{};
    const ChosenRows done = head.backend->chosenAttention(part, {&listed.seen, rule.keys, rule.mass}, to, job);
    all.logSumExp.insert(all.logSumExp.end(), done.logSumExp.begin(), done.logSumExp.end());
    all.logSumSquares.insert(all.logSumSquares.end(), done.logSumSquares.begin(), done.logSumSquares.end());
    all.kept += done.kept, all.pairs += done.pairs, all.keyRows += done.keyRows;
  });
  return all;
}

Matrix tileElsewhere(const SoftmaxHead& head, const KeyChoice& rule, const TileRequest& request, Job& job) {
  const int64_t first = request.firstRow << request.level,
                rows = std::min(head.query.rows, (request.firstRow + request.rows) << request.level) - first;
  if (rows <= 0) return Matrix::zeros(request.rows, request.cols);
  const Listed listed = listRows(*head.mask, first, rows, job);
  return head.backend->chosenTile(deviceHead(head, first, rows), {&listed.seen, rule.keys, rule.mass}, request, job);
}

bool isWithin(const Mask& mask, const Visibility& outer, Job& job) {
  RangeList list;
  for (int64_t first = 0; first < mask.size(); first += kBlockRows) {
    job.checkpoint();
    const int64_t rows = std::min(kBlockRows, mask.size() - first);
    mask.blockRanges(first, rows, list);
    for (int64_t r = 0; r < rows; ++r) {
      const size_t begin = list.begin[static_cast<size_t>(r)], end = list.begin[static_cast<size_t>(r) + 1];
      if (begin == end) continue;
      const KeyRange seen = outer.row(first + r);
      if (list.ranges[begin].first < seen.first || list.ranges[end - 1].end > seen.end) return false;
    }
  }
  return true;
}

}  // namespace headscope::core
