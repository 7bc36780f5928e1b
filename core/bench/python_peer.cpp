#include "core/bench/python_peer.h"

#include <sys/wait.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "core/base/files.h"
#include "core/base/parallel.h"

namespace headscope::core {
namespace {

constexpr int kNoLibrary = 3;  // exit code of the script

constexpr const char* kScript = R"python(import json, os, sys, time
threads = int(sys.argv[1])
for library in ("OPENBLAS", "MKL", "OMP"):  # NumPy's products read it when they are loaded
    os.environ[library + "_NUM_THREADS"] = str(threads)
try:
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    name, version = "torch", torch.__version__
    random = lambda *shape: torch.randn(*shape)
    turned = lambda a: a.transpose(-1, -2)
    triangle = lambda a: torch.linalg.qr(turned(a), mode="r").R
    values = torch.linalg.svdvals
    tiles = lambda c, h, k: torch.linalg.vector_norm(c.view(-1, k, h, k), dim=(1, 3))
except ImportError:
    try:
        import numpy
    except ImportError:
        sys.exit(3)
    rng = numpy.random.default_rng(1)
    name, version = "numpy", numpy.__version__
    random = lambda *shape: rng.standard_normal(shape, dtype=numpy.float32)
    turned = lambda a: a.swapaxes(-1, -2)
    triangle = lambda a: numpy.linalg.qr(turned(a), mode="r")
    values = lambda a: numpy.linalg.svd(a, compute_uv=False)
    tiles = lambda c, h, k: numpy.sqrt((c.reshape(-1, k, h, k) ** 2).sum(axis=(1, 3)))

def spectra(factors):
    for left, right in factors:
        values(triangle(left) @ turned(triangle(right)))

def composition(sides):
    q, k, v, o = sides
    heads, width, depth = q.shape
    rq, rk, rv, ro = (triangle(x) for x in sides)
    flat = lambda a: a.reshape(heads * width, depth)
    for own, other in ((q, rk), (k, rq), (v, ro)):
        reader = flat(other @ own)
        for first in range(0, heads - layer, layer):
            writer = (rv[first:first + layer] @ o[first:first + layer]).reshape(-1, depth)
            later = heads - first - layer
            tiles(writer @ turned(reader[-later * width:]), later, width)

numbers = [int(x) for x in sys.argv[3:]]
if sys.argv[2] == "spectra":
    products = [numbers[i:i + 4] for i in range(0, len(numbers), 4)]
    data = [(random(c, k, m), random(c, k, n)) for c, k, m, n in products]
    work = spectra
else:
    heads, layer, k, d = numbers
    data = [random(heads, k, d) for _ in range(4)]
    work = composition
best = float("inf")
for _ in range(3):
    started = time.perf_counter()
    work(data)
    best = min(best, time.perf_counter() - started)
print(json.dumps({"library": name, "version": version, "seconds": best}))
)python";

}  // namespace

bool takePeerAnswer(const std::string& answer, double scale, BenchResult& result) {
  const auto parsed = nlohmann::json::parse(answer, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("library") || !parsed.contains("version") || !parsed.contains("seconds")) return false;
  const auto &library = parsed["library"], &version = parsed["version"], &seconds = parsed["seconds"];
  if (!library.is_string() || !version.is_string() || !seconds.is_number()) return false;
  result.more["thin_qr_" + library.get<std::string>() + "_s"] = scale * seconds.get<double>();
  result.note += (result.note.empty() ? "" : "; ") + std::string("thin QR by ") + library.get<std::string>() + " " +
                 version.get<std::string>() + ", float32 from memory";
  return true;
}

void PythonPeer::run(BenchResult& result, const std::string& arguments, double scale) const {
  const std::filesystem::path script = scratch_ / "thin_qr_peer.py";
  writeFileWhole(script, [](std::ostream& out) { out << kScript; });
  const std::string command = "python3 '" + script.string() + "' " + std::to_string(threadCount()) + " " + arguments + " 2>/dev/null";
  std::string answer;
  int status = -1;
  if (std::FILE* pipe = ::popen(command.c_str(), "r")) {
    char part[256];
    while (std::fgets(part, sizeof part, pipe) != nullptr) answer += part;
    status = ::pclose(pipe);
  }
  if (status == 0 && takePeerAnswer(answer, scale, result)) return;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  const char* why = code == 127          ? "no python3 on the PATH"
                    : code == kNoLibrary ? "python3 has neither PyTorch nor NumPy"
                                         : "the script for PyTorch and NumPy failed";
  result.note += (result.note.empty() ? "" : "; ") + std::string("no thin-QR peer: ") + why;
}

void PythonPeer::addSpectra(BenchResult& result, const std::vector<PeerSpectra>& products, double scale) const {
  std::string arguments = "spectra";
  for (const PeerSpectra& p : products) {
    for (const int64_t n : {p.count, p.k, p.m, p.n}) arguments += " " + std::to_string(n);
  }
  run(result, arguments, scale);
}

void PythonPeer::addComposition(BenchResult& result, int64_t layers, int64_t heads, int64_t k, int64_t d) const {
  std::string arguments = "composition";
  for (const int64_t n : {layers * heads, heads, k, d}) arguments += " " + std::to_string(n);
  run(result, arguments, 1);
}

}  // namespace headscope::core
