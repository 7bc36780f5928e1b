// Models of images in the window: a picture dropped, patches under the mouse, pictures that can't be read; and prompts of two
// segments, masked words and chat tokens.
#include <QDragEnterEvent>
#include <QDropEvent>
#include <QFile>
#include <QMenu>
#include <QMimeData>
#include <QToolButton>
#include <QUrl>
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "app/render.h"
#include "app/window/head_table.h"
#include "app/window/inspector.h"
#include "app/window/prompt_panel.h"
#include "core/tokenizer/prompt_builder.h"
#include "tests/app/window/window_fixture.h"
#include "tests/support/folders.h"
#include "tests/support/golden.h"

namespace headscope::app {
namespace fs = std::filesystem;

class PictureWindow : public WindowTest {
 protected:
  void SetUp() override {
    HEADSCOPE_REQUIRE_GOLDEN();
    if (!testApplication()) GTEST_SKIP() << "no display: run under xvfb-run";
    QSettings::setPath(QSettings::NativeFormat, QSettings::UserScope, folder_.path());
  }

  void openModelFolder(const QString& folder, const char* prompt = "") {
    StartOptions options;
    options.model = folder.toStdString(), options.prompt = prompt;
    open(options);
    ASSERT_TRUE(waitFor([&] { return state().opened().model != nullptr && state().backend() != nullptr && isDrawn(); }))
        << window_->notices().text().toStdString();
  }
  void openVit() { openModelFolder(QString::fromStdString((tests::goldenFolder() / "models" / "vit").string())); }
  static QString golden(const char* name) { return QString::fromStdString((tests::goldenFolder() / "images" / name).string()); }

  void drop(const QString& path) {
    QMimeData data;
    data.setUrls({QUrl::fromLocalFile(path)});
    QDragEnterEvent enter(QPoint(700, 500), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
    QCoreApplication::sendEvent(window_.get(), &enter);
    EXPECT_TRUE(enter.isAccepted());
    QDropEvent event(QPointF(700, 500), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
    QCoreApplication::sendEvent(window_.get(), &event);
  }
  QString write(const char* name, const QByteArray& bytes) {
    QFile file(folder_.filePath(name));
    EXPECT_TRUE(file.open(QIODevice::WriteOnly));
    file.write(bytes);
    return file.fileName();
  }
  static QByteArray contents(const QString& path) {
    QFile file(path);
    EXPECT_TRUE(file.open(QIODevice::ReadOnly));
    return file.readAll();
  }
  /// A folder with a golden model and a tokenizer beside it.
  QString modelWith(const char* model, const char* tokenizer) {
    const fs::path made = fs::path(folder_.path().toStdString()) / model;
    fs::create_directories(made);
    for (const char* file : {"config.json", "model.safetensors"})
      fs::copy_file(tests::goldenFolder() / "models" / model / file, made / file);
    fs::copy_file(tests::goldenFolder() / "tokenizers" / tokenizer / "tokenizer.json", made / "tokenizer.json");
    return QString::fromStdString(made.string());
  }
};

TEST_F(PictureWindow, aVisionModelAsksForAPictureAndADroppedOneIsRead) {
  openVit();
  frame();
  EXPECT_FALSE(window_->promptPanel().editor()->isVisible());
  EXPECT_EQ(window_->promptPanel().imageButton()->text(), "Open image...");
  const views::Figure& empty = window_->canvas()->workspace()->figure(1);
  ASSERT_FALSE(empty.content.empty());
  EXPECT_NE(std::get<views::TextItem>(empty.content[0].shape).text.find("drop a PNG or JPEG"), std::string::npos);

  drop(golden("wide.png"));
  ASSERT_TRUE(waitFor([&] { return state().trace() != nullptr; })) << window_->notices().text().toStdString();
  EXPECT_EQ(window_->promptPanel().imageButton()->text(), "wide.png");
  EXPECT_EQ(state().selection().query, 0) << "the class token";
  EXPECT_EQ(state().pane(1).view, "image") << "without anybody choosing it";
  ASSERT_TRUE(settle());
  frame();
  const auto isPatch = [](int64_t position) {
    return [position](const views::Pick& p) { return p.kind == views::Pick::Kind::KeyToken && p.a == position; };
  };
  const auto classes = state().nextTokens();
  const QPoint patch = findPick(1, isPatch(7));
  QTest::mouseMove(window_->canvas(), patch);
  ASSERT_TRUE(waitFor([&] { return state().hover().key == 7; }));
  clickCanvas(patch);
  ASSERT_TRUE(waitFor([&] { return state().selection().query == 7; }));
  ASSERT_TRUE(settle());
  EXPECT_EQ(views::findView("image")->subject(state().viewInput(1)).find("patch 1, 2") != std::string::npos, true);
  ASSERT_TRUE(waitFor([&] { return window_->inspector().sheet()->sections()[2].title == "Class"; }));
  ASSERT_TRUE(waitFor([&] { return !window_->inspector().sheet()->sections()[2].facts.empty(); }));
  ASSERT_EQ(state().nextTokens().size(), classes.size());
  for (size_t i = 0; i < classes.size(); ++i)
    EXPECT_EQ(state().nextTokens()[i].probability, classes[i].probability) << "of the class token";
  EXPECT_EQ(state().session().image, golden("wide.png").toStdString());
  EXPECT_EQ(state().session().imageHash.size(), 16u);
  window_->grab().save(QString::fromStdString((tests::buildFolder() / "window_image.png").string()));

  drop(golden("gray.png"));
  ASSERT_TRUE(waitFor([&] { return state().jobs().isIdle() && window_->promptPanel().imageButton()->text() == "gray.png"; }));
  EXPECT_EQ(state().selection().query, 7) << "the place one looks at stays";
}

TEST_F(PictureWindow, whatMakesNoSenseForAVisionModelSaysWhy) {
  openVit();
  drop(golden("wide.png"));
  ASSERT_TRUE(settle());
  HeadTableModel* table = window_->headPanel().model();
  EXPECT_EQ(table->score(), "entropy") << "no head of it has a previous-token score";
  EXPECT_TRUE(table->isAscending());
  for (int row = 0; row < table->rowCount(); ++row) EXPECT_NE(table->data(table->index(row, 1), Qt::DisplayRole).toString(), "–");
  for (const char* view : {"words", "kv_cache"}) {
    state().setView(1, view);
    ASSERT_TRUE(settle());
    frame();
    const views::Figure& figure = window_->canvas()->workspace()->figure(1);
    ASSERT_FALSE(figure.content.empty());
    EXPECT_EQ(std::get<views::TextItem>(figure.content[0].shape).text.rfind("This model reads", 0), 0u) << view;
  }
  state().setView(1, "spectra");
  ASSERT_TRUE(settle());
  frame();
  for (const views::Item& item : window_->canvas()->workspace()->figure(1).content) {
    const auto* text = std::get_if<views::TextItem>(&item.shape);
    EXPECT_FALSE(text && text->text == "offset") << "there are no rotary positions";
  }
  state().openModel("tales");
  ASSERT_TRUE(waitFor([&] { return state().opened().model->name() == "tales"; }));
  state().setPrompt("the cat sat on the mat and the cat sat", false);
  ASSERT_TRUE(settle());
  EXPECT_TRUE(table->score() == "previous" || table->score() == "induction") << table->score();
  EXPECT_EQ(state().pane(1).view, "attention_map");
}

TEST_F(PictureWindow, severalHeadsOnPaperAreOnePictureWhereTheyAreOne) {
  openVit();
  drop(golden("wide.png"));
  ASSERT_TRUE(settle());
  core::Selection both = state().selection();
  both.brushed = {{0, 0}, {1, 1}};
  state().select(both);
  const views::View& view = *views::findView("image");
  core::Job job;
  const auto images = [&](const char* form) {
    views::ViewInput input = state().viewInput(1);
    input.options.words["form"] = form;
    const views::Figure figure = paperFigure(view, input, {}, false, job);
    return std::count_if(figure.content.begin(), figure.content.end(),
                         [](const views::Item& item) { return std::holds_alternative<views::ImageItem>(item.shape); });
  };
  const auto shown = [&](int64_t pictures) { return pictures + 1; };  // and the colour bar
  EXPECT_EQ(images("head"), 2 * shown(2));
  EXPECT_EQ(images("rollout"), shown(2) + state().layers());
  EXPECT_EQ(images("heads"), state().layers() * state().heads());
}

TEST_F(PictureWindow, picturesThatCanNotBeReadAreSaidAndTheLastOneStays) {
  openVit();
  drop(golden("wide.png"));
  ASSERT_TRUE(settle());
  QByteArray png = contents(golden("wide.png"));
  QByteArray empty = png, large = png;
  for (int i = 16; i < 24; ++i) empty[i] = 0;
  for (const int i : {16, 20}) large[i] = 0, large[i + 1] = 0, large[i + 2] = '\xEA', large[i + 3] = '\x60';
  const std::pair<QString, const char*> cases[] = {
      {write("empty.png", empty), "0 x 0"},
      {write("large.png", large), "60000 x 60000"},
      {write("cut.png", png.left(png.size() / 2)), "truncated"},
      {write("text.jpg", "this is no picture"), "not an image"},
      {write("cut.jpg", QByteArray("\xFF\xD8\xFF\xE0\x00\x10JFIF", 10)), "cut.jpg"},
  };
  for (const auto& [path, part] : cases) {
    drop(path);
    ASSERT_TRUE(waitFor([&, said = part] { return window_->notices().text().contains(said); }))
        << part << ": " << window_->notices().text().toStdString();
    ASSERT_TRUE(waitFor([&] { return state().jobs().isIdle(); }));
    ASSERT_TRUE(state().trace());
    EXPECT_EQ(window_->promptPanel().imageButton()->text(), "wide.png");
    window_->command("stop")->trigger();
  }
  drop(golden("small.png"));
  ASSERT_TRUE(waitFor([&] { return window_->promptPanel().imageButton()->text() == "small.png"; }));
  ASSERT_TRUE(settle());
}

TEST_F(PictureWindow, aModelOfTextSaysThatItDoesNotReadPictures) {
  open({});
  ASSERT_TRUE(waitFor([&] { return state().opened().model != nullptr; }));
  drop(golden("wide.png"));
  EXPECT_TRUE(waitFor([&] { return window_->notices().text().contains("vision model"); })) << window_->notices().text().toStdString();
}

TEST_F(PictureWindow, twoSegmentsAndAMaskedWord) {
  // The tokenizer's vocabulary is larger than the golden model's: words of low numbers only.
  openModelFolder(modelWith("bert", "bert_wordpiece"), "the [MASK] on");
  ASSERT_TRUE(settle()) << window_->notices().text().toStdString();
  EXPECT_TRUE(window_->promptPanel().pairEditor()->isVisible());
  const auto& tokens = state().trace()->prompt().tokens;
  EXPECT_EQ(tokens[static_cast<size_t>(state().selection().query)].piece, "[MASK]") << "where the masked word is";
  ASSERT_TRUE(waitFor([&] { return window_->inspector().sheet()->sections()[2].facts.size() == 10; }));
  EXPECT_EQ(window_->inspector().sheet()->sections()[2].title, "Fills for \"[MASK]\"");
  PromptEdit* pair = window_->promptPanel().pairEditor();
  pair->setFocus();
  QTest::keyClicks(pair, "a");
  ASSERT_TRUE(waitFor([&] { return state().trace() && state().trace()->prompt().tokens.back().segment == 1; }));
  EXPECT_EQ(state().trace()->prompt().tokens.front().segment, 0);
  EXPECT_EQ(state().session().pair, "a");
  ASSERT_TRUE(settle());
  window_->grab().save(QString::fromStdString((tests::buildFolder() / "window_segments.png").string()));
}

TEST_F(PictureWindow, chatTokensAreOffered) {
  const QString folder = modelWith("qwen2", "qwen2_bytes_nfc");
  std::ofstream((folder + "/chat_template.jinja").toStdString()) << "<|im_start|>{{ role }}<|im_end|>";
  openModelFolder(folder, "hi");
  QToolButton* chat = window_->promptPanel().chatButton();
  ASSERT_TRUE(chat->isVisible());
  ASSERT_GE(chat->menu()->actions().size(), 3);
  chat->menu()->actions()[0]->trigger();
  EXPECT_EQ(window_->promptPanel().editor()->toPlainText(), "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
  const auto isSpecial = [](const core::Token& t) { return t.isSpecial && t.piece == "<|im_start|>"; };
  const auto tokenized = [&] {
    core::Job job;
    return core::promptFromText(*state().opened().tokenizer, window_->promptPanel().editor()->toPlainText().toStdString(), true, -1, job);
  };
  const auto prompt = tokenized();
  EXPECT_EQ(std::count_if(prompt->tokens.begin(), prompt->tokens.end(), isSpecial), 2);
}

}  // namespace headscope::app
