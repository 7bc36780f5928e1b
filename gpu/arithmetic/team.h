#pragma once
// A team: the threads of one block as an algorithm sees them, so that whole block algorithms (jacobi.h, triangle.h) are plain
// templates that CPU tests run with SerialTeam. Every call is made by all threads of the team and ends with a barrier:
//
//   team.forEach(n, f)        f(i) for i in [0, n), in any order
//   team.forEachGroup(n, f)   f(group, i), i shared among the threads of one group; true when any f returned true
//   team.sum(n, f), team.max(n, f), team.any(n, f)   over f(i); every thread gets the result
//   team.barrier()
//
// A group (a warp) has lane() and size() to stride with, sum(x) over its lanes, and isFirst() for what one of them writes.
#include "gpu/arithmetic/host_device.h"

namespace headscope::gpu {

/// One thread, on the host. isBackwards: items in reverse order, which shows where an algorithm depends on it.
class SerialTeam {
 public:
  explicit SerialTeam(bool isBackwards = false) : isBackwards_(isBackwards) {}

  struct Group {
    int lane() const { return 0; }
    int size() const { return 1; }
    bool isFirst() const { return true; }
    double sum(double x) const { return x; }
  };

  template <typename F>
  void forEach(int n, F f) {
    for (int i = 0; i < n; ++i) f(at(i, n));
  }
  template <typename F>
  bool forEachGroup(int n, F f) {
    bool isAny = false;
    for (int i = 0; i < n; ++i) isAny = f(Group{}, at(i, n)) || isAny;
    return isAny;
  }
  template <typename F>
  double sum(int n, F f) {
    double total = 0;
    for (int i = 0; i < n; ++i) total += f(at(i, n));
    return total;
  }
  template <typename F>
  double max(int n, F f) {
    double top = 0;
    for (int i = 0; i < n; ++i) top = f(i) > top ? f(i) : top;
    return top;
  }
  template <typename F>
  bool any(int n, F f) {
    bool isAny = false;
    for (int i = 0; i < n; ++i) isAny = f(i) || isAny;
    return isAny;
  }
  void barrier() {}

 private:
  int at(int i, int n) const { return isBackwards_ ? n - 1 - i : i; }
  bool isBackwards_;
};

}  // namespace headscope::gpu
