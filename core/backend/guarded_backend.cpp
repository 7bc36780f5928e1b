#include "core/backend/guarded_backend.h"

#include <mutex>
#include <utility>

namespace headscope::core {

/// The one storage of wrapped tensors: the numbers of a whole allocation, on one side. Moves to the host at most once.
class GuardedBackend::Place : public Storage {
 public:
  Place(Tensor inner, bool isOnHost) : inner_(std::move(inner)), isOnHost_(isOnHost) {}
  std::pair<Tensor, bool> where() const {
    std::lock_guard lock(mutex_);
    return {inner_, isOnHost_};
  }
  void moveToHost(Backend& device, Backend& host) {
    std::lock_guard lock(mutex_);
    if (isOnHost_) return;
    Tensor copy = host.allocate(inner_.rows, inner_.cols);
    host.write(device.download(inner_), copy);
    inner_ = std::move(copy);
    isOnHost_ = true;
  }

 private:
  mutable std::mutex mutex_;
  Tensor inner_;
  bool isOnHost_;
};

GuardedBackend::GuardedBackend(std::shared_ptr<Backend> device, std::shared_ptr<Backend> host)
    : device_(std::move(device)), host_(std::move(host)) {}

bool GuardedBackend::supports(Op op) const { return current().supports(op) && (isLost_ || !withdrawn_[static_cast<size_t>(op)]); }

Tensor GuardedBackend::wrap(Tensor inner, bool isOnHost) const {
  const int64_t rows = inner.rows, cols = inner.cols, stride = inner.stride;
  return {std::make_shared<Place>(std::move(inner), isOnHost), 0, rows, cols, stride};
}

bool GuardedBackend::isOnHost(const Tensor& tensor) {
  return tensor.storage == nullptr || static_cast<const Place&>(*tensor.storage).where().second;
}

Tensor GuardedBackend::inner(const Tensor& tensor) {
  if (tensor.storage == nullptr) return tensor;
  const Tensor whole = static_cast<const Place&>(*tensor.storage).where().first;
  return {whole.storage, whole.offset + tensor.offset, tensor.rows, tensor.cols, tensor.stride};
}

void GuardedBackend::moveToHost(const Tensor& tensor) {
  if (tensor.storage == nullptr || isOnHost(tensor)) return;
  if (!isLost_) {
    try {
      return static_cast<Place&>(*tensor.storage).moveToHost(*device_, *host_);
    } catch (const DeviceFault& fault) {
      if (!fault.isLost()) throw;
      report(fault, "fetching numbers");
    }
  }
  throw DeviceFault(DeviceFault::Kind::Lost, "the device was lost, and this prompt's numbers with it",
                    "run the prompt again: the CPU computes it");
}

void GuardedBackend::report(const DeviceFault& fault, const std::string& what) {
  if (fault.isLost()) {
    isLost_ = true;
    setReason("the device was lost: " + fault.fault());
  } else {
    setReason("device memory was short in " + what + ", which the CPU computed: " + fault.fault());
  }
}

template <class Work>
auto GuardedBackend::run(std::optional<Op> op, std::initializer_list<const Tensor*> tensors, Work work) {
  bool isHere = isLost_ || (op && withdrawn_[static_cast<size_t>(*op)]);
  for (const Tensor* t : tensors) isHere = isHere || (t->storage != nullptr && isOnHost(*t));
  for (bool isAgain = false; !isHere; isAgain = true) {
    try {
      return work(*device_, false);
    } catch (const DeviceFault& fault) {
      if (!fault.isLost() && !isAgain && device_->dropCopies()) continue;  // copies held the memory that was short
      report(fault, op ? std::string(nameOf(*op)) : "copying");
      isHere = true;
    }
  }
  for (const Tensor* t : tensors) moveToHost(*t);
  return work(*host_, true);
}

template <class Work>
auto GuardedBackend::runAttention(Op op, const AttentionInput& input, const AttentionStatistics* rows, Work work) {
  const AttentionStatistics none;
  const AttentionStatistics& r = rows != nullptr ? *rows : none;
  return run(op, {&input.query, &input.key, &input.value, &r.max, &r.logSumExp, &r.entropy, &r.distance}, [&](Backend& b, bool isHost) {
    return work(b, isHost, AttentionInput{inner(input.query), inner(input.key), inner(input.value), input.rule},
                AttentionStatistics{inner(r.max), inner(r.logSumExp), inner(r.entropy), inner(r.distance)});
  });
}

// Memory

Tensor GuardedBackend::allocate(int64_t rows, int64_t cols) {
  if (!isLost_) {
    try {
      return wrap(device_->allocate(rows, cols), false);
    } catch (const DeviceFault& fault) {
      report(fault, "taking memory");
    }
  }
  return wrap(host_->allocate(rows, cols), true);
}

void GuardedBackend::write(ConstMatrixView from, const Tensor& to) {
  run(std::nullopt, {&to}, [&](Backend& b, bool) { b.write(from, inner(to)); });
}

void GuardedBackend::read(const Tensor& from, MatrixView to) {
  if (!isOnHost(from) && !isLost_) {
    try {
      return device_->read(inner(from), to);
    } catch (const DeviceFault& fault) {
      report(fault, "reading");
    }
  }
  moveToHost(from);
  host_->read(inner(from), to);
}

void GuardedBackend::copy(const Tensor& from, const Tensor& to) {
  run(std::nullopt, {&from, &to}, [&](Backend& b, bool) { b.copy(inner(from), inner(to)); });
}

const float* GuardedBackend::hostData(const Tensor& tensor) const {
  if (tensor.storage == nullptr) return nullptr;
  return isOnHost(tensor) ? host_->hostData(inner(tensor)) : device_->hostData(inner(tensor));
}

void GuardedBackend::keepWeights(std::shared_ptr<const void> owner) {
  if (!isLost_) device_->keepWeights(std::move(owner));
}

void GuardedBackend::expectWeights(std::span<const WeightView> weights) {
  if (isLost_) return;
  try {
    device_->expectWeights(weights);
  } catch (const DeviceFault& fault) {
    if (fault.isLost()) report(fault, "sending weights");  // short memory: they come when they are used, or are not needed
  }
}

// Layers

void GuardedBackend::embed(const WeightView& table, std::span<const int32_t> ids, float scale, Into into, const Tensor& out, Job& job) {
  run(Op::Embed, {&out}, [&](Backend& b, bool) { b.embed(table, ids, scale, into, inner(out), job); });
}
void GuardedBackend::linear(const Tensor& x, const Linear& weights, Into into, const Tensor& out, Job& job) {
  run(Op::Linear, {&x, &out}, [&](Backend& b, bool) { b.linear(inner(x), weights, into, inner(out), job); });
}
void GuardedBackend::norm(const Tensor& x, const NormRule& rule, const NormWeights& weights, const Tensor& out, Job& job) {
  run(Op::Norm, {&x, &out}, [&](Backend& b, bool) { b.norm(inner(x), rule, weights, inner(out), job); });
}
void GuardedBackend::rope(const Tensor& x, const RopeRule& rule, const RopeSpec& spec, Job& job) {
  run(Op::Rope, {&x}, [&](Backend& b, bool) { b.rope(inner(x), rule, spec, job); });
}
void GuardedBackend::activate(const Tensor& x, Activation activation, Job& job) {
  run(Op::Activate, {&x}, [&](Backend& b, bool) { b.activate(inner(x), activation, job); });
}
void GuardedBackend::gate(const Tensor& x, const Tensor& gate, Activation activation, Job& job) {
  run(Op::Gate, {&x, &gate}, [&](Backend& b, bool) { b.gate(inner(x), inner(gate), activation, job); });
}
void GuardedBackend::add(const Tensor& x, const Tensor& y, Job& job) {
  run(Op::Add, {&x, &y}, [&](Backend& b, bool) { b.add(inner(x), inner(y), job); });
}
void GuardedBackend::scale(const Tensor& x, float factor, Job& job) {
  run(Op::Scale, {&x}, [&](Backend& b, bool) { b.scale(inner(x), factor, job); });
}
void GuardedBackend::softcap(const Tensor& x, float cap, Job& job) {
  run(Op::Softcap, {&x}, [&](Backend& b, bool) { b.softcap(inner(x), cap, job); });
}
void GuardedBackend::copyHeads(const Tensor& from, int64_t fromHeads, const Tensor& to, int64_t heads, int64_t toOffset, Job& job) {
  run(Op::CopyHeads, {&from, &to}, [&](Backend& b, bool) { b.copyHeads(inner(from), fromHeads, inner(to), heads, toOffset, job); });
}
void GuardedBackend::gatherRows(const Tensor& x, std::span<const int32_t> rows, const Tensor& out, Job& job) {
  run(Op::GatherRows, {&x, &out}, [&](Backend& b, bool) { b.gatherRows(inner(x), rows, inner(out), job); });
}
void GuardedBackend::scatterRows(const Tensor& x, std::span<const int32_t> rows, std::span<const float> weights, const Tensor& out,
                                 Job& job) {
  run(Op::ScatterRows, {&x, &out}, [&](Backend& b, bool) { b.scatterRows(inner(x), rows, weights, inner(out), job); });
}
std::vector<float> GuardedBackend::rowNorms(const Tensor& x, Job& job) {
  return run(Op::RowNorms, {&x}, [&](Backend& b, bool) { return b.rowNorms(inner(x), job); });
}

// Attention

AttentionStatistics GuardedBackend::attention(const AttentionInput& input, const Tensor& out, Job& job) {
  return run(Op::Attention, {&input.query, &input.key, &input.value, &out}, [&](Backend& b, bool isHost) {
    const AttentionStatistics s = b.attention({inner(input.query), inner(input.key), inner(input.value), input.rule}, inner(out), job);
    return AttentionStatistics{wrap(s.max, isHost), wrap(s.logSumExp, isHost), wrap(s.entropy, isHost), wrap(s.distance, isHost)};
  });
}
Matrix GuardedBackend::mapTile(const AttentionInput& input, const AttentionStatistics& rows, int64_t head, const TileRequest& request,
                               Job& job) {
  return runAttention(Op::MapTile, input, &rows, [&](Backend& b, bool, const AttentionInput& in, const AttentionStatistics& r) {
    return b.mapTile(in, r, head, request, job);
  });
}
std::vector<float> GuardedBackend::columnMass(const AttentionInput& input, const AttentionStatistics& rows, int64_t head, Job& job) {
  return runAttention(Op::ColumnMass, input, &rows, [&](Backend& b, bool, const AttentionInput& in, const AttentionStatistics& r) {
    return b.columnMass(in, r, head, job);
  });
}
Matrix GuardedBackend::patternSums(const AttentionInput& input, const AttentionStatistics& rows, const RowPattern& pattern, Job& job) {
  return runAttention(Op::PatternSums, input, &rows, [&](Backend& b, bool, const AttentionInput& in, const AttentionStatistics& r) {
    return b.patternSums(in, r, pattern, job);
  });
}
KeysNeeded GuardedBackend::keysNeeded(const AttentionInput& input, const AttentionStatistics& rows, const Matrix* keyWeights,
                                      std::span<const double> shares, Job& job) {
  return runAttention(Op::KeysNeeded, input, &rows, [&](Backend& b, bool, const AttentionInput& in, const AttentionStatistics& r) {
    return b.keysNeeded(in, r, keyWeights, shares, job);
  });
}
LogitSummary GuardedBackend::logitSummary(const Tensor& x, const Linear& unembedding, double softcap, std::span<const int32_t> targets,
                                          Job& job) {
  return run(Op::LogitSummary, {&x}, [&](Backend& b, bool) { return b.logitSummary(inner(x), unembedding, softcap, targets, job); });
}

// Weights

SpectraResult GuardedBackend::spectra(const SpectraBatch& batch, const Job& job) {
  return run(Op::Spectra, {}, [&](Backend& b, bool) { return b.spectra(batch, job); });
}
std::vector<DoubleMatrix> GuardedBackend::innerProducts(std::span<const FactorPair> pairs, const Job& job) {
  return run(Op::InnerProducts, {}, [&](Backend& b, bool) { return b.innerProducts(pairs, job); });
}
std::vector<SmallSvd> GuardedBackend::smallSvds(std::span<const DoubleMatrix> cores, bool withVectors, const Job& job) {
  return run(Op::SmallSvds, {}, [&](Backend& b, bool) { return b.smallSvds(cores, withVectors, job); });
}
std::vector<double> GuardedBackend::wholeSpectrum(ConstMatrixView rows, SpectrumRoute route, const Job& job) {
  return run(Op::WholeSpectrum, {}, [&](Backend& b, bool) { return b.wholeSpectrum(rows, route, job); });
}
StackDirections GuardedBackend::stackDirections(ConstMatrixView stack, int64_t perHead, const Job& job) {
  return run(Op::StackDirections, {}, [&](Backend& b, bool) { return b.stackDirections(stack, perHead, job); });
}
void GuardedBackend::squareProduct(const Tensor& x, const Tensor& w, const Tensor& out, const Job& job) {
  run(Op::SquareProduct, {&x, &w, &out}, [&](Backend& b, bool) { b.squareProduct(inner(x), inner(w), inner(out), job); });
}
Matrix GuardedBackend::tableProduct(ConstMatrixView x, const WeightView& table, const Job& job) {
  return run(Op::TableProduct, {}, [&](Backend& b, bool) { return b.tableProduct(x, table, job); });
}
void GuardedBackend::addPairSums(const PairStrip& a, const PairStrip& b, const PairPlan& plan, std::span<double> sums, const Job& job) {
  run(Op::PairSums, {}, [&](Backend& backend, bool) { backend.addPairSums(a, b, plan, sums, job); });
}

// Mechanisms

MaskedRows GuardedBackend::maskedAttention(const MaskedHead& head, const RangeList& seen, MatrixView out, const Job& job) {
  return run(Op::MaskedAttention, {}, [&](Backend& b, bool) { return b.maskedAttention(head, seen, out, job); });
}

ChosenRows GuardedBackend::chosenAttention(const MaskedHead& head, const KeyChoice& choice, MatrixView out, const Job& job) {
  return run(Op::ChosenAttention, {}, [&](Backend& b, bool) { return b.chosenAttention(head, choice, out, job); });
}
Matrix GuardedBackend::chosenTile(const MaskedHead& head, const KeyChoice& choice, const TileRequest& request, const Job& job) {
  return run(Op::ChosenTile, {}, [&](Backend& b, bool) { return b.chosenTile(head, choice, request, job); });
}

}  // namespace headscope::core
