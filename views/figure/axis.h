#pragma once
// Axis helpers shared by views: ticks at round values, numbers as people write them, which labels of a crowded axis to keep.
#include <cstdint>
#include <string>
#include <vector>

namespace headscope::views {

/// Round values inside [low, high], 1-2-5 steps, at most `most` of them (at least the two ends' nearest when the range is not empty).
std::vector<double> roundTicks(double low, double high, int most);
/// Powers of ten inside [low, high], thinned evenly to at most `most`. Both must be positive.
std::vector<double> decadeTicks(double low, double high, int most);

/// At most `digits` significant digits, no trailing zeros, "1e-5" below 0.001 and from 1e6 on; "nan" and "inf" in words.
std::string shortNumber(double value, int digits = 3);
/// Fixed decimals, for columns that align: "0.419".
std::string fixedNumber(double value, int decimals);
/// "4.2 M", "8.0 B" with a unit prefix of 1000.
std::string bigNumber(double value);

/// Short numbers of an axis' ticks, with as many digits as tell them apart: "181.5", not "182", between 181 and 182.
std::vector<std::string> tickLabels(const std::vector<double>& ticks);

/// Every how many cells of `cell` points a label of `label` points fits: 1, 2, 5, 10, 20, 50, ...
int64_t labelStep(double cell, double label);

}  // namespace headscope::views
