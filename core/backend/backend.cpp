#include "core/backend/backend.h"

#include <array>

#include "core/base/error.h"

namespace headscope::core {
namespace {

[[noreturn]] void lacks(const Backend& backend, Op op) {
  throw Error("the " + backend.name() + " backend has no operation \"" + std::string(nameOf(op)) + "\"");
}

}  // namespace

std::string_view nameOf(Op op) {
  static constexpr std::array<std::string_view, kOpCount> kNames = {"embed",
                                                                    "linear",
                                                                    "norm",
                                                                    "rope",
                                                                    "activate",
                                                                    "gate",
                                                                    "add",
                                                                    "scale",
                                                                    "softcap",
                                                                    "copy heads",
                                                                    "gather",
                                                                    "scatter",
                                                                    "row norms",
                                                                    "attention",
                                                                    "map tile",
                                                                    "column mass",
                                                                    "pattern sums",
                                                                    "keys needed",
                                                                    "logits",
                                                                    "spectra",
                                                                    "inner products",
                                                                    "small SVDs",
                                                                    "whole spectrum",
                                                                    "pair sums",
                                                                    "masked attention",
                                                                    "stack directions",
                                                                    "square product",
                                                                    "table product",
                                                                    "chosen attention",
                                                                    "chosen tile"};
  return kNames[static_cast<size_t>(op)];
}

std::string_view nameOf(Precision precision) {
  return precision == Precision::Float32 ? "float32" : precision == Precision::Tf32 ? "tf32" : "bf16";
}

Tensor Backend::upload(ConstMatrixView from) {
  Tensor tensor = allocate(from.rows, from.cols);
  write(from, tensor);
  return tensor;
}

Matrix Backend::download(const Tensor& from) {
  Matrix matrix(from.rows, from.cols);
  read(from, matrix.view());
  return matrix;
}

void Backend::setPrecision(Precision precision) {
  if (precision == Precision::Float32) return;
  throw Error("products in " + std::string(nameOf(precision)) + " need a CUDA device", "--precision", "leave it out to compute in float32");
}

SpectraResult Backend::spectra(const SpectraBatch&, const Job&) { lacks(*this, Op::Spectra); }
std::vector<DoubleMatrix> Backend::innerProducts(std::span<const FactorPair>, const Job&) { lacks(*this, Op::InnerProducts); }
std::vector<SmallSvd> Backend::smallSvds(std::span<const DoubleMatrix>, bool, const Job&) { lacks(*this, Op::SmallSvds); }
std::vector<double> Backend::wholeSpectrum(ConstMatrixView, SpectrumRoute, const Job&) { lacks(*this, Op::WholeSpectrum); }
void Backend::addPairSums(const PairStrip&, const PairStrip&, const PairPlan&, std::span<double>, const Job&) {
  lacks(*this, Op::PairSums);
}
StackDirections Backend::stackDirections(ConstMatrixView, int64_t, const Job&) { lacks(*this, Op::StackDirections); }
void Backend::squareProduct(const Tensor&, const Tensor&, const Tensor&, const Job&) { lacks(*this, Op::SquareProduct); }
Matrix Backend::tableProduct(ConstMatrixView, const WeightView&, const Job&) { lacks(*this, Op::TableProduct); }
MaskedRows Backend::maskedAttention(const MaskedHead&, const RangeList&, MatrixView, const Job&) { lacks(*this, Op::MaskedAttention); }

ChosenRows Backend::chosenAttention(const MaskedHead&, const KeyChoice&, MatrixView, const Job&) { lacks(*this, Op::ChosenAttention); }
Matrix Backend::chosenTile(const MaskedHead&, const KeyChoice&, const TileRequest&, const Job&) { lacks(*this, Op::ChosenTile); }

}  // namespace headscope::core
