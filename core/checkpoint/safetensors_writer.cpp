#include "core/checkpoint/safetensors_writer.h"

#include <nlohmann/json.hpp>
#include <set>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/printable.h"

namespace headscope::core {
namespace {

template <typename T>
void writeValues(std::ostream& out, uint64_t& bytes, std::span<const T> values) {
  out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size_bytes()));
  bytes += values.size_bytes();
}

uint64_t bytesOf(DType dtype, const std::vector<int64_t>& shape) {
  uint64_t bytes = sizeOf(dtype);
  for (const int64_t size : shape) bytes *= static_cast<uint64_t>(size);
  return bytes;
}

}  // namespace

void SafetensorsWriter::Sink::write(std::span<const float> values) { writeValues(out_, bytes_, values); }
void SafetensorsWriter::Sink::write(std::span<const double> values) { writeValues(out_, bytes_, values); }
void SafetensorsWriter::Sink::write(std::span<const int64_t> values) { writeValues(out_, bytes_, values); }
void SafetensorsWriter::Sink::write(std::span<const int32_t> values) { writeValues(out_, bytes_, values); }
void SafetensorsWriter::Sink::write(std::span<const uint8_t> values) { writeValues(out_, bytes_, values); }

void SafetensorsWriter::add(std::string name, DType dtype, std::vector<int64_t> shape, std::function<void(Sink&)> fill) {
  entries_.push_back({std::move(name), dtype, std::move(shape), std::move(fill)});
}

void SafetensorsWriter::add(std::string name, std::vector<int64_t> shape, std::vector<float> values) {
  add(std::move(name), DType::F32, std::move(shape),
      [values = std::move(values)](Sink& sink) { sink.write(std::span<const float>(values)); });
}

void SafetensorsWriter::add(std::string name, std::vector<int64_t> shape, std::vector<double> values) {
  add(std::move(name), DType::F64, std::move(shape),
      [values = std::move(values)](Sink& sink) { sink.write(std::span<const double>(values)); });
}

void SafetensorsWriter::add(std::string name, std::vector<int64_t> shape, std::vector<int64_t> values) {
  add(std::move(name), DType::I64, std::move(shape),
      [values = std::move(values)](Sink& sink) { sink.write(std::span<const int64_t>(values)); });
}

void SafetensorsWriter::write(const std::filesystem::path& path) const {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::set<std::string> seen;
  uint64_t end = 0;
  for (const Entry& entry : entries_) {
    if (!seen.insert(entry.name).second) throw Error("two tensors of one name", path.string() + ", tensor " + printable(entry.name));
    const uint64_t begin = end;
    end += bytesOf(entry.dtype, entry.shape);
    header[entry.name] = {{"dtype", nameOf(entry.dtype)}, {"shape", entry.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // the data begin aligned, as other writers do
  writeFileWhole(path, [&](std::ostream& out) {
    const uint64_t length = text.size();
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const Entry& entry : entries_) {
      Sink sink(out);
      entry.fill(sink);
      if (sink.bytes() != bytesOf(entry.dtype, entry.shape)) {
        throw Error("the tensor was written with " + std::to_string(sink.bytes()) + " bytes, not the " +
                        std::to_string(bytesOf(entry.dtype, entry.shape)) + " that its shape takes",
                    path.string() + ", tensor " + printable(entry.name));
      }
    }
  });
}

}  // namespace headscope::core
