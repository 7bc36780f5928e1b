#include "core/mechanisms/cope.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/mechanisms/kinds.h"
#include "core/mechanisms/mask.h"
#include "core/mechanisms/positions.h"
#include "core/mechanisms/products.h"

namespace headscope::core {
namespace {

constexpr int64_t kRows = 64;

class CopeMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job&) const override { return std::make_unique<CopeRun>(input, Matrix()); }
};

}  // namespace

CopeRun::CopeRun(const HeadInput& input, Matrix table)
    : value_(input.value), scale_(input.scale), window_(input.window), hasRotation_(input.rope != nullptr), table_(std::move(table)) {
  if (!input.isCausal) throw Error("CoPE counts back from the query and needs a causal model", "mechanism cope");
  Unplaced plain = withoutRotation(input);
  query_ = std::move(plain.query);
  key_ = std::move(plain.key);
}

void CopeRun::requireTable() const {
  if (table_.size() == 0) {
    throw Error("CoPE's position table is trained and this checkpoint has none, so there is no output", "mechanism cope",
                "gates and counted positions can be looked at");
  }
}

/// q.k before scaling, [count, first + count) keys.
void CopeRun::scores(int64_t first, int64_t count, MatrixView rows, double& operations) const {
  Work work;
  productByTransposed(query_.view().rowsFrom(first, count), key_.view().rowsFrom(0, first + count), rows.colsFrom(0, first + count),
                      static_cast<float>(scale_), 0.0f, work);
  operations += work.operations;
}

void CopeRun::gates(int64_t first, int64_t count, MatrixView rows, Job& job) const {
  job.checkpoint();
  double unused = 0;
  scores(first, count, rows, unused);
  const Visibility visibility(query_.rows(), true, window_);
  for (int64_t r = 0; r < count; ++r) {
    const KeyRange seen = visibility.row(first + r);
    std::fill(rows.row(r), rows.row(r) + seen.first, 0.0f);
    std::fill(rows.row(r) + seen.end, rows.row(r) + rows.cols, 0.0f);
    for (int64_t j = seen.first; j < seen.end; ++j) rows(r, j) = 1.0f / (1.0f + std::exp(-rows(r, j)));
  }
}

void CopeRun::positions(int64_t first, int64_t count, MatrixView rows, Job& job) const {
  gates(first, count, rows, job);
  const double largest = table_.size() > 0 ? static_cast<double>(table_.rows() - 1) : 1e30;
  const Visibility visibility(query_.rows(), true, window_);
  for (int64_t r = 0; r < count; ++r) {
    const KeyRange seen = visibility.row(first + r);
    double sum = 0;
    for (int64_t j = seen.end - 1; j >= seen.first; --j) {
      sum += static_cast<double>(rows(r, j));
      rows(r, j) = static_cast<float>(std::min(sum, largest));
    }
  }
}

void CopeRun::mapRows(int64_t first, int64_t count, MatrixView rows, Job& job) const {
  requireTable();
  const Visibility visibility(query_.rows(), true, window_);
  double unused = 0;
  Work work;
  Matrix logits(count, first + count), ahead(count, table_.rows());  // q.k scale; q.e [count, p_max]
  positions(first, count, rows, job);
  scores(first, count, logits.view(), unused);
  productByTransposed(query_.view().rowsFrom(first, count), table_, ahead.view(), 1.0f, 0.0f, work);
  for (int64_t r = 0; r < count; ++r) {
    const KeyRange seen = visibility.row(first + r);
    for (int64_t j = seen.first; j < seen.end; ++j) {
      const float p = rows(r, j), low = std::floor(p);
      const int64_t at = static_cast<int64_t>(low), next = static_cast<int64_t>(std::ceil(p));
      rows(r, j) = logits(r, j) + ahead(r, next) * (p - low) + ahead(r, at) * (1.0f - (p - low));
    }
    softmaxInPlace({rows.row(r) + seen.first, 1, seen.end - seen.first, rows.stride}, work);
  }
}

void CopeRun::output(MatrixView out, Job& job) const {
  requireTable();
  const int64_t n = query_.rows(), k = query_.cols();
  Work work;
  Matrix rows(kRows, n);
  double pairs = 0;
  for (int64_t first = 0; first < n; first += kRows) {
    const int64_t count = std::min(kRows, n - first);
    mapRows(first, count, rows.view().rowsFrom(0, count), job);
    product(rows.view().rowsFrom(0, count).colsFrom(0, first + count), value_.rowsFrom(0, first + count), out.rowsFrom(first, count), 1.0f,
            0.0f, work);
    pairs += static_cast<double>(count * (first + count));
  }
  operations_ = work.operations + pairs * (4.0 * static_cast<double>(k) + 12.0) + 2.0 * static_cast<double>(n * k * table_.rows());
}

Cost CopeRun::cost() const {
  Cost cost;
  const double n = static_cast<double>(query_.rows()), k = static_cast<double>(query_.cols()), v = static_cast<double>(value_.cols);
  cost.operations = operations_;
  cost.bytesMoved = 4.0 * (k + v) * (2.0 * n + n * n / 128.0);
  cost.bytesHeld = 4.0 * static_cast<double>(kRows) * 2.0 * n;
  cost.pairs = n * (n + 1) / 2;
  cost.keptPairs = cost.pairs;
  cost.formula = "P (4 k + 2 v + 12) + 2 N k p_max, P pairs of whole row blocks";
  cost.heldFormula = "4 * 64 * 2 N";
  return cost;
}

std::vector<std::string> CopeRun::notes() const {
  std::vector<std::string> notes{"a what-if: the checkpoint was trained with other positions"};
  if (table_.size() == 0) notes.push_back("no trained table: gates and counted positions only");
  if (!hasRotation_) notes.push_back("this model has no rotation to take off; learned positions stay in Q and K");
  return notes;
}

MechanismKind copeKind() {
  return {"cope", "positions counted by gates (Golovneva 2024); gates and counts only without a trained table", {}, [](const Arguments& a) {
            return std::make_unique<CopeMechanism>(a);
          }};
}

}  // namespace headscope::core
