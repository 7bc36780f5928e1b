#include "core/mechanisms/complexity.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/base/stopwatch.h"
#include "core/mechanisms/head_errors.h"
#include "core/mechanisms/random.h"
#include "core/mechanisms/registry.h"

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
  point.seconds = point.processorSeconds = std::numeric_limits<double>::max();
  double spent = 0;
  for (int r = 0; r < options.repetitions || (spent < 0.03 && r < 20); ++r) {  // short ones more often: one may meet other work
    const std::unique_ptr<HeadRun> bound = mechanism.bind(head.input, job);
    const Stopwatch watch;
    bound->output(out.view(), job);
    const double seconds = watch.wallSeconds();
    point.processorSeconds = std::min(point.processorSeconds, watch.processorSeconds());
    point.seconds = std::min(point.seconds, seconds);
    spent += seconds;
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
        point.seconds = point.processorSeconds = 0;
      }
    }
  }
  return points;
}

std::vector<ComplexityPoint> measureTable(Job& job) {
  constexpr const char* kRows =
      "causal;local:window=64;linear;rfa:features=32;performer:features=64;linformer:rank=64;nystrom:landmarks=32;"
      "dense_attention:order=quadratic;dense_attention:order=linear";
  ComplexityOptions options;
  options.sizes = {kTableSize};
  options.width = kTableWidth;
  const auto mechanisms = parseMechanisms(kRows);
  std::vector<ComplexityPoint> points = measureComplexity(mechanisms, options, job);
  const RandomInput head(kTableSize, options);
  std::vector<std::unique_ptr<HeadRun>> bound;
  std::vector<const HeadRun*> runs;
  for (const auto& mechanism : mechanisms) {
    bound.push_back(mechanism->bind(head.input, job));
    runs.push_back(bound.back().get());
  }
  ErrorOptions errors;
  errors.hasRows = false;
  const auto measured = headErrors(head.input, runs, {}, errors, job);
  for (size_t i = 0; i < points.size(); ++i) points[i].error = measured[i].output;
  return points;
}

std::string timeOrder(const std::string& spelled) {
  static const std::pair<const char*, const char*> orders[] = {
      {"causal", "N^2"},  {"dense", "N^2"},       {"softmax_layer", "N^2"},
      {"local", "N w"},   {"sinks", "N w"},       {"dilated", "N w"},
      {"global", "N w"},  {"symmetric", "N w"},   {"linear", "N"},
      {"rfa", "N m"},     {"performer", "N m"},   {"linformer", "N p"},
      {"nystrom", "N m"}, {"strided", "N^2 / s"}, {"fixed", "N^2 / s"},
      {"topk", "N^2"},    {"topp", "N^2"},        {"alibi", "N^2"},
      {"rope", "N^2"},    {"nope", "N^2"},        {"clustered", "N^2 v / c"},
  };
  const std::string name = spelled.substr(0, spelled.find(':'));
  if (name.rfind("dense_attention", 0) == 0) return spelled.find("order=quadratic") != std::string::npos ? "N^2" : "N";
  for (const auto& [known, order] : orders) {
    if (name == known) return order;
  }
  return {};
}

double growth(std::span<const ComplexityPoint> points, bool ofBytes) {
  double x = 0, y = 0, xx = 0, xy = 0, count = 0;
  for (const ComplexityPoint& p : points) {
    const double value = ofBytes ? p.cost.bytesHeld : p.processorSeconds;
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
