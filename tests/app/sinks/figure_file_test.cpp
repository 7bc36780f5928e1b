#include "app/sinks/figure_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <QImage>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "app/sinks/figure_session.h"
#include "app/sinks/qt_fonts.h"
#include "core/base/error.h"
#include "tests/support/program.h"
#include "tests/views/support.h"

namespace headscope::app {
namespace {
namespace fs = std::filesystem;

using tests::contents;

class FigureFile : public ::testing::Test {
 protected:
  void SetUp() override {
    session.model = "tales", session.prompt = "the cat <sat> & \"down\" \xF0\x9F\x99\x82";
    session.panes = {{"attention_map", {}}};
    session.selection.layer = 1, session.selection.head = 5;
  }
  void TearDown() override { fs::permissions(folder, fs::perms::owner_all); }
  views::Figure picture() const {
    const auto data = tests::attentionFrom("the <cat> 漢字 & | 1 | 0.4 0.6 | 0.7 0.2 0.1 | 0.1 0.2 0.3 0.4");
    const views::Theme theme = views::paperTheme();
    const QtTextMeasure measure;
    return views::drawAttentionMap(*data, {}, {}, {}, {theme, measure, {243.78, 0}, true});
  }

  OffscreenApplication application;
  tests::TemporaryFolder scratch;
  const fs::path folder = scratch.path();
  core::Session session;
};

TEST_F(FigureFile, TheSessionComesBackFromEveryFormat) {
  for (const char* name : {"a.svg", "a.pdf", "a.png"}) {
    writeFigure(folder / name, picture(), session);
    EXPECT_EQ(sessionFromFile(folder / name), session) << name;
  }
  fs::rename(folder / "a.pdf", folder / "renamed.svg");  // the kind is told from the bytes
  EXPECT_EQ(sessionFromFile(folder / "renamed.svg"), session);
  std::ofstream(folder / "s.headscope") << core::toJson(session);
  EXPECT_EQ(sessionFromFile(folder / "s.headscope"), session);
}

TEST_F(FigureFile, ALongSessionComesBackToo) {
  for (int i = 0; i < 200'000; ++i) session.prompt += static_cast<char>('a' + (i * 7919 + i / 26) % 26);
  for (const char* name : {"a.svg", "a.pdf", "a.png"}) {
    writeFigure(folder / name, picture(), session);
    EXPECT_EQ(sessionFromFile(folder / name), session) << name;
  }
}

TEST_F(FigureFile, TheSameFigureGivesTheSameBytes) {
  for (const char* ending : {".svg", ".png", ".pdf"}) {
    writeFigure(folder / (std::string("a") + ending), picture(), session);
    writeFigure(folder / (std::string("b") + ending), picture(), session);
    EXPECT_EQ(contents(folder / (std::string("a") + ending)), contents(folder / (std::string("b") + ending))) << ending;
  }
}

TEST_F(FigureFile, SvgTextStaysTextAndNothingElseIsInIt) {
  writeFigure(folder / "a.svg", picture(), session);
  const std::string svg = contents(folder / "a.svg");
  EXPECT_NE(svg.find(">·漢字</text>"), std::string::npos);
  EXPECT_NE(svg.find(">·&lt;cat&gt;</text>"), std::string::npos);
  EXPECT_NE(svg.find(">bits</text>"), std::string::npos);
  EXPECT_NE(svg.find("font-family=\"Inter, "), std::string::npos);
  for (const char* word : {"sink", "Qt"}) EXPECT_EQ(svg.find(word), std::string::npos) << word;
  EXPECT_EQ(svg.find("<path"), std::string::npos);  // no glyph outlines
  EXPECT_NE(svg.find("width=\"243.78pt\""), std::string::npos);
  EXPECT_NE(svg.find("stroke-width=\"0.25\""), std::string::npos);
}

TEST_F(FigureFile, PdfHasEmbeddedFontsAndOnePage) {
  writeFigure(folder / "a.pdf", picture(), session);
  const std::string pdf = contents(folder / "a.pdf");
  EXPECT_NE(pdf.find("/FontFile2"), std::string::npos);
  EXPECT_NE(pdf.find("/MediaBox [0 0 243.780000 "), std::string::npos);
  EXPECT_EQ(pdf.find("/Type /Page\n", pdf.find("/Type /Page\n") + 1), std::string::npos);
}

TEST_F(FigureFile, PngScalesAndKnowsItsSize) {
  FigureFileOptions options;
  options.pixelsPerPoint = 2;
  writeFigure(folder / "a.png", picture(), session, options);
  const QImage image(QString::fromStdString((folder / "a.png").string()));
  EXPECT_EQ(image.width(), 488);
  EXPECT_NEAR(image.dotsPerMeterX() * 0.0254, 144, 0.1);
  options.pixelsPerPoint = 1000;
  EXPECT_THROW(writeFigure(folder / "a.png", picture(), session, options), core::Error);
}

TEST_F(FigureFile, UnknownEndingsAreRefused) {
  EXPECT_THROW(writeFigure(folder / "a.bmp", picture(), session), core::Error);
  EXPECT_THROW(writeFigure(folder / "a", picture(), session), core::Error);
}

TEST_F(FigureFile, AFolderThatCannotBeWrittenLeavesTheOldFile) {
  if (::geteuid() == 0) GTEST_SKIP() << "root writes everywhere; the absent folder below covers the message";
  std::ofstream(folder / "a.svg") << "old";
  fs::permissions(folder, fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_THROW(writeFigure(folder / "a.svg", picture(), session), core::Error);
  EXPECT_EQ(contents(folder / "a.svg"), "old");
}

TEST_F(FigureFile, AnAbsentFolderIsNamed) {
  try {
    writeFigure(folder / "no" / "a.svg", picture(), session);
    FAIL();
  } catch (const core::Error& e) {
    EXPECT_NE(std::string(e.what()).find("a.svg"), std::string::npos);
  }
}

TEST_F(FigureFile, AFullDiskLeavesTheOldFile) {
  // A limit on file sizes stands for the full disk: writes beyond it fail in the same way.
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  for (const char* name : {"a.svg", "a.pdf", "a.png"}) {
    std::ofstream(folder / name) << "old";
    const rlimit tight{1000, before.rlim_max};
    const views::Figure figure = picture();
    ::setrlimit(RLIMIT_FSIZE, &tight);
    EXPECT_THROW(writeFigure(folder / name, figure, session), core::Error) << name;
    ::setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(contents(folder / name), "old");
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 3) << "no temporary file stays behind";
  std::signal(SIGXFSZ, old);
}

TEST_F(FigureFile, CsvQuotes) {
  writeCsv(folder / "a.csv", {{"a", "b"}, {{"1", "x,\"y\""}, {"2", "line\nend"}}});
  EXPECT_EQ(contents(folder / "a.csv"), "a,b\n1,\"x,\"\"y\"\"\"\n2,\"line\nend\"\n");
}

TEST_F(FigureFile, CaptionNamesWhatMadeIt) {
  writeCaption(folder / "a.svg", picture(), session);
  const std::string text = contents(folder / "a.txt");
  for (const char* part : {"layer 0, head 0", "tales", "the cat", "sqrt", "Headscope 0."})
    EXPECT_NE(text.find(part), std::string::npos) << part;
}

TEST_F(FigureFile, HostileFiguresGiveAnErrorThatNamesTheFile) {
  const auto bad = [&](const std::string& name, const std::string& bytes) {
    std::ofstream(folder / name, std::ios::binary) << bytes;
    try {
      sessionFromFile(folder / name);
      ADD_FAILURE() << name << " was taken";
    } catch (const core::Error& e) {
      EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
    }
  };
  bad("empty.svg", "");
  bad("noise.bin", std::string("\0\1\2\3", 4));
  bad("plain.svg", "<svg><rect/></svg>");
  bad("cut.svg", "<svg><metadata id=\"headscope-session\">{\"mo");
  bad("wrong.svg", "<svg><metadata id=\"headscope-session\">{\"model\": 3}</metadata></svg>");
  std::string bomb = "<?xml version=\"1.0\"?><!DOCTYPE svg [<!ENTITY a \"aaaaaaaaaaaaaaaaaaaa\">";
  for (char c = 'b'; c < 'l'; ++c) {
    bomb += std::string("<!ENTITY ") + c + " \"";
    for (int i = 0; i < 10; ++i) bomb += std::string("&") + static_cast<char>(c - 1) + ";";
    bomb += "\">";
  }
  bad("entities.svg", bomb + "]><svg><metadata id=\"headscope-session\">&k;</metadata></svg>");
  bad("plain.pdf", "%PDF-1.4\n1 0 obj\n<< >>\nendobj\n");
  bad("cut.pdf", "%PDF-1.4\n1 0 obj\n/EF <</F 2 0 R>>\n2 0 obj\n/Filter /FlateDecode >>\nstream\n\x78\x9c");
  bad("noend.pdf", "%PDF-1.4\n/EF <</F 2 0 R>>\n2 0 obj <<>>\nstream\n");
  bad(
      "many.pdf", "%PDF-1.4\n" + [] {
        std::string s;
        for (int i = 0; i < 1000; ++i)
          s += "/EF <</F 99999999999999999999 0 R>> /EF <</F 7 0 R>>\n7 0 obj /FlateDecode stream\nxx endstream\n";
        return s;
      }());
  bad("cut.png", std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16));
  bad("long.png", std::string("\x89PNG\r\n\x1a\n\xFF\xFF\xFF\xFFtEXtheadscope-session\0{}", 37));
  bad("bomb.png", std::string("\x89PNG\r\n\x1a\n\0\0\0\x18zTXtheadscope-session\0\0\x78\x9c\1\2\3\4\5\6", 44));
  bad("deep.json", "{\"a\":" + std::string(5000, '['));
  for (const char* name : {"good.pdf", "good.png", "good.svg"}) {
    writeFigure(folder / name, picture(), session);
    const std::string whole = contents(folder / name);
    for (size_t cut = 1; cut < whole.size(); cut += whole.size() / 40) {  // half a file never crashes
      std::string half = whole.substr(0, cut);
      half[cut / 2] = static_cast<char>(half[cut / 2] ^ 0x5A);
      std::ofstream(folder / "half", std::ios::binary) << half;
      try {
        sessionFromFile(folder / "half");
      } catch (const core::Error&) {
      }
    }
  }
}

}  // namespace
}  // namespace headscope::app
