#include "core/mechanisms/clustered.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/mechanisms/kinds.h"
#include "core/mechanisms/products.h"
#include "core/mechanisms/random.h"
#include "core/mechanisms/softmax_attention.h"
#include "core/mechanisms/vector_math.h"

namespace headscope::core {
namespace {

using ConstVectorMap = Eigen::Map<const Eigen::VectorXf>;

/// Best centre of every row: nearest, or largest product. Says how many changed.
int64_t assign(ConstMatrixView rows, const Matrix& centres, bool isNearest, std::vector<int32_t>& owner, Job& job) {
  const int64_t n = rows.rows, c = centres.rows();
  constexpr int64_t kRows = 256;
  std::vector<float> half(static_cast<size_t>(c), 0.0f);
  for (int64_t i = 0; i < c && isNearest; ++i)
    half[static_cast<size_t>(i)] = 0.5f * ConstVectorMap(centres.row(i), rows.cols).squaredNorm();
  Matrix products(kRows, c);
  Work unused;
  int64_t moved = 0;
  for (int64_t first = 0; first < n; first += kRows) {
    job.checkpoint();
    const int64_t count = std::min(kRows, n - first);
    productByTransposed(rows.rowsFrom(first, count), centres, products.view().rowsFrom(0, count), 1.0f, 0.0f, unused);
    for (int64_t r = 0; r < count; ++r) {
      Eigen::Index best = 0;
      (Eigen::Map<const Eigen::ArrayXf>(products.row(r), c) - Eigen::Map<const Eigen::ArrayXf>(half.data(), c)).maxCoeff(&best);
      int32_t& mine = owner[static_cast<size_t>(first + r)];
      moved += mine != static_cast<int32_t>(best);
      mine = static_cast<int32_t>(best);
    }
  }
  return moved;
}

Matrix startingCentres(ConstMatrixView rows, int64_t clusters, Random& random, Job& job) {
  const int64_t n = rows.rows;
  Matrix centres(clusters, rows.cols);
  std::vector<double> distance(static_cast<size_t>(n), std::numeric_limits<double>::max());
  int64_t chosen = random.below(n);
  for (int64_t c = 0; c < clusters; ++c) {
    job.checkpoint();
    std::memcpy(centres.row(c), rows.row(chosen), static_cast<size_t>(rows.cols) * sizeof(float));
    double total = 0;
    for (int64_t i = 0; i < n; ++i) {
      double& d = distance[static_cast<size_t>(i)];
      d = std::min(d,
                   static_cast<double>((ConstVectorMap(rows.row(i), rows.cols) - ConstVectorMap(centres.row(c), rows.cols)).squaredNorm()));
      total += d;
    }
    double target = random.uniform() * total;
    chosen = n - 1;
    for (int64_t i = 0; i < n; ++i) {
      target -= distance[static_cast<size_t>(i)];
      if (target < 0) {
        chosen = i;
        break;
      }
    }
  }
  return centres;
}

class ClusteredMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  bool isRandom() const override { return true; }
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job& job) const override {
    const ClusterOn on = arguments().text("on") == "keys" ? ClusterOn::Keys : ClusterOn::Queries;
    const bool isOther = input.fitKey.rows > 0 && input.fitQuery.rows > 0;
    const ConstMatrixView fitted = on == ClusterOn::Keys ? (isOther ? input.fitKey : input.key) : (isOther ? input.fitQuery : input.query);
    Matrix centres = fitCentres(fitted, arguments().integer("clusters"), arguments().seed(), job);
    return clusteredRun(input, std::move(centres), arguments().integer("visit"), on);
  }
};

}  // namespace

Matrix fitCentres(ConstMatrixView rows, int64_t clusters, uint64_t seed, Job& job) {
  const int64_t n = rows.rows, count = std::min(clusters, n);
  Random random(seed);
  Matrix centres = startingCentres(rows, count, random, job);
  std::vector<int32_t> owner(static_cast<size_t>(n), -1);
  for (int step = 0; step < 50 && assign(rows, centres, true, owner, job) > 0; ++step) {
    Eigen::MatrixXd sums = Eigen::MatrixXd::Zero(rows.cols, count);
    std::vector<int64_t> members(static_cast<size_t>(count), 0);
    for (int64_t i = 0; i < n; ++i) {
      const int32_t c = owner[static_cast<size_t>(i)];
      sums.col(c) += ConstVectorMap(rows.row(i), rows.cols).cast<double>();
      ++members[static_cast<size_t>(c)];
    }
    for (int64_t c = 0; c < count; ++c) {  // a centre that lost all its rows stays where it is
      if (members[static_cast<size_t>(c)] == 0) continue;
      Eigen::Map<Eigen::VectorXf>(centres.row(c), rows.cols) =
          (sums.col(c) / static_cast<double>(members[static_cast<size_t>(c)])).cast<float>();
    }
  }
  return centres;
}

ClusterMask::ClusterMask(const HeadInput& input, Matrix centres, int64_t visit, ClusterOn on)
    : Mask(input.count()),
      query_(input.query),
      centres_(std::move(centres)),
      visit_(visit),
      visibility_(input),
      owner_(static_cast<size_t>(input.count()), -1),
      members_(static_cast<size_t>(centres_.rows())) {
  Job whole;
  assign(input.key, centres_, on == ClusterOn::Keys, owner_, whole);
  for (int64_t j = 0; j < size(); ++j) members_[static_cast<size_t>(owner_[static_cast<size_t>(j)])].push_back(static_cast<int32_t>(j));
}

double ClusterMask::selectionOperations(int64_t) const {
  return static_cast<double>(centres_.rows()) * (2.0 * static_cast<double>(centres_.cols()) + 1.0);
}

std::vector<int32_t> ClusterMask::order(int64_t row) const {
  const ConstVectorMap query(query_.row(row), query_.cols);
  std::vector<float> products;
  for (int64_t c = 0; c < clusters(); ++c) products.push_back(query.dot(ConstVectorMap(centres_.row(c), centres_.cols())));
  return order(row, products.data());
}

std::vector<int32_t> ClusterMask::order(int64_t row, const float* products) const {
  const KeyRange seen = visibility_.row(row);
  std::vector<std::pair<float, int32_t>> scores;
  for (int64_t c = 0; c < clusters(); ++c) {
    const auto& keys = members_[static_cast<size_t>(c)];
    if (keys.empty() || keys.front() >= seen.end || keys.back() < seen.first) continue;
    const auto first = std::lower_bound(keys.begin(), keys.end(), static_cast<int32_t>(seen.first));
    if (*first < seen.end) scores.emplace_back(-products[c], static_cast<int32_t>(c));
  }
  std::sort(scores.begin(), scores.end());
  std::vector<int32_t> out;
  for (const auto& [score, cluster] : scores) out.push_back(cluster);
  return out;
}

void ClusterMask::ranges(int64_t row, std::vector<KeyRange>& out) const {
  const KeyRange seen = visibility_.row(row);
  std::vector<int32_t> keys;
  const std::vector<int32_t> best = order(row);
  for (size_t c = 0; c < best.size() && c < static_cast<size_t>(visit_); ++c) {
    const auto& members = members_[static_cast<size_t>(best[c])];
    const auto middle = static_cast<std::ptrdiff_t>(keys.size());
    keys.insert(keys.end(), std::lower_bound(members.begin(), members.end(), static_cast<int32_t>(seen.first)),
                std::lower_bound(members.begin(), members.end(), static_cast<int32_t>(seen.end)));
    std::inplace_merge(keys.begin(), keys.begin() + middle, keys.end());
  }
  const size_t start = out.size();
  for (const int32_t j : keys) {
    if (out.size() > start && out.back().end == j) {
      ++out.back().end;
    } else {
      out.push_back({j, j + 1});
    }
  }
}

std::vector<RecallPoint> clusterRecall(const HeadInput& input, const ClusterMask& mask, Job& job) {
  const int64_t n = input.count(), clusters = mask.clusters();
  const Visibility visibility(input);
  const SoftmaxHead head = SoftmaxHead::of(input, std::make_shared<PatternMask>(visibility, nullptr));
  std::vector<RecallPoint> points(static_cast<size_t>(clusters));
  constexpr int64_t kRows = 64;
  Matrix rows(kRows, n);
  std::vector<double> mass(static_cast<size_t>(clusters));
  std::vector<int64_t> keys(static_cast<size_t>(clusters));
  for (int64_t first = 0; first < n; first += kRows) {
    const int64_t count = std::min(kRows, n - first);
    softmaxRows(head, first, count, rows.view().rowsFrom(0, count), job);
    for (int64_t r = 0; r < count; ++r) {
      job.checkpoint();
      const KeyRange seen = visibility.row(first + r);
      std::fill(mass.begin(), mass.end(), 0.0);
      std::fill(keys.begin(), keys.end(), 0);
      for (int64_t j = seen.first; j < seen.end; ++j) {
        mass[static_cast<size_t>(mask.clusterOf(j))] += static_cast<double>(rows(r, j));
        ++keys[static_cast<size_t>(mask.clusterOf(j))];
      }
      float* weights = rows.row(r) + seen.first;
      const int64_t visible = seen.end - seen.first;
      std::sort(weights, weights + visible, std::greater<>());
      std::vector<double> best(static_cast<size_t>(visible) + 1, 0.0);
      for (int64_t j = 0; j < visible; ++j)
        best[static_cast<size_t>(j) + 1] = best[static_cast<size_t>(j)] + static_cast<double>(weights[j]);
      const std::vector<int32_t> order = mask.order(first + r);
      double got = 0;
      int64_t read = 0;
      for (int64_t c = 0; c < clusters; ++c) {
        if (c < static_cast<int64_t>(order.size())) {
          got += mass[static_cast<size_t>(order[static_cast<size_t>(c)])];
          read += keys[static_cast<size_t>(order[static_cast<size_t>(c)])];
        }
        RecallPoint& point = points[static_cast<size_t>(c)];
        const double share = static_cast<double>(read) / static_cast<double>(visible);
        point.visit = c + 1;
        point.shareRead += share / static_cast<double>(n);
        point.random += share / static_cast<double>(n);
        point.recall += got / static_cast<double>(n);
        point.exact += best[static_cast<size_t>(read)] / static_cast<double>(n);
      }
    }
  }
  return points;
}

MechanismKind clusteredKind() {
  return {"clustered",
          "keys in k-means clusters, of which a query visits the best (after sparsev)",
          {Parameter::integer("clusters", 16, 1, 1 << 16, "centres"), Parameter::integer("visit", 4, 1, 1 << 16, "clusters a query visits"),
           Parameter::integer("seed", 1, 0, 1 << 30, "of the k-means++ start"),
           Parameter::word("on", "keys", {"keys", "queries"}, "what the centres are fitted on, after positions")},
          [](const Arguments& a) { return std::make_unique<ClusteredMechanism>(a); }};
}

}  // namespace headscope::core
