#include "core/weights/composition_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ostream>
#include <span>
#include <type_traits>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/job.h"
#include "core/checkpoint/safetensors_writer.h"

namespace headscope::core {
namespace {

constexpr const char* kNames[] = {"q", "k", "v"};

/// A file without a name in the folder of `beside`, zero where nothing was written, gone when this is.
class ScratchFloats {
 public:
  explicit ScratchFloats(const std::filesystem::path& beside) : name_((beside.parent_path() / "composition-XXXXXX").string()) {
    file_ = ::mkstemp(name_.data());
    if (file_ < 0) fail();
    ::unlink(name_.c_str());
  }
  ~ScratchFloats() { ::close(file_); }
  ScratchFloats(const ScratchFloats&) = delete;
  ScratchFloats& operator=(const ScratchFloats&) = delete;

  void setSize(uint64_t floats) {
    if (::ftruncate(file_, static_cast<off_t>(floats * sizeof(float))) != 0) fail();
  }
  void write(uint64_t at, std::span<const float> values) { move(::pwrite, at, values.data(), values.size()); }
  void read(uint64_t at, std::span<float> values) const { move(::pread, at, values.data(), values.size()); }

 private:
  template <typename Call, typename T>
  void move(Call call, uint64_t at, T* values, size_t count) const {
    auto* bytes = reinterpret_cast<std::conditional_t<std::is_const_v<T>, const char*, char*>>(values);
    size_t left = count * sizeof(float);
    off_t offset = static_cast<off_t>(at * sizeof(float));
    while (left > 0) {
      const ssize_t done = call(file_, bytes, left, offset);
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) fail();
      bytes += done, offset += done, left -= static_cast<size_t>(done);
    }
  }
  [[noreturn]] void fail() const {
    throw Error(std::string("the values can't be kept on disk: ") + std::strerror(errno), name_, "make room there");
  }

  std::string name_;
  int file_ = -1;
};

/// The arrays of a part by tensor: q, k, v, and those of the null.
std::vector<std::pair<std::string, const std::vector<float>*>> tensorsOf(const CompositionPart& part) {
  std::vector<std::pair<std::string, const std::vector<float>*>> all;
  for (size_t k = 0; k < 3; ++k) all.emplace_back(kNames[k], &part.values[k]);
  for (size_t k = 0; k < 3 && !part.null[0].empty(); ++k) {
    all.emplace_back(std::string("null.") + kNames[k], &part.null[k]);
    all.emplace_back(std::string("null_deviation.") + kNames[k], &part.nullDeviation[k]);
  }
  return all;
}

std::string listOf(const std::vector<int64_t>& numbers) {
  std::string text;
  for (const int64_t n : numbers) text += (text.empty() ? "" : ",") + std::to_string(n);
  return text;
}

}  // namespace

Composition writeCompositionTensors(const std::filesystem::path& target, const Model& model, const CompositionOptions& options, Job& job) {
  ScratchFloats scratch(target);
  const int64_t H = model.spec().heads, L = options.layers.empty() ? model.spec().layers : static_cast<int64_t>(options.layers.size());
  const uint64_t each = static_cast<uint64_t>(L * H) * static_cast<uint64_t>(L * H);
  std::vector<std::string> names(kNames, kNames + 3);
  for (size_t k = 0; k < 3 && options.withNull; ++k) {
    names.push_back(std::string("null.") + kNames[k]);
    names.push_back(std::string("null_deviation.") + kNames[k]);
  }
  scratch.setSize(each * names.size());
  Composition about = eachCompositionPart(model, options, job, [&](const CompositionPart& part) {
    for (const auto& [name, values] : tensorsOf(part)) {
      const auto tensor = static_cast<uint64_t>(std::find(names.begin(), names.end(), name) - names.begin());
      const size_t count = static_cast<size_t>(part.readerLayers * H);
      for (int64_t from = 0; from < part.writerLayers() * H; ++from) {
        if (from % H == 0) job.checkpoint();
        const uint64_t at = tensor * each + static_cast<uint64_t>(from * L * H + part.firstReader * H);
        scratch.write(at, std::span(*values).subspan(part.row(from / H, from % H), count));
      }
    }
  });
  SafetensorsWriter writer;
  writer.metadata["expectation"] = std::to_string(about.expectation);
  writer.metadata["layers"] = listOf(about.layerNumbers);
  for (size_t tensor = 0; tensor < names.size(); ++tensor) {
    writer.add(names[tensor], DType::F32, {L, H, L, H}, [&, tensor](SafetensorsWriter::Sink& sink) {
      std::vector<float> row(static_cast<size_t>(L * H));
      for (int64_t from = 0; from < L * H; ++from) {
        if (from % H == 0) job.checkpoint();
        scratch.read(tensor * each + static_cast<uint64_t>(from * L * H), row);
        sink.write(std::span<const float>(row));
      }
    });
  }
  writer.write(target);
  return about;
}

Composition writeCompositionEdges(const std::filesystem::path& target, const Model& model, const CompositionOptions& options, Job& job) {
  Composition about;
  std::vector<int64_t> numbers = options.layers;
  for (int64_t l = 0; options.layers.empty() && l < model.spec().layers; ++l) numbers.push_back(l);
  CompositionOptions none = options;
  none.layers = {0};
  const double expectation = eachCompositionPart(model, none, job, {}).expectation;  // one layer: nothing is composed
  writeFileWhole(target, [&](std::ostream& file) {
    file << "layer,head,to_layer,to_head,kind,value,baseline,excess" << (options.withNull ? ",baseline_deviation\n" : "\n");
    about = eachCompositionPart(model, options, job, [&](const CompositionPart& part) {
      char line[200], end[40];
      const int64_t H = part.heads;
      for (int64_t from = 0; from < part.writerLayers() * H; ++from) {
        if (from % H == 0) job.checkpoint();
        for (int64_t b = std::max(part.firstReader, from / H + 1); b < part.firstReader + part.readerLayers; ++b) {
          for (int64_t j = 0; j < H; ++j) {
            const size_t at = part.row(from / H, from % H) + static_cast<size_t>((b - part.firstReader) * H + j);
            for (size_t k = 0; k < 3; ++k) {
              const double value = part.values[k][at], baseline = options.withNull ? part.null[k][at] : expectation;
              end[0] = '\0';
              if (options.withNull) std::snprintf(end, sizeof end, ",%.7g", static_cast<double>(part.nullDeviation[k][at]));
              std::snprintf(line, sizeof line, "%lld,%lld,%lld,%lld,%s,%.7g,%.7g,%.7g%s\n",
                            static_cast<long long>(numbers[static_cast<size_t>(from / H)]), static_cast<long long>(from % H),
                            static_cast<long long>(numbers[static_cast<size_t>(b)]), static_cast<long long>(j), kNames[k], value, baseline,
                            value - baseline, end);
              file << line;
            }
          }
        }
      }
    });
  });
  return about;
}

}  // namespace headscope::core
