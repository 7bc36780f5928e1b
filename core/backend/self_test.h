#pragma once
// Self-test: every operation of a device's backend once on small numbers, against the host's. Run when a card is first used; what
// it found is kept by card, driver and plug-in (Backend::identity), so that later starts read one small file. Takes well under a
// second. Products at a lower precision differ by intention: whether by no more than that is found out whenever one is chosen.
#include <string>
#include <vector>

#include "core/backend/backend.h"
#include "core/weights/disk_cache.h"

namespace headscope::core {

struct SelfTest {
  struct Failure {
    Op op;
    double difference = 0;  // largest, as a share of the largest number; infinite: not finite or thrown
    std::string what;       // the error's words, or ""
  };
  std::vector<Failure> failures;
  bool leftSplitProducts = false;  // they failed, and the device was told to leave them
  bool isFromCache = false;
  bool isLost = false;  // the device was lost on the way
};

/// Compares all operations that `device` supports with `host`'s. Split products that fail are left and their operation is tried again.
SelfTest runSelfTest(Backend& device, Backend& host);
/// The same, from the cache where it was run before.
SelfTest cachedSelfTest(Backend& device, Backend& host, const DiskCache& cache);

/// Products and attention at the precision that `device` is set to, against the host's: the operation that is further off than roundings
/// of that precision explain, with its difference, or "". Some hundredths of a second.
std::string wrongAtPrecision(Backend& device, Backend& host);

}  // namespace headscope::core
