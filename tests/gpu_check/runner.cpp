// Every Backend operation on the card against naive loops, on the shared table of cases; prints a line each and a closing count.
// Exit code 0 only when all hold and none was skipped.
#include <cstdio>
#include <exception>
#include <vector>

#include "gpu/cuda_backend.h"
#include "tests/support/op_checks.h"

int main() {
  using namespace headscope;
  try {
    gpu::CudaBackend backend;
    std::printf("device: %s\n", backend.device().c_str());
    int passed = 0, failed = 0;
    for (const tests::OpCheck& check : tests::checkAllOps(backend)) {
      check.holds() ? ++passed : ++failed;
      std::printf("%-4s %-60s difference %.2e of %.0e%s%s\n", check.holds() ? "ok" : "BAD", check.name.c_str(), check.difference,
                  check.tolerance, check.isFinite ? "" : ", not finite", check.isMaskExact ? "" : ", mask not exact");
    }
    std::printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "gpu check: %s\n", e.what());
    return 1;
  }
}
