// CudaBackend's operations on weights: Gram matrices in double by cuBLAS, their triangles and the SVDs of the k x k cores by one
// block a matrix, whole matrices by cuSOLVER. What is done is what core/weights/factored_matrix.cpp does, many heads at once.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>
#include <vector>

#include "gpu/arithmetic/second_triangle.h"
#include "gpu/cuda_backend.h"

namespace headscope::gpu {
namespace {

/// Numbers in double that are widened at once.
constexpr int64_t kWideNumbers = int64_t{48} << 20;
constexpr double kExactNoise = 8 * std::numeric_limits<double>::epsilon();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

core::Spectrum notFinite(int64_t count) {
  core::Spectrum s;
  s.isFinite = false;
  s.noise = kNaN;
  s.sigma.assign(static_cast<size_t>(count), kNaN);
  return s;
}

std::vector<double> descending(const double* values, int64_t n, int64_t count) {
  std::vector<double> sigma(values, values + n);
  std::sort(sigma.begin(), sigma.end(), [](double a, double b) { return a > b; });
  sigma.resize(static_cast<size_t>(std::min(n, count)));
  return sigma;
}

[[noreturn]] void notConverged() {
  throw core::Error("a decomposition did not converge on the device", {}, "check the weights, or compute with --device cpu");
}

}  // namespace

void CudaBackend::sendAll(std::span<const core::ConstMatrixView> from, float* device) {
  std::vector<HostPiece> pieces;
  for (const core::ConstMatrixView& m : from) {
    const bool isWhole = m.stride == m.cols || m.rows == 1;
    const int64_t rows = isWhole ? std::min<int64_t>(1, m.rows) : m.rows, numbers = isWhole ? m.rows * m.cols : m.cols;
    for (int64_t r = 0; r < rows; ++r) pieces.push_back({m.row(r), static_cast<size_t>(numbers) * sizeof(float)});
  }
  pipe_->send(device, pieces);
}

DeviceArray<double> CudaBackend::widened(core::ConstMatrixView rows) {
  const int64_t size = rows.rows * rows.cols;
  const DeviceArray<float> narrow(size, stream());
  DeviceArray<double> wide(size, stream());
  sendAll({&rows, 1}, narrow.data());
  widen(narrow.data(), size, wide.data(), stream());
  return wide;
}

void CudaBackend::multiplyDouble(const double* a, int64_t p, const double* b, int64_t q, int64_t m, double beta, double* out) {
  const double one = 1;
  if (p == 0 || q == 0) return;
  check(cublasDgemm_64(blas(), CUBLAS_OP_T, CUBLAS_OP_N, q, p, m, &one, b, m, a, m, &beta, out, q), "a product in double");
}

DeviceArray<double> CudaBackend::seen(const core::FactorRows& factor) {
  DeviceArray<double> rows = widened(factor.rows);
  if (factor.through == nullptr) return rows;
  const int64_t k = factor.rows.rows, m = factor.rows.cols;
  const DeviceArray<double> matrix(std::span<const double>(factor.through->values), *pipe_);
  DeviceArray<double> through(k * m, stream());
  multiplyDouble(rows.data(), k, matrix.data(), m, m, 0, through.data());
  return through;
}

/// Every factor's Gram matrix, its triangle, and what is known of it; triangles lie one after another.
struct CudaBackend::FactorGrams {
  DeviceArray<double> triangles;
  std::vector<int64_t> first;  // of a factor's triangle [k, k]
  std::vector<TriangleInfo> infos;
};

CudaBackend::FactorGrams CudaBackend::gramsOf(std::span<const core::FactorRows> factors, const core::Job& job) {
  // Factors of one shape lie side by side, so that their products are one call
  using Shape = std::tuple<int64_t, int64_t, const core::DoubleMatrix*>;
  std::map<Shape, std::vector<size_t>> shapes;
  for (size_t i = 0; i < factors.size(); ++i) shapes[{factors[i].rows.rows, factors[i].rows.cols, factors[i].through}].push_back(i);
  FactorGrams out;
  out.first.resize(factors.size());
  int64_t total = 0;
  for (const auto& [shape, members] : shapes) {
    for (const size_t i : members) out.first[i] = total, total += std::get<0>(shape) * std::get<0>(shape);
  }
  DeviceArray<double> grams(total, stream());
  out.triangles = DeviceArray<double>(total, stream());
  for (const auto& [shape, members] : shapes) {
    const auto [k, m, through] = shape;
    const DeviceArray<double> matrix =
        through != nullptr ? DeviceArray<double>(std::span<const double>(through->values), *pipe_) : DeviceArray<double>();
    const int64_t most = std::max<int64_t>(1, kWideNumbers / std::max<int64_t>(1, k * m)), count = static_cast<int64_t>(members.size());
    for (int64_t at = 0; at < count; at += most) {
      job.checkpoint();
      const int64_t n = std::min(most, count - at);
      const DeviceArray<float> narrow(n * k * m, stream());
      DeviceArray<double> wide(n * k * m, stream());
      std::vector<core::ConstMatrixView> rows;
      for (int64_t i = 0; i < n; ++i) rows.push_back(factors[members[static_cast<size_t>(at + i)]].rows);
      sendAll(rows, narrow.data());
      widen(narrow.data(), n * k * m, wide.data(), stream());
      if (through != nullptr) {
        DeviceArray<double> seen(n * k * m, stream());
        multiplyDouble(wide.data(), n * k, matrix.data(), m, m, 0, seen.data());
        wide = std::move(seen);
      }
      const double one = 1, zero = 0;
      if (k == 0) continue;
      check(cublasDgemmStridedBatched_64(blas(), CUBLAS_OP_T, CUBLAS_OP_N, k, k, m, &one, wide.data(), m, k * m, wide.data(), m, k * m,
                                         &zero, grams.data() + out.first[members[static_cast<size_t>(at)]], k, k * k, n),
            "Gram matrices");
    }
  }
  std::vector<TriangleTask> tasks;
  int64_t widest = 1;
  for (const core::FactorRows& f : factors) widest = std::max(widest, f.rows.rows);
  const DeviceArray<double> scratch(2 * widest * static_cast<int64_t>(factors.size()), stream());
  for (size_t i = 0; i < factors.size(); ++i) {
    tasks.push_back({grams.data() + out.first[i], out.triangles.data() + out.first[i],
                     scratch.data() + 2 * widest * static_cast<int64_t>(i), static_cast<int>(factors[i].rows.rows)});
  }
  const DeviceArray<TriangleTask> onCard(std::span<const TriangleTask>(tasks), *pipe_);
  const DeviceArray<TriangleInfo> infos(static_cast<int64_t>(tasks.size()), stream());
  triangles(onCard.data(), static_cast<int64_t>(tasks.size()), infos.data(), stream());
  out.infos = infos.toHost();
  for (const TriangleInfo& info : out.infos) {
    if (info.state == 2) notConverged();
  }
  return out;
}

void CudaBackend::refineTriangles(std::span<const core::FactorRows> factors, FactorGrams& grams, const core::Job& job) {
  std::vector<size_t> rough;
  for (size_t i = 0; i < factors.size(); ++i) {
    if (wantsSecondTriangle(grams.infos[i])) rough.push_back(i);
  }
  for (size_t begin = 0; begin < rough.size();) {
    job.checkpoint();
    // As many at a time as the widened factors of one step of gramsOf
    size_t end = begin;
    int64_t numbers = 0;
    const auto sizeOf = [&](size_t i) { return factors[rough[i]].rows.rows * factors[rough[i]].rows.cols; };
    while (end < rough.size() && (end == begin || numbers + sizeOf(end) <= kWideNumbers)) numbers += sizeOf(end++);
    std::vector<DeviceArray<double>> held;
    std::vector<SecondTask> tasks;
    for (size_t i = begin; i < end; ++i) {
      const core::FactorRows& f = factors[rough[i]];
      const int64_t k = f.rows.rows, m = f.rows.cols;
      held.push_back(seen(f));
      double* rows = held.back().data();
      held.emplace_back(2 * k * k, stream());
      tasks.push_back({rows, grams.triangles.data() + grams.first[rough[i]], held.back().data(), static_cast<int>(k), static_cast<int>(m)});
    }
    const DeviceArray<SecondTask> onCard(std::span<const SecondTask>(tasks), *pipe_);
    const DeviceArray<int> done(static_cast<int64_t>(tasks.size()), stream());
    secondTriangles(onCard.data(), static_cast<int64_t>(tasks.size()), done.data(), stream());
    const std::vector<int> isDone = done.toHost();
    for (size_t i = begin; i < end; ++i) {
      if (isDone[i - begin] != 0) grams.infos[rough[i]].condition = 1;  // what is left is rounding, not the square of a condition
    }
    begin = end;
  }
}

void CudaBackend::orthogonaliseAll(std::vector<SvdTask> tasks) {
  if (tasks.empty()) return;
  const auto bytes = [](const SvdTask& t) { return static_cast<size_t>(t.n) * static_cast<size_t>(t.length) * sizeof(double); };
  std::sort(tasks.begin(), tasks.end(), [&](const SvdTask& a, const SvdTask& b) { return bytes(a) < bytes(b); });
  const DeviceArray<SvdTask> onCard(std::span<const SvdTask>(tasks), *pipe_);
  const DeviceArray<int> converged(static_cast<int64_t>(tasks.size()), stream());
  // Launches by size: a block takes as much shared memory as the largest of its launch
  const size_t limits[] = {size_t{8} << 10, size_t{40} << 10, largestSharedCore(), std::numeric_limits<size_t>::max()};
  size_t first = 0;
  for (const size_t limit : limits) {
    size_t last = first;
    while (last < tasks.size() && bytes(tasks[last]) <= limit) ++last;
    if (last == first) continue;
    const bool isWhole = limit != limits[3];
    orthogonalise(onCard.data() + first, static_cast<int64_t>(last - first), isWhole ? bytes(tasks[last - 1]) : largestSharedCore(),
                  isWhole, converged.data() + first, stream());
    first = last;
  }
  for (const int isDone : converged.toHost()) {
    if (isDone == 0) notConverged();
  }
}

CudaBackend::FactorGrams CudaBackend::exactTriangles(std::span<const core::FactorRows> factors, const core::Job& job) {
  FactorGrams out;
  int64_t total = 0;
  for (const core::FactorRows& f : factors) out.first.push_back(total), total += f.rows.rows * f.rows.rows;
  out.triangles = DeviceArray<double>(total, stream());
  for (size_t begin = 0; begin < factors.size();) {
    job.checkpoint();
    size_t end = begin;
    std::vector<DeviceArray<double>> held;
    std::vector<HouseholderTask> tasks;
    for (int64_t numbers = 0; end < factors.size(); ++end) {
      const int64_t size = factors[end].rows.rows * factors[end].rows.cols;
      if (end > begin && numbers + size > kWideNumbers) break;
      numbers += size;
      held.push_back(seen(factors[end]));
      tasks.push_back({held.back().data(), out.triangles.data() + out.first[end], static_cast<int>(factors[end].rows.rows),
                       static_cast<int>(factors[end].rows.cols)});
    }
    const DeviceArray<HouseholderTask> onCard(std::span<const HouseholderTask>(tasks), *pipe_);
    const DeviceArray<TriangleInfo> infos(static_cast<int64_t>(tasks.size()), stream());
    householderTriangles(onCard.data(), static_cast<int64_t>(tasks.size()), infos.data(), stream());
    const std::vector<TriangleInfo> found = infos.toHost();
    out.infos.insert(out.infos.end(), found.begin(), found.end());
    begin = end;
  }
  return out;
}

/// The matrices whose singular values are those of the batch's products: cores [n, length], n <= length, one after another.
struct CudaBackend::FusedCores {
  DeviceArray<double> cores, sigma;
  std::vector<SvdTask> tasks;
  std::vector<int64_t> firstSigma;
};

CudaBackend::FusedCores CudaBackend::coresOf(const core::SpectraBatch& batch, const FactorGrams& grams) {
  const auto rank = [&](int64_t f) { return batch.factors[static_cast<size_t>(f)].rows.rows; };
  const auto triangle = [&](int64_t f) { return grams.triangles.data() + grams.first[static_cast<size_t>(f)]; };
  FusedCores out;
  int64_t numbers = 0, values = 0;
  std::vector<int64_t> first;
  for (const auto& p : batch.products) {
    const int64_t kl = rank(p.left), kr = p.right < 0 ? kl : rank(p.right);
    first.push_back(numbers), out.firstSigma.push_back(values);
    numbers += kl * kr, values += std::min(kl, kr);
  }
  out.cores = DeviceArray<double>(numbers, stream());
  out.sigma = DeviceArray<double>(values, stream());
  // x = a b^T [n, length] with a [n, w], b [length, w]; by shape, so that equal ones are one call
  std::map<std::tuple<int64_t, int64_t, int64_t>, std::vector<std::tuple<const double*, const double*, double*>>> products;
  std::vector<CopyTask> copies;
  std::map<const core::DoubleMatrix*, DeviceArray<double>> middles;
  std::vector<DeviceArray<double>> turned;
  const double one = 1, zero = 0;
  for (size_t i = 0; i < batch.products.size(); ++i) {
    const auto& p = batch.products[i];
    double* x = out.cores.data() + first[i];
    const int64_t kl = rank(p.left), kr = p.right < 0 ? kl : rank(p.right), n = std::min(kl, kr), length = std::max(kl, kr);
    out.tasks.push_back({x, nullptr, out.sigma.data() + out.firstSigma[i], static_cast<int>(n), static_cast<int>(length)});
    if (n == 0) continue;
    if (p.right < 0) {
      copies.push_back({triangle(p.left), x, kl * kl});
    } else if (p.middle == nullptr) {
      products[{n, length, n}].push_back({triangle(p.left), triangle(p.right), x});
    } else {
      DeviceArray<double>& middle = middles[p.middle];
      if (middle.count() == 0) middle = DeviceArray<double>(std::span<const double>(p.middle->values), *pipe_);
      turned.emplace_back(kl * kr, stream());
      if (kl <= kr) {  // (R_l M) R_r^T
        check(cublasDgemm_64(blas(), CUBLAS_OP_N, CUBLAS_OP_N, kr, kl, kl, &one, middle.data(), kr, triangle(p.left), kl, &zero,
                             turned.back().data(), kr),
              "turning a factor");
        products[{n, length, kr}].push_back({turned.back().data(), triangle(p.right), x});
      } else {  // (R_r M^T) R_l^T
        check(cublasDgemm_64(blas(), CUBLAS_OP_T, CUBLAS_OP_N, kl, kr, kr, &one, middle.data(), kr, triangle(p.right), kr, &zero,
                             turned.back().data(), kl),
              "turning a factor");
        products[{n, length, kl}].push_back({turned.back().data(), triangle(p.left), x});
      }
    }
  }
  for (const auto& [shape, members] : products) {
    const auto [n, length, width] = shape;
    std::vector<const double*> a, b;
    std::vector<double*> c;
    for (const auto& [left, right, x] : members) a.push_back(left), b.push_back(right), c.push_back(x);
    const DeviceArray<const double*> lefts(std::span<const double*const>(a), *pipe_), rights(std::span<const double*const>(b), *pipe_);
    const DeviceArray<double*> targets(std::span<double* const>(c), *pipe_);
    check(cublasDgemmBatched_64(blas(), CUBLAS_OP_T, CUBLAS_OP_N, length, n, width, &one, rights.data(), width, lefts.data(), width, &zero,
                                targets.data(), length, static_cast<int64_t>(members.size())),
          "cores of products");
  }
  const DeviceArray<CopyTask> copyTasks(std::span<const CopyTask>(copies), *pipe_);
  copyMatrices(copyTasks.data(), static_cast<int64_t>(copies.size()), stream());
  return out;
}

core::SpectraResult CudaBackend::spectra(const core::SpectraBatch& batch, const core::Job& job) {
  const Lock lock = begin(job);
  const bool isExact = batch.route == core::SpectrumRoute::Householder;
  FactorGrams grams = isExact ? exactTriangles(batch.factors, job) : gramsOf(batch.factors, job);
  if (!isExact) refineTriangles(batch.factors, grams, job);
  job.checkpoint();
  const FusedCores fused = coresOf(batch, grams);
  orthogonaliseAll(fused.tasks);
  const std::vector<double> values = fused.sigma.toHost();
  core::SpectraResult out;
  for (const TriangleInfo& info : grams.infos) out.isFinite.push_back(info.state == 0);
  for (size_t i = 0; i < batch.products.size(); ++i) {
    const auto& p = batch.products[i];
    const core::ConstMatrixView l = batch.factors[static_cast<size_t>(p.left)].rows,
                                r = p.right < 0 ? l : batch.factors[static_cast<size_t>(p.right)].rows;
    const TriangleInfo &left = grams.infos[static_cast<size_t>(p.left)],
                       &right = p.right < 0 ? left : grams.infos[static_cast<size_t>(p.right)];
    const int64_t count = std::min(std::min(l.rows, r.rows), std::min(l.cols, r.cols));
    if (left.state != 0 || right.state != 0) {
      out.spectra.push_back(notFinite(count));
      continue;
    }
    core::Spectrum s;
    s.route = batch.route;
    s.sigma = descending(values.data() + fused.firstSigma[i], std::min(l.rows, r.rows), count);
    if (isExact) {  // as householderSpectrum; norms are Frobenius here
      s.noise = kExactNoise * (p.right < 0 ? s.largest() : left.norm * right.norm);
    } else if (p.right < 0) {
      s.noise = core::factorNoise(s.largest(), s.sigma.empty() ? 0 : s.sigma.back(), left.shift);
    } else {
      s.noise = core::fusedNoise(s.largest(), left.condition, right.condition, left.norm, right.norm);
    }
    out.spectra.push_back(std::move(s));
  }
  return out;
}

std::vector<core::DoubleMatrix> CudaBackend::innerProducts(std::span<const core::FactorPair> pairs, const core::Job& job) {
  const Lock lock = begin(job);
  using Key = std::tuple<const float*, int64_t, int64_t, int64_t>;
  const auto keyOf = [](core::ConstMatrixView v) { return Key{v.data, v.rows, v.cols, v.stride}; };
  std::map<Key, DeviceArray<double>> wide;  // each view once, as long as there is room
  int64_t held = 0;
  const auto onCard = [&](core::ConstMatrixView v) -> const double* {
    DeviceArray<double>& array = wide[keyOf(v)];
    if (array.count() == 0 && v.rows * v.cols > 0) array = widened(v), held += v.rows * v.cols;
    return array.data();
  };
  std::vector<core::DoubleMatrix> out;
  std::vector<DeviceArray<double>> results;
  for (const core::FactorPair& p : pairs) {
    job.checkpoint();
    if (held > 4 * kWideNumbers) wide.clear(), held = 0;
    const double *a = onCard(p.left), *b = onCard(p.right);
    results.emplace_back(p.left.rows * p.right.rows, stream());
    multiplyDouble(a, p.left.rows, b, p.right.rows, p.left.cols, 0, results.back().data());
    out.emplace_back(p.left.rows, p.right.rows);
  }
  for (size_t i = 0; i < pairs.size(); ++i) out[i].values = results[i].toHost();
  return out;
}

std::vector<core::SmallSvd> CudaBackend::smallSvds(std::span<const core::DoubleMatrix> cores, bool withVectors, const core::Job& job) {
  const Lock lock = begin(job);
  // x [n, length] is the matrix, or its transpose where it is taller than wide; its rows end as sigma times the long vectors
  std::vector<double> numbers;
  std::vector<int64_t> firstX, firstY, firstSigma;
  int64_t turns = 0, values = 0;
  for (const core::DoubleMatrix& m : cores) {
    firstX.push_back(static_cast<int64_t>(numbers.size())), firstY.push_back(turns), firstSigma.push_back(values);
    const int64_t n = std::min(m.rows, m.cols);
    if (m.rows <= m.cols) {
      numbers.insert(numbers.end(), m.values.begin(), m.values.end());
    } else {
      for (int64_t c = 0; c < m.cols; ++c) {
        for (int64_t r = 0; r < m.rows; ++r) numbers.push_back(m(r, c));
      }
    }
    turns += n * n, values += n;
  }
  const DeviceArray<double> x(std::span<const double>(numbers), *pipe_), y(withVectors ? turns : 0, stream()), sigma(values, stream());
  std::vector<SvdTask> tasks;
  for (size_t i = 0; i < cores.size(); ++i) {
    const int64_t n = std::min(cores[i].rows, cores[i].cols), length = std::max(cores[i].rows, cores[i].cols);
    if (n == 0) continue;
    tasks.push_back({x.data() + firstX[i], withVectors ? y.data() + firstY[i] : nullptr, sigma.data() + firstSigma[i], static_cast<int>(n),
                     static_cast<int>(length)});
  }
  orthogonaliseAll(std::move(tasks));
  const std::vector<double> s = sigma.toHost(), rows = withVectors ? x.toHost() : std::vector<double>{}, rotations = y.toHost();
  std::vector<core::SmallSvd> out;
  for (size_t i = 0; i < cores.size(); ++i) {
    const int64_t n = std::min(cores[i].rows, cores[i].cols), length = std::max(cores[i].rows, cores[i].cols);
    std::vector<int64_t> order(static_cast<size_t>(n));
    for (int64_t j = 0; j < n; ++j) order[static_cast<size_t>(j)] = j;
    const double* own = s.data() + firstSigma[i];
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return own[a] > own[b]; });
    core::SmallSvd svd;
    core::DoubleMatrix longs(withVectors ? n : 0, length), shorts(withVectors ? n : 0, n);
    for (int64_t j = 0; j < n; ++j) {
      const int64_t from = order[static_cast<size_t>(j)];
      svd.sigma.push_back(own[from]);
      if (!withVectors) continue;
      const double* row = rows.data() + firstX[i] + from * length;
      for (int64_t c = 0; c < length; ++c) longs(j, c) = own[from] > 0 ? row[c] / own[from] : 0.0;
      std::copy_n(rotations.data() + firstY[i] + from * n, n, shorts.row(j));
    }
    if (withVectors) {
      const bool isWide = cores[i].rows <= cores[i].cols;
      svd.left = isWide ? std::move(shorts) : std::move(longs);
      svd.right = isWide ? std::move(longs) : std::move(shorts);
    }
    out.push_back(std::move(svd));
  }
  return out;
}

}  // namespace headscope::gpu
