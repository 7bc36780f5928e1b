#pragma once
// Pace: how long what is left takes, at the pace of the later half of the time so far: what came from a cache in no time, or a slow
// start, does not count for long.
namespace headscope::core {

class Pace {
 public:
  /// `fraction` in [0, 1] was done at `seconds`, which never falls.
  void add(double seconds, double fraction) {
    if (fraction < from_.fraction) from_ = next_ = {seconds, fraction};  // begun anew
    if (seconds >= 2 * next_.seconds) {
      from_ = next_;
      next_ = {seconds, fraction};
    }
    last_ = fraction;
  }
  /// From `seconds` on; negative while unknown.
  double secondsLeft(double seconds) const {
    const double gained = last_ - from_.fraction;
    return last_ < 0.01 || gained <= 0 ? -1.0 : (seconds - from_.seconds) * (1.0 - last_) / gained;
  }

 private:
  struct Mark {
    double seconds = 0, fraction = 0;
  };
  Mark from_, next_;  // the pace counts from `from_`; `next_` takes its place when as much time again has passed
  double last_ = 0;
};

}  // namespace headscope::core
