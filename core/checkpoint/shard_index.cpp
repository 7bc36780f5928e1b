#include "core/checkpoint/shard_index.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/printable.h"

namespace headscope::core {
namespace {

using nlohmann::json;

constexpr uint64_t kLongestIndex = 256u << 20;
constexpr size_t kDeepest = 16;

/// Keeps weight_map's pairs and steps over everything else.
class IndexReader final : public json::json_sax_t {
 public:
  IndexReader(ShardIndex& index, const std::string& where) : index_(index), where_(where) {}

  bool hasMap() const { return hasMap_; }

  bool key(std::string& key) override {
    if (depth_ == 1) {
      isMapNext_ = key == "weight_map";
      if (isMapNext_ && hasMap_) throw Error("\"weight_map\" appears twice", where_);
    }
    if (isInMap()) name_ = key;
    return true;
  }
  bool start_object(size_t) override {
    if (isInMap()) fail("is not a file name");
    deeper();
    if (depth_ == 2 && isMapNext_) hasMap_ = isOpen_ = true;
    return true;
  }
  bool end_object() override {
    if (depth_ == 2) isOpen_ = isMapNext_ = false;
    --depth_;
    return true;
  }
  bool start_array(size_t) override {
    if (isInMap()) fail("is not a file name");
    if (depth_ == 1 && isMapNext_) throw Error("\"weight_map\" is not an object", where_);
    deeper();
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool string(std::string& text) override {
    if (isInMap()) add(text);
    return scalar();
  }
  bool null() override { return number(); }
  bool boolean(bool) override { return number(); }
  bool number_integer(number_integer_t) override { return number(); }
  bool number_unsigned(number_unsigned_t) override { return number(); }
  bool number_float(number_float_t, const string_t&) override { return number(); }
  bool binary(json::binary_t&) override { return number(); }
  bool parse_error(size_t position, const std::string&, const json::exception& e) override {
    throw Error("not JSON at byte " + std::to_string(position) + " (" + printable(e.what()) + ")", where_);
  }

 private:
  bool isInMap() const { return isOpen_ && depth_ == 2; }

  void deeper() {
    if (++depth_ > kDeepest) throw Error("JSON is nested deeper than " + std::to_string(kDeepest), where_);
  }
  bool number() {
    if (isInMap()) fail("is not a file name");
    return scalar();
  }
  bool scalar() {
    if (depth_ == 1 && isMapNext_) throw Error("\"weight_map\" is not an object", where_);
    return true;
  }
  [[noreturn]] void fail(const std::string& fault) const { throw Error("the entry " + fault, where_ + ", tensor " + printable(name_)); }

  void add(const std::string& file) {
    const bool isPlain = !file.empty() && file != "." && file != ".." && file.find_first_of(std::string("/\\\0", 3)) == std::string::npos;
    if (!isPlain) fail("points outside the folder: \"" + printable(file) + "\"");
    if (!file.ends_with(".safetensors")) fail("names \"" + printable(file) + "\", which is not a safetensors file");
    const auto [at, isNew] = fileIndex_.emplace(file, static_cast<uint32_t>(index_.files.size()));
    if (isNew) index_.files.push_back(file);
    index_.tensors.emplace_back(name_, at->second);
  }

  ShardIndex& index_;
  const std::string& where_;
  std::unordered_map<std::string, uint32_t> fileIndex_;
  std::string name_;
  size_t depth_ = 0;
  bool isMapNext_ = false, isOpen_ = false, hasMap_ = false;
};

}  // namespace

ShardIndex parseShardIndex(const std::string& text, const std::string& where) {
  ShardIndex index;
  IndexReader reader(index, where);
  json::sax_parse(text, &reader);
  if (!reader.hasMap()) throw Error("no \"weight_map\" in the index", where);
  std::sort(index.tensors.begin(), index.tensors.end());
  for (size_t i = 1; i < index.tensors.size(); ++i) {
    if (index.tensors[i].first == index.tensors[i - 1].first) {
      throw Error("the name appears twice in the index", where + ", tensor " + printable(index.tensors[i].first));
    }
  }
  return index;
}

ShardIndex readShardIndex(const std::filesystem::path& path) { return parseShardIndex(readTextFile(path, kLongestIndex), path.string()); }

}  // namespace headscope::core
