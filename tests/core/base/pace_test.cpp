// How long what is left takes.
#include "core/base/pace.h"

#include <gtest/gtest.h>

namespace headscope::core {
namespace {

TEST(Pace, anEvenJobIsAsLongAsItWas) {
  Pace pace;
  EXPECT_LT(pace.secondsLeft(0), 0) << "nothing is known yet";
  for (int i = 1; i <= 40; ++i) {
    pace.add(i, i / 100.0);
    EXPECT_NEAR(pace.secondsLeft(i), 100 - i, 1e-9) << i;
  }
  EXPECT_GT(pace.secondsLeft(50), 60) << "and longer the longer nothing comes";
}

TEST(Pace, whatCameFromACacheIsForgotten) {
  Pace pace;
  pace.add(0.5, 0.5);
  for (int i = 1; i <= 20; ++i) pace.add(i, 0.5 + i / 200.0);  // 200 s for all of it
  EXPECT_NEAR(pace.secondsLeft(20), 0.4 * 200, 2);
}

TEST(Pace, aJobThatBeginsAnewIsMeasuredAnew) {
  Pace pace;
  for (int i = 1; i <= 10; ++i) pace.add(i, i / 10.0);
  for (int i = 1; i <= 5; ++i) pace.add(10 + i, i / 50.0);
  EXPECT_NEAR(pace.secondsLeft(15), 45, 1e-9);
  pace.add(16, 0.1);
  EXPECT_GT(pace.secondsLeft(16), 45) << "no progress";
}

}  // namespace
}  // namespace headscope::core
