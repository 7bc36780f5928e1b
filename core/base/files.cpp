#include "core/base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "core/base/descriptor.h"
#include "core/base/error.h"
#include "core/base/mapped_file.h"

namespace headscope::core {
namespace fs = std::filesystem;

std::string readTextFile(const fs::path& path, uint64_t limit) {
  std::error_code code;
  if (!fs::exists(path, code)) throw Error("no such file", path.string());
  if (!fs::is_regular_file(path, code)) throw Error("not a regular file", path.string());
  const uint64_t size = fs::file_size(path, code);
  if (code) throw Error("can't read the file's size: " + code.message(), path.string());
  if (size > limit)
    throw Error("file has " + std::to_string(size) + " bytes, more than the " + std::to_string(limit) + " allowed here", path.string());
  std::ifstream in(path, std::ios::binary);
  std::string text(size, '\0');
  if (!in || !in.read(text.data(), static_cast<std::streamsize>(size))) throw Error("can't read the file", path.string());
  return text;
}

void writeFileWhole(const fs::path& path, const std::function<void(std::ostream&)>& write) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::string pattern = (folder / ("." + path.filename().string() + ".XXXXXX")).string();
  Descriptor file{::mkostemp(pattern.data(), O_CLOEXEC)};
  if (file.fd < 0) throw Error("can't write here: " + systemMessage(errno), path.string(), "choose a folder that can be written to");
  const fs::path temporary = pattern;
  try {
    {
      std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
      write(out);
      out.flush();
      if (!out) throw Error("writing failed, the disk may be full", path.string(), "the old file, if any, is unchanged");
    }
    CutWatch::checkUnreported();
    if (::fsync(file.fd) != 0) throw Error("writing failed: " + systemMessage(errno), path.string(), "the old file, if any, is unchanged");
    const mode_t mask = ::umask(0);
    ::umask(mask);
    ::fchmod(file.fd, 0666 & ~mask);
    fs::rename(temporary, path);
  } catch (const fs::filesystem_error& e) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw Error("can't replace the file: " + e.code().message(), path.string(), "the old file, if any, is unchanged");
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
}

}  // namespace headscope::core
