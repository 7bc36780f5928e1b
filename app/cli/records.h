#pragma once
// Records: rows of named values that a command prints as aligned text, CSV or JSON.
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace headscope::app {

class Records {
 public:
  explicit Records(std::vector<std::string> columns);
  ~Records();
  Records(Records&&) noexcept;
  Records& operator=(Records&&) noexcept;

  /// One row; values in the order of the columns: numbers, text or null. NaN is null.
  void add(std::vector<nlohmann::json> row);
  size_t size() const;

  void writeText(std::ostream& out) const;
  void writeCsv(std::ostream& out) const;
  void writeJson(std::ostream& out) const;  // an array of objects

  /// To a file by its extension (.csv, .json, .txt), whole or not at all; to standard output as text where path is empty,
  /// or as format says ("", "csv", "json"). Throws core::Error on another extension.
  void write(const std::string& path, const std::string& format) const;

 private:
  std::vector<std::string> columns_;
  std::vector<std::vector<nlohmann::json>> rows_;
};

/// Throws core::Error when records can't be written under this name, before any work is done.
void checkRecordsPath(const std::string& path);

}  // namespace headscope::app
