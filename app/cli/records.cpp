#include "app/cli/records.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"

namespace headscope::app {
namespace {

std::string numberText(double value, const char* format) {
  char text[40];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

std::string plain(const nlohmann::json& value, const char* format) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_float()) return numberText(value.get<double>(), format);
  return value.dump();
}

std::string csvCell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string extensionOf(const std::string& path) { return std::filesystem::path(path).extension().string(); }

}  // namespace

Records::Records(std::vector<std::string> columns) : columns_(std::move(columns)) {}
Records::~Records() = default;
Records::Records(Records&&) noexcept = default;
Records& Records::operator=(Records&&) noexcept = default;
size_t Records::size() const { return rows_.size(); }

void Records::add(std::vector<nlohmann::json> row) {
  for (nlohmann::json& value : row) {
    if (value.is_number_float() && !std::isfinite(value.get<double>())) value = nullptr;
  }
  rows_.push_back(std::move(row));
}

void Records::writeText(std::ostream& out) const {
  std::vector<std::vector<std::string>> cells{columns_};
  for (const auto& row : rows_) {
    cells.emplace_back();
    for (const auto& value : row) cells.back().push_back(plain(value, "%.3g"));
  }
  std::vector<size_t> widths(columns_.size(), 0);
  for (const auto& row : cells) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  for (size_t r = 0; r < cells.size(); ++r) {
    std::string line;
    for (size_t c = 0; c < cells[r].size(); ++c) {
      const bool isNumber = r > 0 && rows_[r - 1][c].is_number();
      const std::string pad(widths[c] - cells[r][c].size(), ' ');
      line += (c > 0 ? "  " : "") + (isNumber ? pad + cells[r][c] : cells[r][c] + pad);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out << line << '\n';
  }
}

void Records::writeCsv(std::ostream& out) const {
  for (size_t c = 0; c < columns_.size(); ++c) out << (c > 0 ? "," : "") << columns_[c];
  out << '\n';
  for (const auto& row : rows_) {
    for (size_t c = 0; c < row.size(); ++c) out << (c > 0 ? "," : "") << csvCell(plain(row[c], "%.9g"));
    out << '\n';
  }
}

void Records::writeJson(std::ostream& out) const {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const auto& row : rows_) {
    nlohmann::ordered_json object;
    for (size_t c = 0; c < row.size(); ++c) object[columns_[c]] = row[c];
    json.push_back(std::move(object));
  }
  out << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

void checkRecordsPath(const std::string& path) {
  const std::string extension = extensionOf(path);
  if (path.empty() || extension == ".csv" || extension == ".json" || extension == ".txt") return;
  throw core::Error("unknown kind of file \"" + extension + "\"", "--out", "name it .csv, .json or .txt");
}

void Records::write(const std::string& path, const std::string& format) const {
  checkRecordsPath(path);
  const std::string kind = path.empty() ? format : extensionOf(path).substr(1);
  const auto fill = [&](std::ostream& out) {
    if (kind == "csv") {
      writeCsv(out);
    } else if (kind == "json") {
      writeJson(out);
    } else {
      writeText(out);
    }
  };
  if (path.empty()) {
    fill(std::cout);
  } else {
    core::writeFileWhole(path, fill);
  }
}

}  // namespace headscope::app
