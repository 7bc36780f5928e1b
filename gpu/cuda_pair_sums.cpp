// CudaBackend's pair sums: what composition is made of, as core/weights/pair_sums.cpp does it: Gram tiles of every thin matrix by
// batched products, all pairs of a tile by one product, tiles added in double on the card. Host sums change at the very end.
#include <algorithm>
#include <map>
#include <vector>

#include "gpu/cuda_products.h"

namespace headscope::gpu {

/// Thin matrices on the card: where each begins, [count, width] packed.
struct CudaBackend::CardStrip {
  struct Thin {
    DeviceArray<float> numbers;
    std::vector<const float*> rows;
    std::vector<int64_t> counts;
  };
  int64_t width = 0;
  Thin writers, readers;
};

namespace {

/// Bytes of Gram tiles held at once, of writers and readers together.
constexpr int64_t kTileBytes = int64_t{768} << 20;
constexpr int64_t kLargestSide = 128;
/// Tiles queued before the host looks whether the job was cancelled.
constexpr int64_t kTilesAhead = 8;

/// Blocks of a product's result that keep a large card busy, and parts that one product may be cut into along its sum.
constexpr int64_t kBusyBlocks = 256, kMostParts = 16, kProductBlock = 128;

/// Parts of a product [writers, readers] whose sum runs over tiles of `rows` rows: its result alone is too small for the card.
int64_t partsOf(int64_t writers, int64_t readers, int64_t rows) {
  const auto blocks = [](int64_t n) { return (n + kProductBlock - 1) / kProductBlock; };
  int64_t parts = 1;
  while (parts < kMostParts && rows % (2 * parts) == 0 && blocks(writers) * blocks(readers) * parts < kBusyBlocks) parts *= 2;
  return parts;
}

int64_t sideFor(int64_t heads, int64_t wanted) {
  int64_t side = std::min(kLargestSide, std::max<int64_t>(1, wanted));
  while (side > 8 && heads * side * side * static_cast<int64_t>(sizeof(float)) > kTileBytes) side /= 2;
  return side;
}

/// Gram tiles of all matrices of one kind: products of equal counts are one batch.
struct TileBatch {
  int64_t count = 0;  // rows of each thin matrix
  std::vector<size_t> members;
};

std::vector<TileBatch> batchesOf(const std::vector<int64_t>& counts) {
  std::map<int64_t, TileBatch> byCount;
  for (size_t i = 0; i < counts.size(); ++i) {
    TileBatch& batch = byCount[counts[i]];
    batch.count = counts[i];
    batch.members.push_back(i);
  }
  std::vector<TileBatch> out;
  for (auto& [count, batch] : byCount) out.push_back(std::move(batch));
  return out;
}

}  // namespace

std::shared_ptr<const CudaBackend::CardStrip> CudaBackend::onCard(const core::PairStrip& strip) {
  if (stripOnCard_ && strip.owner != nullptr && ownerOfStrip_.lock() == strip.owner) return stripOnCard_;
  const auto load = [&](const std::vector<core::ThinRows>& thin) {
    CardStrip::Thin card;
    int64_t rows = 0;
    for (const core::ThinRows& t : thin) rows += t.count;
    card.numbers = DeviceArray<float>(rows * strip.width, stream());
    std::vector<core::ConstMatrixView> from;
    rows = 0;
    for (const core::ThinRows& t : thin) {
      card.rows.push_back(card.numbers.data() + rows * strip.width), card.counts.push_back(t.count);
      if (t.count > 0) from.push_back({t.rows, t.count, strip.width, strip.stride});
      rows += t.count;
    }
    sendAll(from, card.numbers.data());
    return card;
  };
  auto card = std::make_shared<CardStrip>();
  card->width = strip.width, card->writers = load(strip.writers), card->readers = load(strip.readers);
  return card;
}

void CudaBackend::addPairSums(const core::PairStrip& a, const core::PairStrip& b, const core::PairPlan& plan, std::span<double> sums,
                              const core::Job& job) {
  const Lock lock = begin(job);
  const FloatProducts isFloat(*this);
  const bool isSame = &a == &b;
  // The first strip stays for the calls that follow with others: what comes from the host is as much as all the rest
  if (ownerOfStrip_.lock() != a.owner) stripOnCard_.reset();
  const std::shared_ptr<const CardStrip> left = onCard(a);
  if (a.owner != nullptr) stripOnCard_ = left, ownerOfStrip_ = a.owner;
  const std::shared_ptr<const CardStrip> right = isSame ? left : onCard(b);
  const auto writers = static_cast<int64_t>(a.writers.size()), readers = static_cast<int64_t>(a.readers.size());
  const int64_t side = sideFor(writers + readers, std::max<int64_t>(plan.side, kLargestSide)), most = side * side;
  const DeviceArray<float> writerTiles(writers * most, stream()), readerTiles(readers * most, stream());
  int64_t largest = 0;
  for (const core::PairGroup& g : plan.groups) {
    largest = std::max(largest, g.writers * g.readers * partsOf(g.writers, g.readers, kMostParts));
  }
  const DeviceArray<float> parts(largest, stream());
  const DeviceArray<double> total(writers * readers, stream());
  check(cudaMemsetAsync(total.data(), 0, static_cast<size_t>(total.count()) * sizeof(double), stream()), "clearing memory");

  const float one = 1.0f, zero = 0.0f;
  const auto formTiles = [&](const CardStrip::Thin& rowsOf, const CardStrip::Thin& colsOf, const std::vector<TileBatch>& batches,
                             int64_t row, int64_t rows, int64_t col, int64_t cols, float* tiles) {
    const int64_t area = rows * cols;
    for (const TileBatch& batch : batches) {
      if (batch.count == 0) {
        for (const size_t i : batch.members) {
          check(cudaMemsetAsync(tiles + static_cast<int64_t>(i) * area, 0, static_cast<size_t>(area) * sizeof(float), stream()),
                "clearing a tile");
        }
        continue;
      }
      std::vector<const float*> x, y;
      std::vector<float*> to;
      for (const size_t i : batch.members) {
        x.push_back(colsOf.rows[i] + col), y.push_back(rowsOf.rows[i] + row);
        to.push_back(tiles + static_cast<int64_t>(i) * area);
      }
      const DeviceArray<const float*> xs(std::span<const float*const>(x), *pipe_), ys(std::span<const float*const>(y), *pipe_);
      const DeviceArray<float*> targets(std::span<float* const>(to), *pipe_);
      check(cublasSgemmBatched_64(blas(), CUBLAS_OP_N, CUBLAS_OP_T, cols, rows, batch.count, &one, xs.data(), right->width, ys.data(),
                                  left->width, &zero, targets.data(), cols, static_cast<int64_t>(batch.members.size())),
            "Gram tiles");
    }
  };
  const std::vector<TileBatch> writerBatches = batchesOf(left->writers.counts), readerBatches = batchesOf(left->readers.counts);
  int64_t queued = 0;
  double area = 0;
  for (int64_t row = 0; row < a.width; row += side) {
    for (int64_t col = isSame ? row : 0; col < b.width; col += side) {
      const int64_t rows = std::min(side, a.width - row), cols = std::min(side, b.width - col);
      const double weight = isSame && row == col ? 1.0 : 2.0;
      formTiles(left->writers, right->writers, writerBatches, row, rows, col, cols, writerTiles.data());
      formTiles(left->readers, right->readers, readerBatches, row, rows, col, cols, readerTiles.data());
      for (const core::PairGroup& g : plan.groups) {
        if (g.writers == 0 || g.readers == 0) continue;
        const int64_t numbers = rows * cols, count = partsOf(g.writers, g.readers, rows), length = numbers / count;
        check(cublasSgemmStridedBatched_64(blas(), CUBLAS_OP_T, CUBLAS_OP_N, g.readers, g.writers, length, &one,
                                           readerTiles.data() + g.firstReader * numbers, numbers, length,
                                           writerTiles.data() + g.firstWriter * numbers, numbers, length, &zero, parts.data(), g.readers,
                                           g.readers * g.writers, count),
              "pairs of a tile");
        addParts(parts.data(), count, g.writers, g.readers, weight, total.data() + g.firstWriter * readers + g.firstReader, readers,
                 stream());
      }
      area += weight * static_cast<double>(rows * cols);
      if (++queued % kTilesAhead == 0) {
        synchronise("pair sums");
        job.checkpoint();
        if (plan.progress) plan.progress(area);
        area = 0;
      }
    }
  }
  const std::vector<double> found = total.toHost();
  for (size_t i = 0; i < found.size(); ++i) sums[i] += found[i];
  if (plan.progress) plan.progress(area);
}

}  // namespace headscope::gpu
