#include "views/figure/axis.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace headscope::views {

namespace {

/// "1.50" -> "1.5", "2.0" -> "2", "100" stays.
void dropZeros(std::string& number) {
  if (number.find('.') == std::string::npos) return;
  while (number.back() == '0') number.pop_back();
  if (number.back() == '.') number.pop_back();
}

}  // namespace

std::vector<double> roundTicks(double low, double high, int most) {
  std::vector<double> ticks;
  if (!(high > low) || most < 2 || !std::isfinite(high - low)) return ticks;
  const double rough = (high - low) / (most - 1);
  double step = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    const double candidate = step * factor;
    const double count = std::floor(high / candidate + 1e-9) - std::ceil(low / candidate - 1e-9) + 1;
    if (count <= most) {
      step = candidate;
      break;
    }
  }
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) ticks.push_back(i == 0 ? 0.0 : i * step);
  return ticks;
}

std::vector<double> decadeTicks(double low, double high, int most) {
  std::vector<double> ticks;
  if (!(low > 0) || !(high > low) || most < 1) return ticks;
  const int first = static_cast<int>(std::ceil(std::log10(low) - 1e-9)), last = static_cast<int>(std::floor(std::log10(high) + 1e-9));
  const int step = std::max(1, (last - first + most) / most);
  for (int e = last; e >= first; e -= step) ticks.push_back(std::pow(10.0, e));
  std::reverse(ticks.begin(), ticks.end());
  return ticks;
}

std::string shortNumber(double value, int digits) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  if (value == 0) return "0";
  char text[64];
  const double size = std::abs(value);
  if (size < 1e-3 || size >= 1e6) {
    std::snprintf(text, sizeof text, "%.*e", std::max(0, (digits > 3 ? digits : std::min(digits, 2)) - 1), value);
    std::string s = text;  // 1.0e-05 -> 1e-5
    const size_t e = s.find('e');
    std::string mantissa = s.substr(0, e);
    dropZeros(mantissa);
    return mantissa + "e" + std::to_string(std::atoi(s.c_str() + e + 1));
  }
  const int decimals = std::max(0, digits - 1 - static_cast<int>(std::floor(std::log10(size))));
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  std::string s = text;
  dropZeros(s);
  return s;
}

std::vector<std::string> tickLabels(const std::vector<double>& ticks) {
  double step = INFINITY;
  for (size_t i = 1; i < ticks.size(); ++i) step = std::min(step, std::abs(ticks[i] - ticks[i - 1]));
  std::vector<std::string> labels(ticks.size());
  for (size_t i = 0; i < ticks.size(); ++i) {
    for (int digits = 3; digits <= 12; ++digits) {
      labels[i] = shortNumber(ticks[i], digits);
      if (!(std::abs(std::strtod(labels[i].c_str(), nullptr) - ticks[i]) > 0.01 * step)) break;
    }
  }
  return labels;
}

std::string fixedNumber(double value, int decimals) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

std::string bigNumber(double value) {
  static constexpr const char* kUnits[] = {"", " k", " M", " B", " T"};
  int unit = 0;
  while (std::abs(value) >= 999.5 && unit < 4) value /= 1000, ++unit;
  return shortNumber(value, 3) + kUnits[unit];
}

int64_t labelStep(double cell, double label) {
  if (cell >= label) return 1;
  for (int64_t decade = 1; decade < 1'000'000'000; decade *= 10) {
    for (const int64_t factor : {1, 2, 5}) {
      if (cell * static_cast<double>(factor * decade) >= label) return factor * decade;
    }
  }
  return 1'000'000'000;
}

}  // namespace headscope::views
