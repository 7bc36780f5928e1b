#include "core/mechanisms/complexity.h"

#include <chrono>
#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/mechanisms/random.h"

namespace headscope::core {
namespace {

Matrix randomMatrix(int64_t rows, int64_t cols, double size, Random& random) {
  Matrix m(rows, cols);
  for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(size * random.normal());
  return m;
}

struct RandomInput {
  Matrix query, key, value, normed, projection;
  HeadInput input;
  RandomInput(int64_t n, const ComplexityOptions& options) {
    Random random(1);
    const int64_t k = options.width;
    query = randomMatrix(n, k, 1.0, random);
    key = randomMatrix(n, k, 1.0, random);
    value = randomMatrix(n, k, 1.0, random);
    normed = randomMatrix(n, k, 1.0, random);
    projection = randomMatrix(k, k, 1.0 / std::sqrt(static_cast<double>(k)), random);
    input.query = query;
    input.key = key;
    input.value = value;
    input.normedInput = normed;
    input.queryWeight = input.keyWeight = input.valueWeight = projection;
    input.scale = 1.0 / std::sqrt(static_cast<double>(k));
    input.isCausal = options.isCausal;
  }
};

void run(const Mechanism& mechanism, const RandomInput& head, const ComplexityOptions& options, ComplexityPoint& point, Job& job) {
  Matrix out(point.size, options.width);
  point.seconds = std::numeric_limits<double>::max();
  for (int r = 0; r < options.repetitions; ++r) {
    const std::unique_ptr<HeadRun> bound = mechanism.bind(head.input, job);
    const auto started = std::chrono::steady_clock::now();
    bound->output(out.view(), job);
    point.seconds = std::min(point.seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count());
    point.cost = bound->cost();
    if (point.seconds > 1.0) break;  // long enough to be steady
  }
}

}  // namespace

std::vector<ComplexityPoint> measureComplexity(std::span<const std::shared_ptr<const Mechanism>> mechanisms,
                                               const ComplexityOptions& options, Job& job) {
  std::vector<ComplexityPoint> points(mechanisms.size() * options.sizes.size());
  size_t done = 0;
  for (size_t s = 0; s < options.sizes.size(); ++s) {
    const RandomInput head(options.sizes[s], options);
    for (size_t m = 0; m < mechanisms.size(); ++m) {
      job.report(static_cast<double>(done++) / static_cast<double>(points.size()),
                 mechanisms[m]->name() + " at " + std::to_string(options.sizes[s]));
      ComplexityPoint& point = points[m * options.sizes.size() + s];
      point.mechanism = mechanisms[m]->spelled();
      point.size = options.sizes[s];
      if (s > 0 && (!points[m * options.sizes.size() + s - 1].refusal.empty() ||
                    points[m * options.sizes.size() + s - 1].seconds > options.secondsLimit)) {
        point.refusal = "the size before took too long or was refused";
        continue;
      }
      try {
        run(*mechanisms[m], head, options, point, job);
      } catch (const Error& e) {
        point.refusal = e.fault();
        point.seconds = 0;
      }
    }
  }
  return points;
}

double growth(std::span<const ComplexityPoint> points, bool ofBytes) {
  double x = 0, y = 0, xx = 0, xy = 0, count = 0;
  for (const ComplexityPoint& p : points) {
    const double value = ofBytes ? p.cost.bytesHeld : p.seconds;
    if (!p.refusal.empty() || value <= 0) continue;
    const double a = std::log(static_cast<double>(p.size)), b = std::log(value);
    x += a;
    y += b;
    xx += a * a;
    xy += a * b;
    ++count;
  }
  const double spread = count * xx - x * x;
  return count < 2 || spread <= 0 ? std::numeric_limits<double>::quiet_NaN() : (count * xy - x * y) / spread;
}

}  // namespace headscope::core
