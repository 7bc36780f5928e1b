#include "core/weights/content_hash.h"

#include <bit>
#include <cstdio>
#include <cstring>
#include <set>

#include "core/base/parallel.h"
#include "core/checkpoint/stored_span.h"
#include "core/model/model.h"

namespace headscope::core {
namespace {

constexpr uint64_t kOdd1 = 0x9fb21c651e98df25ULL, kOdd2 = 0xd6e8feb86659fd93ULL;
constexpr size_t kBlock = size_t{1} << 20;

uint64_t mix(uint64_t h) {
  h ^= h >> 32;
  h *= kOdd1;
  h ^= h >> 29;
  h *= kOdd2;
  return h ^ (h >> 32);
}

/// Four independent lanes of 8 bytes, so that the multiplications overlap.
uint64_t hashBlock(const std::byte* data, size_t size) {
  uint64_t lane[4] = {size ^ kOdd1, kOdd2, 0x165667b19e3779f9ULL, 0x27d4eb2f165667c5ULL};
  size_t i = 0;
  for (; i + 32 <= size; i += 32) {
    for (size_t l = 0; l < 4; ++l) {
      uint64_t word;
      std::memcpy(&word, data + i + 8 * l, 8);
      lane[l] = std::rotl((lane[l] ^ word) * kOdd1, 27);
    }
  }
  for (; i < size; ++i) lane[i % 4] = std::rotl((lane[i % 4] ^ static_cast<uint64_t>(data[i])) * kOdd2, 31);
  return mix(lane[0]) ^ std::rotl(mix(lane[1]), 13) ^ std::rotl(mix(lane[2]), 29) ^ std::rotl(mix(lane[3]), 47);
}

void addMatrix(ContentHash& hash, const Matrix& m) {
  hash.add(m.rows());
  hash.add(m.cols());
  hash.add(std::as_bytes(std::span<const float>(m.data(), static_cast<size_t>(m.size()))));
}

constexpr int kResultVersion = 5;

}  // namespace

ContentHash ContentHash::ofResult(std::string_view kind) {
  ContentHash hash;
  hash.add(kind), hash.add(std::string_view(HEADSCOPE_VERSION)), hash.add(kResultVersion);
  return hash;
}

void ContentHash::add(std::span<const std::byte> bytes) {
  std::vector<uint64_t> blocks((bytes.size() + kBlock - 1) / kBlock);
  const auto one = [&](int64_t i) {
    const size_t first = static_cast<size_t>(i) * kBlock;
    blocks[static_cast<size_t>(i)] = hashBlock(bytes.data() + first, std::min(kBlock, bytes.size() - first));
  };
  if (blocks.size() == 1) {
    one(0);
  } else {
    parallelFor(static_cast<int64_t>(blocks.size()), one);
  }
  a_ = mix(a_ ^ bytes.size());
  for (const uint64_t h : blocks) {
    a_ = mix(a_ ^ h) + 0x9e3779b97f4a7c15ULL;
    b_ = mix(std::rotl(b_, 17) + h * kOdd2);
  }
}

void ContentHash::add(std::string_view text) { add(std::as_bytes(std::span<const char>(text))); }

std::string ContentHash::text() const {
  char digits[33];
  std::snprintf(digits, sizeof digits, "%016llx%016llx", static_cast<unsigned long long>(mix(a_)),
                static_cast<unsigned long long>(mix(b_ ^ a_)));
  return digits;
}

void addAttention(ContentHash& hash, const AttentionWeights& a) {
  std::set<const std::byte*> seen;
  for (const Linear* linear :
       {&a.query, &a.key, &a.value, &a.output, &a.queryDown, &a.queryUp, &a.latentDown, &a.ropeKey, &a.keyUp, &a.valueUp}) {
    const WeightView& w = linear->weight;
    hash.add(linear->empty());
    if (linear->empty()) continue;
    for (const int64_t n : {w.storedRows, w.storedCols, w.outFirst, w.outGroups, w.outGroupSize, w.outGroupStride, w.inFirst, w.inCount})
      hash.add(n);
    hash.add(static_cast<int>(w.dtype));
    if (seen.insert(w.data).second) {
      hash.add(storedSpan(w));
      if (w.scales != nullptr) hash.add(scaleSpan(w));
    }
    if (const LinearChange* change = linear->change.get()) {
      for (const LowRank& term : change->terms) addMatrix(hash, term.down), addMatrix(hash, term.up);
      hash.add(change->rowScale);
    }
  }
  for (const NormWeights* norm : {&a.queryNorm, &a.keyNorm, &a.queryLatentNorm, &a.latentNorm}) hash.add(norm->gain);
}

}  // namespace headscope::core
