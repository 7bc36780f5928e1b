// Attention under clustered keys, cluster by cluster: keys and values lie sorted by cluster, and the rows of a block that visit
// a cluster meet its keys in one product, joined over clusters by the online softmax. Only visited clusters are read.
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "core/base/parallel.h"
#include "core/mechanisms/clustered.h"
#include "core/mechanisms/products.h"
#include "core/mechanisms/softmax_elsewhere.h"
#include "core/mechanisms/softmax_run.h"
#include "core/mechanisms/vector_math.h"

namespace headscope::core {
namespace {

constexpr int64_t kRows = 64, kPanel = 256;
constexpr float kNegative = -std::numeric_limits<float>::infinity();

using ArrayMap = Eigen::Map<Eigen::ArrayXf>;

/// What each row sees of keys that lie sorted by cluster: a stretch of each cluster that it visits.
class SortedClusters : public Mask {
 public:
  SortedClusters(const ClusterMask& mask, const std::vector<int64_t>& begin) : Mask(mask.size()), mask_(mask), begin_(begin) {}
  void ranges(int64_t row, std::vector<KeyRange>& out) const override {
    const size_t first = out.size();
    const KeyRange seen = mask_.visible(row);
    const std::vector<int32_t> order = mask_.order(row);
    for (size_t c = 0; c < order.size() && c < static_cast<size_t>(mask_.visit()); ++c) {
      const std::vector<int32_t>& keys = mask_.members(order[c]);
      const auto from = std::lower_bound(keys.begin(), keys.end(), static_cast<int32_t>(seen.first)),
                 to = std::lower_bound(from, keys.end(), static_cast<int32_t>(seen.end));
      const int64_t at = begin_[static_cast<size_t>(order[c])];
      if (from != to) out.push_back({at + (from - keys.begin()), at + (to - keys.begin())});
    }
    std::sort(out.begin() + static_cast<std::ptrdiff_t>(first), out.end(),
              [](const KeyRange& a, const KeyRange& b) { return a.first < b.first; });
  }
  double selectionOperations(int64_t row) const override { return mask_.selectionOperations(row); }

 private:
  const ClusterMask& mask_;
  const std::vector<int64_t>& begin_;
};

class ClusteredRun : public SoftmaxRun {
 public:
  ClusteredRun(const HeadInput& input, std::shared_ptr<const ClusterMask> mask, std::vector<std::string> notes)
      : SoftmaxRun(SoftmaxHead::of(input, mask), std::move(notes), kFormula),
        mask_(std::move(mask)),
        keys_(input.key.rows, input.key.cols),
        values_(input.value.rows, input.value.cols) {
    int64_t at = 0;
    for (int64_t c = 0; c < mask_->clusters(); ++c) {
      begin_.push_back(at);
      for (const int32_t j : mask_->members(c)) {
        std::memcpy(keys_.row(at), input.key.row(j), static_cast<size_t>(input.key.cols) * sizeof(float));
        std::memcpy(values_.row(at), input.value.row(j), static_cast<size_t>(input.value.cols) * sizeof(float));
        ++at;
      }
    }
  }

  void output(MatrixView out, Job& job) const override {
    SoftmaxHead sorted = head();
    sorted.key = keys_, sorted.value = values_;
    sorted.mask = std::make_shared<SortedClusters>(*mask_, begin_);
    if (canAttendElsewhere(sorted)) {
      SoftmaxTally done = attendElsewhere(sorted, out, job);
      const std::lock_guard lock(mutex_);
      tally_ = std::move(done);
      return;
    }
    const int64_t n = head().query.rows;
    SoftmaxTally total;
    std::mutex mutex;
    parallelRanges((n + kRows - 1) / kRows, 1,
                   [&](int64_t first, int64_t end) {
                     Workspace space(head().query.cols, head().value.cols, mask_->clusters());
                     SoftmaxTally mine;
                     for (int64_t b = first; b < end; ++b) block(b * kRows, std::min(kRows, n - b * kRows), space, out, mine, job);
                     const std::lock_guard lock(mutex);
                     total.pairs += mine.pairs;
                     total.keptPairs += mine.keptPairs;
                     total.keyRows += mine.keyRows;
                     total.rows += mine.rows;
                     total.emptyRows.insert(total.emptyRows.end(), mine.emptyRows.begin(), mine.emptyRows.end());
                   },
                   &job);
    std::sort(total.emptyRows.begin(), total.emptyRows.end());
    total.selection = static_cast<double>(n) * mask_->selectionOperations(0);
    const std::lock_guard lock(mutex_);
    tally_ = std::move(total);
  }

  Cost cost() const override {
    const std::lock_guard lock(mutex_);
    const int64_t n = head().key.rows, k = head().key.cols, v = head().value.cols, c = mask_->clusters();
    Cost cost;
    cost.operations = tally_.operations(k, v);
    cost.bytesMoved = tally_.bytesMoved(k, v);
    cost.bytesHeld = 4.0 * static_cast<double>(n * (k + v) + c * k + kRows * (kPanel + c + k + 2 * v + 2)) + 8.0 * static_cast<double>(n);
    cost.pairs = tally_.pairs;
    cost.keptPairs = tally_.keptPairs;
    cost.formula = kFormula;
    cost.heldFormula = "4 (N (k + v + 2) + c k + 64 (256 + c + k + 2 v + 2))";
    return cost;
  }

  std::vector<int64_t> emptyRows() const override {
    const std::lock_guard lock(mutex_);
    return tally_.emptyRows;
  }

 private:
  static constexpr const char* kFormula = "N c (2 k + 1) + P (2 k + 2 v + 4) + N v, P pairs in visited clusters; fitting left out";

  struct Workspace {
    Matrix products, query, scores, part, sum;
    std::vector<float> max, mass;
    std::vector<std::vector<int32_t>> rowsOf;  // [cluster] rows of the block that visit it
    Workspace(int64_t k, int64_t v, int64_t clusters)
        : products(kRows, clusters),
          query(kRows, k),
          scores(kRows, kPanel),
          part(kRows, v),
          sum(kRows, v),
          rowsOf(static_cast<size_t>(clusters)) {}
  };

  void block(int64_t first, int64_t rows, Workspace& space, MatrixView out, SoftmaxTally& tally, Job& job) const {
    Work unused;
    productByTransposed(head().query.rowsFrom(first, rows), mask_->centres(), space.products.view().rowsFrom(0, rows), 1.0f, 0.0f, unused);
    for (auto& list : space.rowsOf) list.clear();
    for (int64_t r = 0; r < rows; ++r) {
      const std::vector<int32_t> order = mask_->order(first + r, space.products.row(r));
      for (size_t c = 0; c < order.size() && c < static_cast<size_t>(mask_->visit()); ++c)
        space.rowsOf[static_cast<size_t>(order[c])].push_back(static_cast<int32_t>(r));
    }
    space.max.assign(static_cast<size_t>(rows), kNegative);
    space.mass.assign(static_cast<size_t>(rows), 0.0f);
    std::fill_n(space.sum.data(), space.sum.size(), 0.0f);
    for (int64_t c = 0; c < mask_->clusters(); ++c) {
      job.checkpoint();
      if (!space.rowsOf[static_cast<size_t>(c)].empty()) visitCluster(c, first, space, tally);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const float mass = space.mass[static_cast<size_t>(r)];
      if (mass <= 0) tally.emptyRows.push_back(first + r);
      ArrayMap(out.row(first + r), out.cols) = ArrayMap(space.sum.row(r), out.cols) * (mass > 0 ? 1.0f / mass : 0.0f);
    }
    tally.rows += static_cast<double>(rows);
  }

  void visitCluster(int64_t cluster, int64_t first, Workspace& space, SoftmaxTally& tally) const {
    const std::vector<int32_t>& rows = space.rowsOf[static_cast<size_t>(cluster)];
    const std::vector<int32_t>& keys = mask_->members(cluster);
    const int64_t m = static_cast<int64_t>(rows.size()), k = head().query.cols;
    for (int64_t i = 0; i < m; ++i)
      std::memcpy(space.query.row(i), head().query.row(first + rows[static_cast<size_t>(i)]), static_cast<size_t>(k) * sizeof(float));
    // Keys that some of the rows may see: rows ascend, and so do the ends of what they see
    const auto from = std::lower_bound(keys.begin(), keys.end(), static_cast<int32_t>(mask_->visible(first + rows.front()).first));
    const auto to = std::lower_bound(from, keys.end(), static_cast<int32_t>(mask_->visible(first + rows.back()).end));
    for (int64_t begin = from - keys.begin(), end = to - keys.begin(); begin < end; begin += kPanel) {
      const int64_t count = std::min(kPanel, end - begin), at = begin_[static_cast<size_t>(cluster)] + begin;
      const MatrixView scores{space.scores.data(), m, count, kPanel};
      Work unused;
      productByTransposed(space.query.view().rowsFrom(0, m), keys_.view().rowsFrom(at, count), scores, static_cast<float>(head().scale),
                          0.0f, unused);
      for (int64_t i = 0; i < m; ++i) {
        const int64_t row = rows[static_cast<size_t>(i)];
        const KeyRange seen = mask_->visible(first + row);
        const auto* panel = keys.data() + begin;
        const int64_t a = std::lower_bound(panel, panel + count, static_cast<int32_t>(seen.first)) - panel,
                      b = std::lower_bound(panel, panel + count, static_cast<int32_t>(seen.end)) - panel;
        weigh(scores.row(i), count, a, b, row, space);
        tally.keptPairs += static_cast<double>(std::max<int64_t>(0, b - a));
      }
      const MatrixView part = space.part.view().rowsFrom(0, m);
      product(scores, values_.view().rowsFrom(at, count), part, 1.0f, 0.0f, unused);
      for (int64_t i = 0; i < m; ++i) ArrayMap(space.sum.row(rows[static_cast<size_t>(i)]), part.cols) += ArrayMap(part.row(i), part.cols);
      tally.pairs += static_cast<double>(m * count);
      tally.keyRows += static_cast<double>(count);
    }
  }

  /// Scores [a, b) of a row become weights relative to its largest score so far; the rest 0.
  void weigh(float* scores, int64_t count, int64_t a, int64_t b, int64_t row, Workspace& space) const {
    if (a >= b) {
      std::fill(scores, scores + count, 0.0f);
      return;
    }
    applySoftcap(head().softcap, scores + a, b - a);
    ArrayMap mine(scores + a, b - a);
    float& max = space.max[static_cast<size_t>(row)];
    float& mass = space.mass[static_cast<size_t>(row)];
    const float next = std::max(max, mine.maxCoeff());
    if (next > max) {
      const float shrink = max == kNegative ? 0.0f : std::exp(max - next);
      ArrayMap(space.sum.row(row), space.sum.cols()) *= shrink;
      mass *= shrink;
      max = next;
    }
    mine = (mine - max > -60.0f).select((mine - max).exp(), 0.0f);
    mass += mine.sum();
    std::fill(scores, scores + a, 0.0f);
    std::fill(scores + b, scores + count, 0.0f);
  }

  std::shared_ptr<const ClusterMask> mask_;
  Matrix keys_, values_;        // [N, k], [N, v], by cluster
  std::vector<int64_t> begin_;  // [cluster] its first row there
  mutable std::mutex mutex_;
  mutable SoftmaxTally tally_;
};

}  // namespace

std::unique_ptr<HeadRun> clusteredRun(const HeadInput& input, Matrix centres, int64_t visit, ClusterOn on) {
  std::vector<std::string> notes;
  if (visit >= centres.rows()) notes.push_back("every cluster is visited");
  auto mask = std::make_shared<ClusterMask>(input, std::move(centres), visit, on);
  return std::make_unique<ClusteredRun>(input, std::move(mask), std::move(notes));
}

}  // namespace headscope::core
