// The peer in Python is there where it is installed and said to be missing where it is not.
#include "core/bench/python_peer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>

#include "tests/support/program.h"

using namespace headscope::core;
namespace fs = std::filesystem;

namespace {

/// PATH is this folder alone while it lives.
class OnlyPath {
 public:
  explicit OnlyPath(const fs::path& folder) : before_(std::getenv("PATH")) { ::setenv("PATH", folder.c_str(), 1); }
  ~OnlyPath() { ::setenv("PATH", before_.c_str(), 1); }
  OnlyPath(const OnlyPath&) = delete;
  OnlyPath& operator=(const OnlyPath&) = delete;

 private:
  std::string before_;
};

void writeProgram(const fs::path& path, const std::string& lines) {
  std::ofstream(path) << "#!/bin/sh\n" << lines << "\n";
  fs::permissions(path, fs::perms::owner_all);
}

}  // namespace

TEST(PythonPeer, takesOneObjectOfLibraryVersionAndSeconds) {
  BenchResult r;
  EXPECT_TRUE(takePeerAnswer("{\"library\": \"torch\", \"version\": \"2.1\", \"seconds\": 0.25}\n", 4, r));
  EXPECT_EQ(r.more.at("thin_qr_torch_s"), 1.0);
  EXPECT_EQ(r.note, "thin QR by torch 2.1, float32 from memory");
  for (const char* bad : {"", "[]", "{}", "{\"library\": 1, \"version\": \"2\", \"seconds\": 1}", "Traceback (most recent call last)"}) {
    BenchResult none;
    EXPECT_FALSE(takePeerAnswer(bad, 1, none)) << bad;
    EXPECT_TRUE(none.more.empty() && none.note.empty());
  }
}

TEST(PythonPeer, saysWhyThereIsNoTime) {
  const headscope::tests::TemporaryFolder folder;
  const PythonPeer peer(folder.path());
  const OnlyPath path(folder.path());
  const auto noteOf = [&] {
    BenchResult r;
    r.note = "first";
    peer.addSpectra(r, {{2, 4, 8, 8}});
    EXPECT_TRUE(r.more.empty());
    return r.note;
  };
  EXPECT_EQ(noteOf(), "first; no thin-QR peer: no python3 on the PATH");
  writeProgram(folder.path() / "python3", "exit 3");
  EXPECT_EQ(noteOf(), "first; no thin-QR peer: python3 has neither PyTorch nor NumPy");
  writeProgram(folder.path() / "python3", "echo '{'; exit 0");
  EXPECT_EQ(noteOf(), "first; no thin-QR peer: the script for PyTorch and NumPy failed");
  writeProgram(folder.path() / "python3", "echo '{\"library\": \"numpy\", \"version\": \"'$3' '$4'\", \"seconds\": 2}'");
  BenchResult r;
  peer.addSpectra(r, {{2, 4, 8, 8}}, 0.5);
  EXPECT_EQ(r.more.at("thin_qr_numpy_s"), 1.0);
  EXPECT_EQ(r.note, "thin QR by numpy spectra 2, float32 from memory");
}

TEST(PythonPeer, theScriptRunsWherePythonHasALibrary) {
  const headscope::tests::TemporaryFolder folder;
  const PythonPeer peer(folder.path());
  BenchResult spectra, composition;
  peer.addSpectra(spectra, {{2, 4, 8, 8}, {1, 2, 8, 6}});
  peer.addComposition(composition, 3, 2, 4, 16);
  for (const BenchResult* r : {&spectra, &composition}) {
    if (r->more.empty()) {
      EXPECT_EQ(r->note.find("failed"), std::string::npos) << r->note;
    } else {
      EXPECT_TRUE(std::isfinite(r->more.begin()->second));
    }
  }
}
