#include "core/weights/disk_cache.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/weights/content_hash.h"

using namespace headscope::core;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("headscope_disk_cache_" + std::to_string(::getpid()));
  Folder() { fs::remove_all(path); }
  ~Folder() { fs::remove_all(path); }
};

}  // namespace

TEST(DiskCache, keepsWhatWasWrittenAndForgetsWhatIsDamaged) {
  const Folder folder;
  const DiskCache cache(folder.path, 1 << 20);
  EXPECT_FALSE(cache.read("a").has_value());
  const std::string bytes("one\0two", 7);
  cache.write("a", bytes);
  EXPECT_EQ(cache.read("a"), bytes);
  {
    std::fstream file(folder.path / "a.bin", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put('x');
  }
  EXPECT_FALSE(cache.read("a").has_value());
  std::ofstream(folder.path / "b.bin") << "short";
  EXPECT_FALSE(cache.read("b").has_value());
}

TEST(DiskCache, dropsTheLongestUnusedAboveItsLimit) {
  const Folder folder;
  const DiskCache cache(folder.path, 1000);
  const std::string bytes(400, 'v');
  cache.write("old", bytes);
  fs::last_write_time(folder.path / "old.bin", fs::file_time_type::clock::now() - std::chrono::hours(2));
  cache.write("new", bytes);
  cache.write("newest", bytes);
  EXPECT_FALSE(cache.read("old").has_value());
  EXPECT_TRUE(cache.read("newest").has_value());
  cache.write("huge", std::string(2000, 'v'));  // more than the whole cache: left out
  EXPECT_FALSE(cache.read("huge").has_value());
}

TEST(DiskCache, noneFindsAndKeepsNothing) {
  const DiskCache cache;
  cache.write("a", "b");
  EXPECT_FALSE(cache.isOn());
  EXPECT_FALSE(cache.read("a").has_value());
}

TEST(ContentHash, tellsContentOrderAndLengthApart) {
  const auto of = [](std::initializer_list<std::string_view> parts) {
    ContentHash hash;
    for (const std::string_view part : parts) hash.add(part);
    return hash.text();
  };
  EXPECT_EQ(of({"ab", "c"}), of({"ab", "c"}));
  EXPECT_NE(of({"ab", "c"}), of({"a", "bc"}));
  EXPECT_NE(of({"ab", "c"}), of({"c", "ab"}));
  EXPECT_NE(of({std::string(3 << 20, 'a')}), of({std::string((3 << 20) - 1, 'a') + "b"}));  // several blocks
  EXPECT_EQ(of({"x"}).size(), 32U);
}
