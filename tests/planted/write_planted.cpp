// write_planted KIND FOLDER [LAYERS]: a synthetic checkpoint with planted structure and an adapter for it, to look at at real size.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "core/weights/planted_checkpoint.h"

using headscope::core::PlantedCheckpoint;

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "write_planted KIND FOLDER [LAYERS]: writes FOLDER/model, FOLDER/adapter, FOLDER/planted.txt\nKIND:");
    for (const char* kind : PlantedCheckpoint::kinds()) std::fprintf(stderr, " %s", kind);
    std::fprintf(stderr, "\n");
    return 2;
  }
  try {
    const PlantedCheckpoint planted = PlantedCheckpoint::named(argv[1], argc > 3 ? std::atoll(argv[3]) : 0);
    planted.write(argv[2]);
    std::printf("%s", planted.description().c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "write_planted: %s\n", e.what());
    return 1;
  }
  return 0;
}
