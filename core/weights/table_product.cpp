#include "core/weights/table_product.h"

#include <cblas.h>

#include <algorithm>

#include "core/base/job.h"
#include "core/base/parallel.h"

namespace headscope::core {
namespace {

constexpr int64_t kTableRows = 512;

}  // namespace

Matrix tableProduct(ConstMatrixView x, const WeightView& table, const Job& job) {
  const int64_t outputs = table.outputs();
  Matrix out(x.rows, outputs);
  if (x.rows == 0) return out;
  parallelFor((outputs + kTableRows - 1) / kTableRows,
              [&](int64_t block) {
                const int64_t first = block * kTableRows, count = std::min(kTableRows, outputs - first);
                Matrix rows(count, table.inputs());
                table.decodeRows(first, count, rows.data(), rows.cols());
                cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(x.rows), static_cast<int>(count),
                            static_cast<int>(rows.cols()), 1.0F, x.data, static_cast<int>(x.stride), rows.data(),
                            static_cast<int>(rows.cols()), 0.0F, out.data() + first, static_cast<int>(outputs));
              },
              &job);
  return out;
}

}  // namespace headscope::core
