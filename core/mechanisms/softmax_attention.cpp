#include "core/mechanisms/softmax_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "core/base/parallel.h"
#include "core/mechanisms/products.h"
#include "core/mechanisms/softmax_elsewhere.h"
#include "core/mechanisms/vector_math.h"

namespace headscope::core {
namespace {

constexpr int64_t kBlockRows = 64;  // the most; products of fewer rows are slower, blocks of fewer rows hide more
constexpr int64_t kPanelKeys = 256;
constexpr float kNegative = -std::numeric_limits<float>::infinity();
// Weights below exp(-60) of a row's largest can't change a float32 sum; dropping them keeps denormals out of the products.
constexpr float kSmallestExponent = -60.0f;

using ArrayMap = Eigen::Map<Eigen::ArrayXf>;
using VectorMap = Eigen::Map<Eigen::VectorXf>;
using ConstVectorMap = Eigen::Map<const Eigen::VectorXf>;

/// Short prompts take small blocks, so that a narrow window saves work there too.
int64_t blockRowsFor(int64_t count) { return count <= 1024 ? 16 : kBlockRows; }

/// The keys that a block of rows sees, numbered in order, and each row's ranges in those numbers.
struct BlockPlan {
  int64_t firstRow = 0, rows = 0;
  std::vector<int32_t> columns;  // [active] key of each number
  RangeList ranges;              // in numbers
  std::vector<int32_t> change, rank;

  void make(const Mask& mask, int64_t first, int64_t count) {
    firstRow = first;
    rows = count;
    columns.clear();
    mask.blockRanges(first, count, ranges);
    if (ranges.ranges.empty()) return;
    int64_t low = std::numeric_limits<int64_t>::max(), high = 0;
    for (const KeyRange& r : ranges.ranges) {
      low = std::min(low, r.first);
      high = std::max(high, r.end);
    }
    const size_t span = static_cast<size_t>(high - low);
    change.assign(span + 1, 0);
    rank.resize(span + 1);
    for (const KeyRange& r : ranges.ranges) {
      ++change[static_cast<size_t>(r.first - low)];
      --change[static_cast<size_t>(r.end - low)];
    }
    int32_t open = 0;
    for (size_t c = 0; c < span; ++c) {
      open += change[c];
      rank[c] = static_cast<int32_t>(columns.size());
      if (open > 0) columns.push_back(static_cast<int32_t>(low) + static_cast<int32_t>(c));
    }
    rank[span] = static_cast<int32_t>(columns.size());
    for (KeyRange& r : ranges.ranges) {  // a range's keys are all active, so it stays one run
      const int64_t length = r.end - r.first;
      r.first = rank[static_cast<size_t>(r.first - low)];
      r.end = r.first + length;
    }
  }

  int64_t active() const { return static_cast<int64_t>(columns.size()); }
};

/// Walks one row's ranges through consecutive panels.
struct RowCursor {
  size_t at = 0, end = 0;
};

/// Calls body(first, end), relative to `from`, for the parts of one row's ranges inside [from, to).
template <class Body>
void forRanges(const RangeList& list, RowCursor& cursor, int64_t from, int64_t to, const Body& body) {
  while (cursor.at < cursor.end && list.ranges[cursor.at].end <= from) ++cursor.at;
  for (size_t i = cursor.at; i < cursor.end && list.ranges[i].first < to; ++i) {
    body(std::max(list.ranges[i].first, from) - from, std::min(list.ranges[i].end, to) - from);
  }
}

struct Workspace {
  BlockPlan plan;
  std::vector<RowCursor> cursors;
  Matrix scores{kBlockRows, kPanelKeys};
  Matrix keys, values;  // [panel, k], [panel, v]: gathered
  std::vector<float> max, sum;
};

class BlockWorker {
 public:
  BlockWorker(const SoftmaxHead& head, Workspace& space) : head_(head), space_(space) {}

  void start(int64_t first, int64_t count, SoftmaxTally& tally) {
    BlockPlan& plan = space_.plan;
    plan.make(*head_.mask, first, count);
    space_.cursors.resize(static_cast<size_t>(count));
    for (int64_t r = 0; r < count; ++r) {
      space_.cursors[static_cast<size_t>(r)] = {plan.ranges.begin[static_cast<size_t>(r)], plan.ranges.begin[static_cast<size_t>(r) + 1]};
      tally.selection += head_.mask->selectionOperations(first + r);
    }
    tally.rows += static_cast<double>(count);
    tally.keyRows += static_cast<double>(plan.active());
  }

  /// Scores of the panel's seen pairs, scaled, capped and biased; hidden pairs are -infinity. Says whether pairs were computed
  /// as one product.
  bool score(int64_t from, int64_t to, SoftmaxTally& tally) {
    const BlockPlan& plan = space_.plan;
    int64_t kept = 0;
    for (int64_t r = 0; r < plan.rows; ++r) {
      forRanges(plan.ranges, space_.cursors[static_cast<size_t>(r)], from, to, [&](int64_t a, int64_t b) { kept += b - a; });
    }
    const int64_t all = plan.rows * (to - from);
    const bool isProduct = kept * 4 >= all;
    if (isProduct) {
      scoreByProduct(from, to);
      if (kept < all) hide(from, to);
    } else {
      scoreByPair(from, to);
    }
    tally.keptPairs += static_cast<double>(kept);
    tally.pairs += static_cast<double>(isProduct ? all : kept);
    addBias(from, to);
    return isProduct;
  }

  /// Rows of K or V of panel [from, to): in place when they are consecutive, gathered otherwise.
  ConstMatrixView panel(ConstMatrixView source, Matrix& buffer, int64_t from, int64_t to) const {
    const int32_t* columns = space_.plan.columns.data() + from;
    const int64_t count = to - from;
    if (columns[count - 1] - columns[0] + 1 == count) return source.rowsFrom(columns[0], count);
    if (buffer.rows() < kPanelKeys || buffer.cols() != source.cols) buffer = Matrix(kPanelKeys, source.cols);
    for (int64_t c = 0; c < count; ++c)
      std::memcpy(buffer.row(c), source.row(columns[c]), static_cast<size_t>(source.cols) * sizeof(float));
    return buffer.view().rowsFrom(0, count);
  }

  void attend(MatrixView out, Job& job, SoftmaxTally& tally) {
    const BlockPlan& plan = space_.plan;
    space_.max.assign(static_cast<size_t>(plan.rows), kNegative);
    space_.sum.assign(static_cast<size_t>(plan.rows), 0.0f);
    for (int64_t r = 0; r < plan.rows; ++r) std::fill_n(out.row(plan.firstRow + r), out.cols, 0.0f);
    for (int64_t from = 0; from < plan.active(); from += kPanelKeys) {
      job.checkpoint();
      const int64_t to = std::min(from + kPanelKeys, plan.active());
      const bool isProduct = score(from, to, tally);
      weigh(to - from, out);
      if (isProduct) {
        Work unused;
        const MatrixView scores{space_.scores.data(), plan.rows, to - from, kPanelKeys};
        product(scores, panel(head_.value, space_.values, from, to), out.rowsFrom(plan.firstRow, plan.rows), 1.0f, 1.0f, unused);
      } else {
        addValuesByPair(from, to, out);
      }
    }
    for (int64_t r = 0; r < plan.rows; ++r) {
      const float sum = space_.sum[static_cast<size_t>(r)];
      if (sum > 0) {
        VectorMap(out.row(plan.firstRow + r), out.cols) *= 1.0f / sum;
      } else {
        tally.emptyRows.push_back(plan.firstRow + r);
      }
    }
  }

 private:
  void scoreByProduct(int64_t from, int64_t to) {
    const BlockPlan& plan = space_.plan;
    Work unused;
    const MatrixView scores{space_.scores.data(), plan.rows, to - from, kPanelKeys};
    productByTransposed(head_.query.rowsFrom(plan.firstRow, plan.rows), panel(head_.key, space_.keys, from, to), scores,
                        static_cast<float>(head_.scale), 0.0f, unused);
    if (head_.softcap > 0) {
      for (int64_t r = 0; r < plan.rows; ++r) applySoftcap(head_.softcap, scores.row(r), scores.cols);
    }
  }

  void hide(int64_t from, int64_t to) {
    const BlockPlan& plan = space_.plan;
    for (int64_t r = 0; r < plan.rows; ++r) {
      float* row = space_.scores.row(r);
      int64_t done = 0;
      forRanges(plan.ranges, space_.cursors[static_cast<size_t>(r)], from, to, [&](int64_t a, int64_t b) {
        std::fill(row + done, row + a, kNegative);
        done = b;
      });
      std::fill(row + done, row + (to - from), kNegative);
    }
  }

  void scoreByPair(int64_t from, int64_t to) {
    const BlockPlan& plan = space_.plan;
    const float scale = static_cast<float>(head_.scale);
    for (int64_t r = 0; r < plan.rows; ++r) {
      float* row = space_.scores.row(r);
      std::fill(row, row + (to - from), kNegative);
      const ConstVectorMap query(head_.query.row(plan.firstRow + r), head_.query.cols);
      forRanges(plan.ranges, space_.cursors[static_cast<size_t>(r)], from, to, [&](int64_t a, int64_t b) {
        for (int64_t c = a; c < b; ++c) {
          row[c] = scale * query.dot(ConstVectorMap(head_.key.row(plan.columns[static_cast<size_t>(from + c)]), head_.key.cols));
        }
        applySoftcap(head_.softcap, row + a, b - a);
      });
    }
  }

  void addBias(int64_t from, int64_t to) {
    if (!head_.bias) return;
    const BlockPlan& plan = space_.plan;
    for (int64_t r = 0; r < plan.rows; ++r) {
      forRanges(plan.ranges, space_.cursors[static_cast<size_t>(r)], from, to, [&](int64_t a, int64_t b) {
        head_.bias->add(plan.firstRow + r, plan.columns.data() + from + a, b - a, space_.scores.row(r) + a);
      });
    }
  }

  /// Scores become weights against the running maximum; what was summed so far is scaled down to it.
  void weigh(int64_t count, MatrixView out) {
    const BlockPlan& plan = space_.plan;
    for (int64_t r = 0; r < plan.rows; ++r) {
      ArrayMap row(space_.scores.row(r), count);
      float& max = space_.max[static_cast<size_t>(r)];
      float& sum = space_.sum[static_cast<size_t>(r)];
      const float larger = std::max(max, row.maxCoeff());
      if (larger == kNegative) {
        row.setZero();
        continue;
      }
      if (larger > max) {
        const float shrink = max == kNegative ? 0.0f : std::exp(max - larger);
        sum *= shrink;
        VectorMap(out.row(plan.firstRow + r), out.cols) *= shrink;
        max = larger;
      }
      row = ((row - larger) > kSmallestExponent).select((row - larger).exp(), 0.0f);
      sum += row.sum();
    }
  }

  void addValuesByPair(int64_t from, int64_t to, MatrixView out) {
    const BlockPlan& plan = space_.plan;
    for (int64_t r = 0; r < plan.rows; ++r) {
      const float* row = space_.scores.row(r);
      VectorMap sum(out.row(plan.firstRow + r), out.cols);
      forRanges(plan.ranges, space_.cursors[static_cast<size_t>(r)], from, to, [&](int64_t a, int64_t b) {
        for (int64_t c = a; c < b; ++c) {
          sum.noalias() += row[c] * ConstVectorMap(head_.value.row(plan.columns[static_cast<size_t>(from + c)]), head_.value.cols);
        }
      });
    }
  }

  const SoftmaxHead& head_;
  Workspace& space_;
};

/// One block of scores becomes rows of probabilities or their logarithms.
void normaliseRow(float* row, int64_t count, RowScale scale) {
  ArrayMap values(row, count);
  const float max = values.maxCoeff();
  if (max == kNegative) {
    if (scale == RowScale::Probability) values.setZero();
    return;
  }
  double sum = 0;
  constexpr int64_t kPiece = 1024;
  for (int64_t c = 0; c < count; c += kPiece) {
    const int64_t n = std::min(kPiece, count - c);
    sum += static_cast<double>((values.segment(c, n) - max > kSmallestExponent).select((values.segment(c, n) - max).exp(), 0.0f).sum());
  }
  values -= max + static_cast<float>(std::log(sum));
  if (scale == RowScale::Probability) values = (values > -87.0f).select(values.exp(), 0.0f);
}

}  // namespace

double SoftmaxTally::operations(int64_t k, int64_t v) const {
  return pairs * (2.0 * static_cast<double>(k + v) + 4.0) + rows * static_cast<double>(v) + selection;
}

double SoftmaxTally::bytesMoved(int64_t k, int64_t v) const { return 4.0 * static_cast<double>(k + v) * (rows + keyRows); }

double softmaxBytesHeld(int64_t keys, int64_t k, int64_t v) {
  return 4.0 * static_cast<double>(kBlockRows * kPanelKeys + kPanelKeys * (k + v) + 2 * kBlockRows + 3 * keys);
}

void applySoftcap(double softcap, float* scores, int64_t count) {
  if (softcap <= 0) return;
  const float cap = static_cast<float>(softcap);
  ArrayMap values(scores, count);
  values = cap * (values / cap).tanh();
}

SoftmaxTally softmaxAttention(const SoftmaxHead& head, MatrixView out, Job& job) {
  assert(out.rows == head.query.rows && out.cols == head.value.cols && head.mask->size() >= head.query.rows);
  if (canAttendElsewhere(head)) return attendElsewhere(head, out, job);
  SoftmaxTally total;
  std::mutex mutex;
  const int64_t height = blockRowsFor(head.query.rows), blocks = (head.query.rows + height - 1) / height;
  parallelRanges(
      blocks, 1,
      [&](int64_t begin, int64_t end) {
        Workspace space;
        SoftmaxTally tally;
        BlockWorker worker(head, space);
        for (int64_t b = begin; b < end; ++b) {
          worker.start(b * height, std::min(height, head.query.rows - b * height), tally);
          worker.attend(out, job, tally);
        }
        const std::lock_guard lock(mutex);
        total.pairs += tally.pairs;
        total.keptPairs += tally.keptPairs;
        total.selection += tally.selection;
        total.keyRows += tally.keyRows;
        total.rows += tally.rows;
        total.emptyRows.insert(total.emptyRows.end(), tally.emptyRows.begin(), tally.emptyRows.end());
      },
      &job);
  std::sort(total.emptyRows.begin(), total.emptyRows.end());
  return total;
}

void softmaxRows(const SoftmaxHead& head, int64_t first, int64_t count, MatrixView rows, Job& job, RowScale scale) {
  assert(rows.rows == count && rows.cols == head.key.rows);
  Workspace space;
  SoftmaxTally unused;
  BlockWorker worker(head, space);
  for (int64_t block = 0; block < count; block += kBlockRows) {
    const int64_t height = std::min(kBlockRows, count - block);
    worker.start(first + block, height, unused);
    for (int64_t r = 0; r < height; ++r) std::fill_n(rows.row(block + r), rows.cols, kNegative);
    for (int64_t from = 0; from < space.plan.active(); from += kPanelKeys) {
      job.checkpoint();
      const int64_t to = std::min(from + kPanelKeys, space.plan.active());
      worker.score(from, to, unused);
      const int32_t* columns = space.plan.columns.data() + from;
      for (int64_t r = 0; r < height; ++r) {
        for (int64_t c = 0; c < to - from; ++c) rows(block + r, columns[c]) = space.scores(r, c);
      }
    }
    for (int64_t r = 0; r < height; ++r) normaliseRow(rows.row(block + r), rows.cols, scale);
  }
}

}  // namespace headscope::core
