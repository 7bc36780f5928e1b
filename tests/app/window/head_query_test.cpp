#include "app/window/head_query.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"

namespace headscope::app {

TEST(HeadQuery, placesAndStars) {
  const HeadQuery one = HeadQuery::parse("3.5", {});
  EXPECT_TRUE(one.matches({3, 5}, nullptr));
  EXPECT_FALSE(one.matches({3, 4}, nullptr));
  const HeadQuery layer = HeadQuery::parse(" 3.* ", {});
  EXPECT_TRUE(layer.matches({3, 0}, nullptr));
  EXPECT_FALSE(layer.matches({2, 0}, nullptr));
  EXPECT_TRUE(HeadQuery::parse("*.2", {}).matches({7, 2}, nullptr));
  EXPECT_TRUE(HeadQuery::parse("4", {}).matches({4, 9}, nullptr));
  EXPECT_TRUE(HeadQuery::parse("", {}).isEmpty());
}

TEST(HeadQuery, whatIsNotUnderstoodIsNamed) {
  const std::vector<std::string> names{"induction", "previous"};
  for (const char* bad : {"x", "3.5.6", "3.-1", "induction>", "induction>x", "unknown>0.5", ">0.5", "99999999999.1", "3.", ".5"})
    EXPECT_THROW(HeadQuery::parse(bad, names), core::Error) << bad;
  EXPECT_NO_THROW(HeadQuery::parse("ind>0.4, 3.* and prev<.5", names));
  EXPECT_FALSE(HeadQuery::parse("ind>0.4", names).matches({0, 0}, nullptr)) << "no scores yet: nothing matches";
}

TEST(HeadQuery, numbersHaveThreeDigits) {
  EXPECT_EQ(columnNumber(0.123456), "0.12");
  EXPECT_EQ(columnNumber(12.345), "12.3");
  EXPECT_EQ(columnNumber(1234.5), "1234");
  EXPECT_EQ(columnNumber(NAN), "–");
  EXPECT_EQ(scoreTitle("keys.0.9"), "Keys for 90 %");
  EXPECT_EQ(scoreTitle("keys.0.999"), "Keys for 99.9 %");
}

}  // namespace headscope::app
