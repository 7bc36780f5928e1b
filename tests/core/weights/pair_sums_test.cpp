#include "core/weights/pair_sums.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/tensor/matrix.h"

using namespace headscope::core;

namespace {

struct Case {
  int64_t width, side;
  int64_t split;  // columns of the first of two strips
};

/// Thin matrices of some heads over the whole model axis.
struct Heads {
  std::vector<Matrix> writers, readers;
  explicit Heads(int64_t width) {
    std::mt19937 engine(7);
    std::normal_distribution<float> normal;
    const auto make = [&](int64_t rows) {
      Matrix m(rows, width);
      for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = normal(engine);
      return m;
    };
    for (int64_t h = 0; h < 37; ++h) writers.push_back(make(h % 5 == 4 ? 0 : h == 7 ? 34 : 1 + h % 6));
    for (int64_t h = 0; h < 70; ++h) readers.push_back(make(1 + h % 3));
  }
  PairStrip strip(int64_t first, int64_t columns) const {
    PairStrip strip{columns, writers[0].cols(), {}, {}, {}};
    const auto rows = [first](const Matrix& m) { return ThinRows{m.rows() > 0 ? m.data() + first : nullptr, m.rows()}; };
    for (const Matrix& w : writers) strip.writers.push_back(rows(w));
    for (const Matrix& r : readers) strip.readers.push_back(rows(r));
    return strip;
  }
};

/// ||W R^T||^2
double naiveSum(const Matrix& w, const Matrix& r) {
  double sum = 0;
  for (int64_t i = 0; i < w.rows(); ++i) {
    for (int64_t j = 0; j < r.rows(); ++j) {
      const float *a = w.row(i), *b = r.row(j);
      double dot = 0;
      for (int64_t c = 0; c < w.cols(); ++c) dot += double(a[c]) * double(b[c]);
      sum += dot * dot;
    }
  }
  return sum;
}

PairPlan planOf(int64_t side) {  // no group begins or ends where blocks do
  PairPlan plan;
  plan.side = side;
  plan.groups = {{0, 5, 0, 3}, {5, 32, 3, 40}, {0, 0, 3, 4}, {1, 20, 43, 27}};
  return plan;
}

std::vector<double> sumsOf(const Heads& heads, const Case& c, TileNumbers numbers) {
  std::vector<double> sums(heads.writers.size() * heads.readers.size(), 0.5);
  PairScratch scratch;
  const PairStrip a = heads.strip(0, c.split), b = heads.strip(c.split, c.width - c.split);
  const PairPlan plan = planOf(c.side);
  const auto add = [&](const PairStrip& x, const PairStrip& y) { addPairSums(x, y, plan, sums, Job(), numbers, &scratch); };
  if (a.width > 0) add(a, a);
  if (b.width > 0) add(b, b);
  if (a.width > 0 && b.width > 0) add(a, b);
  return sums;
}

}  // namespace

TEST(PairSums, bothKindsOfNumbersAgainstLoopsInDouble) {
  for (const Case& c : {Case{250, 96, 250}, Case{250, 96, 100}, Case{67, 32, 33}, Case{1, 96, 1}}) {
    const Heads heads(c.width);
    std::vector<double> expected(heads.writers.size() * heads.readers.size(), 0.5), size(expected.size(), 1.0);
    for (const PairGroup& g : planOf(c.side).groups) {
      for (int64_t w = g.firstWriter; w < g.firstWriter + g.writers; ++w) {
        for (int64_t r = g.firstReader; r < g.firstReader + g.readers; ++r) {
          const Matrix &writer = heads.writers[static_cast<size_t>(w)], &reader = heads.readers[static_cast<size_t>(r)];
          const size_t at = static_cast<size_t>(w) * heads.readers.size() + static_cast<size_t>(r);
          expected[at] += naiveSum(writer, reader);
          size[at] = std::max(expected[at], double(writer.rows() * reader.rows() * c.width));  // what random heads give
        }
      }
    }
    for (const TileNumbers numbers : {TileNumbers::Whole, TileNumbers::Parts}) {
      const std::vector<double> sums = sumsOf(heads, c, numbers);
      double worst = 0;
      for (size_t i = 0; i < sums.size(); ++i) worst = std::max(worst, std::abs(sums[i] - expected[i]) / size[i]);
      EXPECT_LE(worst, numbers == TileNumbers::Parts ? 3e-5 : 4e-6) << c.width;
    }
  }
}

TEST(PairSums, aHeadThatIsNotFiniteSpoilsItsOwnPairsOnly) {
  Heads heads(64);
  heads.readers[50](0, 3) = std::numeric_limits<float>::infinity();
  for (const TileNumbers numbers : {TileNumbers::Whole, TileNumbers::Parts}) {
    const std::vector<double> sums = sumsOf(heads, {64, 32, 64}, numbers);
    for (size_t i = 0; i < sums.size(); ++i) {
      const size_t writer = i / heads.readers.size();
      const bool isSpoiled = i % heads.readers.size() == 50 && writer >= 1 && writer < 21;
      EXPECT_EQ(std::isfinite(sums[i]), !isSpoiled) << i;
    }
  }
}

TEST(PairSums, stopsWhenCancelled) {
  const Heads heads(64);
  const PairStrip strip = heads.strip(0, 64);
  std::vector<double> sums(heads.writers.size() * heads.readers.size());
  Job job;
  job.cancel();
  for (const TileNumbers numbers : {TileNumbers::Whole, TileNumbers::Parts})
    EXPECT_THROW(addPairSums(strip, strip, planOf(32), sums, job, numbers), Cancelled);
}
