#include "core/mechanisms/layer_cost.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "core/base/parallel.h"
#include "core/base/stopwatch.h"
#include "core/mechanisms/products.h"
#include "core/mechanisms/random.h"
#include "core/mechanisms/softmax_attention.h"

namespace headscope::core {
namespace {

constexpr int64_t kRows = 64;

const char* nameOf(LayerKind kind) {
  return kind == LayerKind::Softmax          ? "softmax_layer"
         : kind == LayerKind::DenseQuadratic ? "dense_attention_layer:order=quadratic"
                                             : "dense_attention_layer:order=linear";
}

/// out [N, d] = x w^T on all threads.
void project(ConstMatrixView x, const Matrix& w, MatrixView out, Work& work, Job& job) {
  std::mutex mutex;
  parallelFor((x.rows + kRows - 1) / kRows,
              [&](int64_t block) {
                const int64_t first = block * kRows, rows = std::min(kRows, x.rows - first);
                Work mine;
                productByTransposed(x.rowsFrom(first, rows), w, out.rowsFrom(first, rows), 1.0f, 0.0f, mine);
                const std::lock_guard lock(mutex);
                work.operations += mine.operations;
              },
              &job);
}

/// x / (max |x| + 1e-3) of each token times N^(-1/3).
Matrix maxNormed(ConstMatrixView x) {
  Matrix out(x.rows, x.cols);
  const double factor = std::pow(static_cast<double>(x.rows), -1.0 / 3.0);
  for (int64_t r = 0; r < x.rows; ++r) {
    float largest = 0;
    for (int64_t c = 0; c < x.cols; ++c) largest = std::max(largest, std::abs(x(r, c)));
    const auto share = static_cast<float>(factor / (static_cast<double>(largest) + 1e-3));
    for (int64_t c = 0; c < x.cols; ++c) out(r, c) = share * x(r, c);
  }
  return out;
}

/// One head: q (x^T x), or (q x^T) x a block of rows at a time.
void denseHead(bool isLinear, ConstMatrixView q, ConstMatrixView x, MatrixView out, Work& work, Job& job) {
  if (isLinear) {
    Matrix gram = Matrix::zeros(x.cols, x.cols);  // [n, n]
    transposedProduct(x, x, gram.view(), 1.0f, 0.0f, work);
    job.checkpoint();
    product(q, gram, out, 1.0f, 0.0f, work);
    return;
  }
  Matrix scores(kRows, x.rows);
  for (int64_t first = 0; first < q.rows; first += kRows) {
    job.checkpoint();
    const int64_t rows = std::min(kRows, q.rows - first);
    const MatrixView block = scores.view().rowsFrom(0, rows);
    productByTransposed(q.rowsFrom(first, rows), x, block, 1.0f, 0.0f, work);
    product(block, x, out.rowsFrom(first, rows), 1.0f, 0.0f, work);
  }
}

Cost runDense(bool isLinear, const LayerShape& shape, ConstMatrixView x, const std::vector<Matrix>& weights, MatrixView out, Job& job) {
  const int64_t n = x.rows, d = shape.width, width = d / shape.heads;
  Cost cost;
  Work work;
  const Matrix normed = maxNormed(x);
  Matrix query(n, d);
  project(normed, weights[0], query.view(), work, job);
  std::mutex mutex;
  parallelFor(
      shape.heads,
      [&](int64_t h) {
        Work mine;
        denseHead(isLinear, query.view().colsFrom(h * width, width), normed.view().colsFrom(h * width, width),
                  out.colsFrom(h * width, width), mine, job);
        const std::lock_guard lock(mutex);
        work.operations += mine.operations;
      },
      &job);
  cost.operations = work.operations;
  cost.bytesHeld = 4.0 * static_cast<double>(2 * n * d + (isLinear ? width * width : kRows * n));
  cost.bytesMoved = 4.0 * static_cast<double>(d * d + 8 * n * d);  // x, its norm, Q and the output, in and out
  cost.formula = isLinear ? "2 N d^2 + 4 N d n, n = d / H" : "2 N d^2 + 4 N^2 d";
  cost.heldFormula = isLinear ? "4 (2 N d + n^2)" : "4 (2 N d + 64 N)";
  return cost;
}

Cost runSoftmax(const LayerShape& shape, ConstMatrixView x, const std::vector<Matrix>& weights, MatrixView out, Job& job) {
  const int64_t n = x.rows, d = shape.width, width = d / shape.heads;
  Work work;
  Matrix query(n, d), key(n, d), value(n, d), mixed(n, d);
  project(x, weights[0], query.view(), work, job);
  project(x, weights[1], key.view(), work, job);
  project(x, weights[2], value.view(), work, job);
  const auto mask = std::make_shared<PatternMask>(Visibility(n, false), nullptr);
  Cost cost;
  for (int64_t h = 0; h < shape.heads; ++h) {
    const SoftmaxHead head{query.view().colsFrom(h * width, width),
                           key.view().colsFrom(h * width, width),
                           value.view().colsFrom(h * width, width),
                           1.0 / std::sqrt(static_cast<double>(width)),
                           0.0,
                           mask,
                           nullptr};
    const SoftmaxTally tally = softmaxAttention(head, mixed.view().colsFrom(h * width, width), job);
    work.operations += tally.operations(width, width);
    cost.pairs += tally.pairs;
    cost.bytesMoved += tally.bytesMoved(width, width);
    cost.keptPairs += tally.keptPairs;
  }
  project(mixed, weights[3], out, work, job);
  cost.operations = work.operations;
  cost.bytesMoved += 4.0 * static_cast<double>(4 * d * d + 8 * n * d);  // four projections, in and out
  cost.bytesHeld = 16.0 * static_cast<double>(n * d) + softmaxBytesHeld(n, width, width);
  cost.formula = "8 N d^2 + H (N^2 (4 n + 4) + N n), n = d / H";
  cost.heldFormula = "16 N d and one thread's softmax";
  return cost;
}

Matrix randomMatrix(int64_t rows, int64_t cols, double size, Random& random) {
  Matrix m(rows, cols);
  for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(size * random.normal());
  return m;
}

}  // namespace

double layerOperations(LayerKind kind, const LayerShape& shape, int64_t size) {
  const double n = static_cast<double>(size), d = static_cast<double>(shape.width), h = static_cast<double>(shape.heads), w = d / h;
  if (kind == LayerKind::Softmax) return 8 * n * d * d + h * (n * n * (4 * w + 4) + n * w);
  return 2 * n * d * d + (kind == LayerKind::DenseLinear ? 4 * n * d * w : 4 * n * n * d);
}

Cost runLayer(LayerKind kind, const LayerShape& shape, ConstMatrixView x, const std::vector<Matrix>& weights, MatrixView out, Job& job) {
  if (kind == LayerKind::Softmax) return runSoftmax(shape, x, weights, out, job);
  return runDense(kind == LayerKind::DenseLinear, shape, x, weights, out, job);
}

std::vector<ComplexityPoint> measureLayers(const LayerShape& shape, const std::vector<int64_t>& sizes, Job& job) {
  const LayerKind kinds[] = {LayerKind::Softmax, LayerKind::DenseQuadratic, LayerKind::DenseLinear};
  std::vector<ComplexityPoint> points(std::size(kinds) * sizes.size());
  Random random(1);
  std::vector<Matrix> weights;
  for (int w = 0; w < 4; ++w)
    weights.push_back(randomMatrix(shape.width, shape.width, 1.0 / std::sqrt(static_cast<double>(shape.width)), random));
  for (size_t s = 0; s < sizes.size(); ++s) {
    const Matrix x = randomMatrix(sizes[s], shape.width, 1.0, random);
    Matrix out(sizes[s], shape.width);
    for (size_t k = 0; k < std::size(kinds); ++k) {
      job.report(static_cast<double>(s * std::size(kinds) + k) / static_cast<double>(points.size()),
                 std::string(nameOf(kinds[k])) + " at " + std::to_string(sizes[s]));
      ComplexityPoint& point = points[k * sizes.size() + s];
      point.mechanism = nameOf(kinds[k]);
      point.size = sizes[s];
      for (int repetition = 0; repetition < 4; ++repetition) {
        const Stopwatch watch;
        point.cost = runLayer(kinds[k], shape, x, weights, out.view(), job);
        const double seconds = watch.wallSeconds(), processor = watch.processorSeconds();
        point.seconds = repetition == 0 ? seconds : std::min(point.seconds, seconds);
        point.processorSeconds = repetition == 0 ? processor : std::min(point.processorSeconds, processor);
        if (seconds > 0.5) break;  // long enough to be steady
      }
    }
  }
  return points;
}

}  // namespace headscope::core
