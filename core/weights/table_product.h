#pragma once
// tableProduct: a few rows times a large stored table (an embedding, an unembedding), which is decoded a few hundred rows at a time.
#include "core/checkpoint/weight_view.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

class Job;

/// x W^T [n, table.outputs()] of x [n, table.inputs()], in float32, split over the pool. Cancelled.
Matrix tableProduct(ConstMatrixView x, const WeightView& table, const Job& job);

}  // namespace headscope::core
