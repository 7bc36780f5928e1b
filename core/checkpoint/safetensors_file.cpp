#include "core/checkpoint/safetensors_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/printable.h"

namespace headscope::core {
namespace {

using nlohmann::json;

constexpr uint64_t kLongestHeader = 100'000'000;  // as the reference implementation allows
constexpr size_t kHighestRank = 8;

/// Takes the header's JSON straight into tensors: {name: {"dtype": s, "shape": [n...], "data_offsets": [a, b]}}, and
/// {"__metadata__": {s: s}}. Anything else stops the parse with a fault.
class HeaderReader final : public json::json_sax_t {
 public:
  struct Range {
    uint64_t begin = 0, end = 0;
  };

  HeaderReader(SafetensorsHeader& header, std::vector<Range>& ranges, const std::string& where)
      : header_(header), ranges_(ranges), where_(where) {}

  bool start_object(size_t) override {
    if (level_ == Level::Outside) return enter(Level::Top);
    if (level_ == Level::Top && hasKey_) {
      hasKey_ = false;
      if (name_ == "__metadata__") {
        if (hasMetadata_) fail("\"__metadata__\" appears twice");
        hasMetadata_ = true;
        return enter(Level::Metadata);
      }
      tensor_ = TensorInfo{};
      tensor_.name = name_;
      range_ = Range{};
      fields_ = 0;
      return enter(Level::Tensor);
    }
    fail("an object where none belongs");
  }

  bool key(std::string& key) override {
    if (level_ == Level::Top) {
      name_ = key;
      hasKey_ = true;
      return true;
    }
    if (level_ == Level::Metadata) {
      field_ = key;
      return true;
    }
    const unsigned bit = key == "dtype" ? 1u : key == "shape" ? 2u : key == "data_offsets" ? 4u : 0u;
    if (bit == 0) fail("unknown field \"" + printable(key) + "\"");
    if ((fields_ & bit) != 0) fail("field \"" + key + "\" appears twice");
    fields_ |= bit;
    expected_ = bit;
    numbers_ = 0;
    return true;
  }

  bool string(std::string& text) override {
    if (level_ == Level::Metadata) {
      if (!header_.metadata.emplace(field_, text).second) fail("metadata key \"" + printable(field_) + "\" appears twice");
      return true;
    }
    if (level_ != Level::Tensor || expected_ != 1u) fail("text where none belongs");
    const std::optional<DType> type = dtypeFromName(text);
    if (!type) fail("dtype \"" + printable(text) + "\" is not known");
    tensor_.dtype = *type;
    expected_ = 0;
    return true;
  }

  bool start_array(size_t) override {
    if (level_ != Level::Tensor || (expected_ != 2u && expected_ != 4u)) fail("an array where none belongs");
    return enter(expected_ == 2u ? Level::Shape : Level::Offsets);
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (level_ == Level::Shape) {
      if (tensor_.shape.size() >= kHighestRank) fail("shape has more than " + std::to_string(kHighestRank) + " dimensions");
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) fail("shape overflows");
      tensor_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (level_ == Level::Offsets) {
      if (numbers_ == 2) fail("data_offsets has more than two numbers");
      (numbers_++ == 0 ? range_.begin : range_.end) = value;
      return true;
    }
    fail("a number where none belongs");
  }

  bool end_array() override {
    if (level_ == Level::Offsets && numbers_ != 2) fail("data_offsets must be two numbers");
    expected_ = 0;
    return enter(Level::Tensor);
  }

  bool end_object() override {
    if (level_ == Level::Tensor) {
      if (fields_ != 7u) fail("dtype, shape or data_offsets is missing");
      header_.tensors.push_back(std::move(tensor_));
      ranges_.push_back(range_);
      return enter(Level::Top);
    }
    return enter(level_ == Level::Metadata ? Level::Top : Level::Done);
  }

  bool number_integer(number_integer_t value) override { fail("negative number " + std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override {
    fail("number " + printable(text, 40) + " is not a whole number in range");
  }
  bool boolean(bool) override { fail("true or false where none belongs"); }
  bool null() override { fail("null where none belongs"); }
  bool binary(json::binary_t&) override { fail("binary data where none belongs"); }
  bool parse_error(size_t position, const std::string&, const json::exception& e) override {
    throw Error("the header is not JSON at byte " + std::to_string(8 + position) + " (" + printable(e.what()) + ")", where_);
  }

 private:
  enum class Level { Outside, Top, Metadata, Tensor, Shape, Offsets, Done };

  bool enter(Level level) {
    level_ = level;
    return true;
  }

  [[noreturn]] void fail(const std::string& fault) const {
    const bool isInTensor = level_ != Level::Outside && level_ != Level::Done && !name_.empty();
    throw Error("broken header: " + fault, isInTensor ? where_ + ", tensor " + printable(name_) : where_);
  }

  SafetensorsHeader& header_;
  std::vector<Range>& ranges_;
  const std::string& where_;
  Level level_ = Level::Outside;
  bool hasKey_ = false, hasMetadata_ = false;
  std::string name_, field_;
  TensorInfo tensor_;
  Range range_;
  unsigned fields_ = 0, expected_ = 0;
  int numbers_ = 0;
};

/// Bytes that dtype and shape make; throws Error when they overflow.
uint64_t checkedBytes(const TensorInfo& tensor, const std::string& where) {
  uint64_t count = sizeOf(tensor.dtype);
  for (const int64_t size : tensor.shape) {
    if (__builtin_mul_overflow(count, static_cast<uint64_t>(size), &count) || count > (uint64_t{1} << 62)) {
      throw Error("broken header: shape " + tensor.shapeText() + " overflows", where + ", tensor " + printable(tensor.name));
    }
  }
  return count;
}

/// The ranges, in order of where they begin, must cover the data exactly once.
void checkRanges(const std::vector<TensorInfo>& tensors, const std::vector<HeaderReader::Range>& ranges, uint64_t dataBytes,
                 uint64_t dataStart, const std::string& where) {
  std::vector<uint32_t> order(tensors.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<uint32_t>(i);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return ranges[a].begin != ranges[b].begin ? ranges[a].begin < ranges[b].begin : ranges[a].end < ranges[b].end;
  });
  uint64_t covered = 0;
  for (const uint32_t i : order) {
    const auto [begin, end] = ranges[i];
    const std::string at = where + ", tensor " + printable(tensors[i].name);
    const std::string span = "bytes " + std::to_string(begin) + " to " + std::to_string(end) + " of the data";
    if (end < begin) throw Error("broken header: " + span + " end before they begin", at);
    if (end > dataBytes) {
      throw Error(span + " lie past the end of the file, which has " + std::to_string(dataBytes) + " after its header (offset " +
                      std::to_string(dataStart) + ")",
                  at, "the file may be cut off; download it again");
    }
    if (begin < covered) throw Error("broken header: " + span + " overlap another tensor's", at);
    if (begin > covered)
      throw Error("broken header: " + std::to_string(begin - covered) + " bytes before " + span + " belong to no tensor", at);
    if (end - begin != checkedBytes(tensors[i], where)) {
      throw Error("broken header: " + span + " are " + std::to_string(end - begin) + " bytes, but " +
                      std::string(nameOf(tensors[i].dtype)) + " " + tensors[i].shapeText() + " takes " +
                      std::to_string(checkedBytes(tensors[i], where)),
                  at);
    }
    covered = end;
  }
  if (covered != dataBytes) {
    throw Error("broken file: " + std::to_string(dataBytes - covered) + " bytes at offset " + std::to_string(dataStart + covered) +
                    " belong to no tensor",
                where);
  }
}

}  // namespace

int64_t TensorInfo::count() const {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return n;
}

std::string TensorInfo::shapeText() const {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

SafetensorsHeader parseSafetensors(std::span<const std::byte> bytes, const std::string& where, size_t file) {
  if (bytes.size() < 8) throw Error("not a safetensors file: it has only " + std::to_string(bytes.size()) + " bytes", where);
  static_assert(std::endian::native == std::endian::little, "safetensors headers and tensors are little-endian");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kLongestHeader) throw Error("not a safetensors file: its header would be " + std::to_string(length) + " bytes long", where);
  if (length > bytes.size() - 8) {
    throw Error("the header should be " + std::to_string(length) + " bytes long, but the file has " + std::to_string(bytes.size()), where,
                "the file may be cut off; download it again");
  }
  const char* text = reinterpret_cast<const char*>(bytes.data()) + 8;
  if (length == 0 || text[0] != '{') throw Error("not a safetensors file: its header does not begin with \"{\"", where);

  SafetensorsHeader header;
  std::vector<HeaderReader::Range> ranges;
  HeaderReader reader(header, ranges, where);
  json::sax_parse(text, text + length, &reader);
  const uint64_t dataStart = 8 + length;
  checkRanges(header.tensors, ranges, bytes.size() - dataStart, dataStart, where);
  for (size_t i = 0; i < ranges.size(); ++i) {
    header.tensors[i].data = bytes.data() + dataStart + ranges[i].begin;
    header.tensors[i].file = file;
  }
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  for (size_t i = 1; i < header.tensors.size(); ++i) {
    if (header.tensors[i].name == header.tensors[i - 1].name) {
      throw Error("broken header: the name appears twice", where + ", tensor " + printable(header.tensors[i].name));
    }
  }
  return header;
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path, size_t file) {
  std::shared_ptr<SafetensorsFile> opened(new SafetensorsFile());
  opened->map_ = MappedFile::open(path);
  opened->header_ = parseSafetensors(opened->map_->bytes(), path.string(), file);
  opened->header_.tensors.shrink_to_fit();
  return opened;
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto& all = header_.tensors;
  const auto at = std::lower_bound(all.begin(), all.end(), name, [](const TensorInfo& t, std::string_view n) { return t.name < n; });
  return at != all.end() && at->name == name ? &*at : nullptr;
}

}  // namespace headscope::core
