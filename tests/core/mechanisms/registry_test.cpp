// Words that name mechanisms: every kind with its defaults parses back to itself; bad words are refused with the range.
#include "core/mechanisms/registry.h"

#include <gtest/gtest.h>

#include "core/base/error.h"

namespace headscope::tests {
namespace {

using namespace core;

std::string faultOf(const std::string& text) {
  try {
    parseMechanism(text);
  } catch (const Error& e) {
    return e.fault() + " | " + e.where() + " | " + e.hint();
  }
  return "accepted";
}

TEST(Registry, everyKindParsesBackToItsSpelling) {
  for (const MechanismKind& kind : allMechanisms()) {
    const auto mechanism = parseMechanism(kind.name);
    EXPECT_EQ(mechanism->name(), kind.name);
    EXPECT_EQ(parseMechanism(mechanism->spelled())->spelled(), mechanism->spelled());
    EXPECT_FALSE(kind.summary.empty());
    for (const Parameter& p : kind.parameters) EXPECT_FALSE(p.meaning.empty()) << kind.name << " " << p.name;
  }
}

TEST(Registry, namesOfTheCommandLineAreAllThere) {
  for (const char* name :
       {"causal", "local",  "symmetric", "strided",   "fixed",           "dilated",   "sinks",     "global",        "block",        "topk",
        "topp",   "linear", "rfa",       "performer", "nystrom",         "linformer", "clustered", "shared_kv",     "source_local", "reuse",
        "rope",   "alibi",  "nope",      "cope",      "dense_attention", "off",       "dense",     "source_strided"}) {
    EXPECT_NE(findMechanism(name), nullptr) << name;
  }
}

TEST(Registry, badWordsSayWhatIsAllowed) {
  EXPECT_EQ(faultOf("local:window=64"), "accepted");
  EXPECT_EQ(faultOf(" local : window = 64 "), "accepted");
  EXPECT_EQ(faultOf("local:window=0"), "\"0\" is not allowed for window | mechanism local | window takes 1 to 16777216");
  EXPECT_EQ(faultOf("local:window=-1"), "\"-1\" is not allowed for window | mechanism local | window takes 1 to 16777216");
  EXPECT_EQ(faultOf("local:window=6x"), "\"6x\" is not allowed for window | mechanism local | window takes 1 to 16777216");
  EXPECT_EQ(faultOf("local:width=64"), "unknown parameter \"width\" | mechanism local | it takes window");
  EXPECT_EQ(faultOf("local:window"), "\"window\" is not key=value | mechanism local | write NAME:key=value,key=value");
  EXPECT_EQ(faultOf("local:window=1,window=2"), "window is given twice | mechanism local | ");
  EXPECT_EQ(faultOf("topp:p=1.5"), "\"1.5\" is not allowed for p | mechanism topp | p takes 1e-06 to 1");
  EXPECT_EQ(faultOf("topp:p=nan"), "\"nan\" is not allowed for p | mechanism topp | p takes 1e-06 to 1");
  EXPECT_EQ(faultOf("linformer:projection=best"),
            "\"best\" is not allowed for projection | mechanism linformer | projection takes pool, gaussian or svd");
  EXPECT_EQ(faultOf("linear:k=1"), "unknown parameter \"k\" | mechanism linear | it takes none");
  EXPECT_NE(faultOf("lokal").find("unknown mechanism \"lokal\""), std::string::npos);
  EXPECT_NE(faultOf("lokal").find("known: dense, causal, local"), std::string::npos);
  EXPECT_NE(faultOf(""), "accepted");
  for (const char* bad :
       {"global:tokens=", "global:tokens=a", "global:tokens=1+", "global:tokens=3-1", "global:tokens=1++2", "block:blocks=1",
        "block:blocks=1.", "block:blocks=.1", "block:blocks=1.2.3", "block:blocks=diagonal+x", "block:blocks=", "performer:features=0",
        "nystrom:landmarks=0", "linformer:rank=0", "clustered:clusters=0", "rfa:seed=-1", "rope:scaling=0"}) {
    EXPECT_NE(faultOf(bad), "accepted") << bad;
  }
  EXPECT_EQ(faultOf("global:tokens=0+5-7"), "accepted");
  EXPECT_EQ(faultOf("block:size=4,blocks=diagonal+previous+1.0+10.3"), "accepted");
}

TEST(Registry, listsAreSplitAtSemicolons) {
  const auto list = parseMechanisms("local:window=8; topk:k=4 ;;linear;");
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[1]->spelled(), "topk:k=4");
  EXPECT_THROW(parseMechanisms(" ; "), Error);
  EXPECT_THROW(parseMechanisms("local;nonsense"), Error);
}

}  // namespace
}  // namespace headscope::tests
