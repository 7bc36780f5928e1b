#pragma once
// One row of attention met key by key (or block by block): running maximum and sums that are rescaled when the maximum grows,
// from which output, log-sum-exp, entropy and distance follow. (Milakov & Gimelshein 2018; Rabe & Staats 2021.)
#include <cmath>

#include "gpu/arithmetic/host_device.h"

namespace headscope::gpu {

HEADSCOPE_HD float softCapped(float score, float cap) { return cap > 0.0f ? cap * tanhf(score / cap) : score; }

/// True where the model's mask lets query i see key j; window 0: no window.
HEADSCOPE_HD bool isVisible(long long i, long long j, bool isCausal, long long window) {
  if (isCausal && j > i) return false;
  if (window <= 0) return true;
  return isCausal ? i - j < window : (i > j ? i - j : j - i) < window;
}

/// Keys [begin, end) that query i may see.
struct KeySpan {
  long long begin, end;
};
HEADSCOPE_HD KeySpan visibleKeys(long long i, long long keys, bool isCausal, long long window) {
  KeySpan span{0, keys};
  if (isCausal && i + 1 < keys) span.end = i + 1;
  if (window > 0) {
    if (i - window + 1 > 0) span.begin = i - window + 1;
    if (!isCausal && i + window < keys) span.end = i + window;
  }
  return span;
}

struct SoftmaxRow {
  float max = -INFINITY;
  float sum = 0.0f;          // sum of exp(s - max)
  float scoreSum = 0.0f;     // sum of exp(s - max) (s - max)
  float distanceSum = 0.0f;  // sum of exp(s - max) |i - j|
};

/// The factor by which earlier sums (and the output so far) shrink once `score` has been seen.
HEADSCOPE_HD float rescaleFor(const SoftmaxRow& row, float newMax) { return row.sum > 0.0f ? expf(row.max - newMax) : 0.0f; }

/// Moves the row's sums to a new maximum, newMax >= row.max.
HEADSCOPE_HD void raiseMax(SoftmaxRow& row, float newMax) {
  if (newMax == row.max) return;
  const float factor = rescaleFor(row, newMax);
  // sum p (s - newMax) = factor * (scoreSum + sum (max - newMax)); with an empty row both are 0
  row.scoreSum = row.sum > 0.0f ? factor * (row.scoreSum + row.sum * (row.max - newMax)) : 0.0f;
  row.sum *= factor;
  row.distanceSum *= factor;
  row.max = newMax;
}

/// Adds one visible key; returns its unnormalised weight exp(score - row.max) after raiseMax.
HEADSCOPE_HD float addScore(SoftmaxRow& row, float score, float distance) {
  if (score > row.max) raiseMax(row, score);
  const float shifted = score - row.max;
  const float weight = expf(shifted);
  row.sum += weight;
  row.scoreSum += weight * shifted;
  row.distanceSum += weight * distance;
  return weight;
}

/// Two partial rows over disjoint keys as one (for warps that share a row).
HEADSCOPE_HD SoftmaxRow merged(SoftmaxRow a, SoftmaxRow b) {
  const float top = a.max > b.max ? a.max : b.max;
  if (a.sum > 0.0f) raiseMax(a, top);
  if (b.sum > 0.0f) raiseMax(b, top);
  SoftmaxRow out;
  out.max = top;
  out.sum = a.sum + b.sum;
  out.scoreSum = a.scoreSum + b.scoreSum;
  out.distanceSum = a.distanceSum + b.distanceSum;
  return out;
}

/// What an empty row gives in place of `value`; a row that holds a NaN gives NaN.
HEADSCOPE_HD float unlessEmpty(const SoftmaxRow& row, float value, float empty) {
  return row.sum > 0.0f ? value : (row.sum == 0.0f ? empty : row.sum);
}
HEADSCOPE_HD float logSumExpOf(const SoftmaxRow& row) { return unlessEmpty(row, row.max + logf(row.sum), -INFINITY); }
/// -sum p log2 p, from the sums: log sum - sum p (s - max), in bits.
HEADSCOPE_HD float entropyBitsOf(const SoftmaxRow& row) {
  return unlessEmpty(row, (logf(row.sum) - row.scoreSum / row.sum) * 1.44269504088896341f, 0.0f);
}
HEADSCOPE_HD float distanceOf(const SoftmaxRow& row) { return unlessEmpty(row, row.distanceSum / row.sum, 0.0f); }

}  // namespace headscope::gpu
