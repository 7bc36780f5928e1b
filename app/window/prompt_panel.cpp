#include "app/window/prompt_panel.h"

#include <QAbstractTextDocumentLayout>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QMenu>
#include <QMimeData>
#include <QScrollArea>
#include <QScrollBar>
#include <QTextBlock>
#include <QTextLayout>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>
#include <cmath>

#include "app/window/theme_style.h"
#include "app/window/token_strip.h"
#include "views/token_text.h"

namespace headscope::app {
namespace {
constexpr int kMostLines = 3, kMostTokenRows = 3;
}

PromptEdit::PromptEdit(AppState& state, QWidget* parent) : QPlainTextEdit(parent), state_(state), mostLines_(kMostLines) {
  setObjectName("promptEdit");
  setTabChangesFocus(true);
  setFrameShape(QFrame::NoFrame);
  setPlaceholderText(tr("Type a sentence"));
  setToolTip(tr("The prompt: it is run again as you type (Ctrl+L comes here, Esc leaves)"));
  setVerticalScrollBarPolicy(Qt::ScrollBarAsNeeded);
  setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  document()->setDocumentMargin(2);
  connect(document()->documentLayout(), &QAbstractTextDocumentLayout::documentSizeChanged, this, &PromptEdit::fitLines);
  fitLines();
}

void PromptEdit::fitLines() {
  // A plain text document's height is its count of lines as wrapped.
  const int lines = std::clamp(static_cast<int>(document()->size().height()), 1, mostLines_);
  // Lines as they are laid out can be a little higher than the type says; a pixel too few and the last one would scroll.
  const QTextBlock first = document()->firstBlock();
  const int laidOut = first.layout() ? std::max(1, first.layout()->lineCount()) : 1;
  const double line = std::max(static_cast<double>(fontMetrics().lineSpacing()), blockBoundingRect(first).height() / laidOut);
  setFixedHeight(static_cast<int>(std::ceil(lines * line)) + 6);
}

void PromptEdit::setMostLines(int lines) {
  mostLines_ = lines;
  fitLines();
}

void PromptEdit::resizeEvent(QResizeEvent* event) {
  QPlainTextEdit::resizeEvent(event);
  fitLines();
}

void PromptEdit::insertFromMimeData(const QMimeData* source) {
  const QString text = source->text();
  const auto room = std::max<qsizetype>(0, AppState::kMostCharacters - (toPlainText().size() - textCursor().selectedText().size()));
  if (text.size() > room) state_.say(tr("The text was cut to its first %L1 of %L2 characters").arg(room).arg(text.size()));
  textCursor().insertText(text.left(room));
  ensureCursorVisible();
}

void PromptEdit::keyPressEvent(QKeyEvent* event) {
  if (event->key() == Qt::Key_Escape) {
    clearFocus();
    return;
  }
  QPlainTextEdit::keyPressEvent(event);
}

PromptPanel::PromptPanel(AppState& state, QWidget* parent) : QWidget(parent), state_(state) {
  setObjectName("paper");
  setAttribute(Qt::WA_StyledBackground);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 6, 0, 4);
  column->setSpacing(2);
  auto* top = new QHBoxLayout;
  top->setContentsMargins(16, 0, 16, 0);
  top->setSpacing(12);
  title_ = new QLabel(tr("Prompt"));
  title_->setToolTip(tr("The text that the model reads"));
  count_ = new QLabel;
  editor_ = new PromptEdit(state);
  pair_ = new PromptEdit(state);
  pair_->setObjectName("pairEdit");
  pair_->setPlaceholderText(tr("A second segment, if there is one"));
  pair_->setToolTip(tr("Text of the second segment: its tokens have type 1"));
  const auto button = [this](const char* name) {
    auto* made = new QToolButton(this);
    made->setObjectName(QLatin1String(name));
    made->setAutoRaise(true);
    return made;
  };
  chat_ = button("chat");
  chat_->setText(tr("chat"));
  chat_->setPopupMode(QToolButton::InstantPopup);
  chat_->setMenu(new QMenu(chat_));
  image_ = button("image");
  auto* texts = new QVBoxLayout;
  texts->setSpacing(2);
  for (QWidget* each : std::initializer_list<QWidget*>{editor_, pair_, image_}) texts->addWidget(each);
  texts->setAlignment(image_, Qt::AlignLeft);
  top->addWidget(title_, 0, Qt::AlignTop);
  top->addLayout(texts, 1);
  top->addWidget(chat_, 0, Qt::AlignTop);
  top->addWidget(count_, 0, Qt::AlignTop);
  column->addLayout(top);
  strip_ = new TokenStrip(state);
  scroll_ = new QScrollArea;
  scroll_->setFrameShape(QFrame::NoFrame);
  scroll_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  scroll_->setWidget(strip_);
  scroll_->viewport()->setAutoFillBackground(false);
  strip_->setAutoFillBackground(false);
  column->addWidget(scroll_);
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);

  connect(strip_, &TokenStrip::heightChanged, this, &PromptPanel::fitStrip);
  connect(editor_, &QPlainTextEdit::textChanged, this, [this] {
    if (!isFollowing_) state_.setPrompt(editor_->toPlainText(), true);
  });
  connect(pair_, &QPlainTextEdit::textChanged, this, [this] {
    if (!isFollowing_) state_.setPair(pair_->toPlainText());
  });
  connect(image_, &QToolButton::clicked, this, &PromptPanel::imageWanted);
  connect(&state, &AppState::promptReplaced, this, &PromptPanel::follow);
  connect(&state, &AppState::modelChanged, this, &PromptPanel::showSource);
  connect(&state, &AppState::traceChanged, this, &PromptPanel::showCount);
  connect(&state, &AppState::selectionChanged, this, [this] {
    const auto trace = state_.trace();
    const int64_t query = state_.selection().query;
    if (trace && query >= 0 && query < trace->count() && !strip_->underMouse()) {
      const QPoint centre = strip_->chipRect(query).center();
      scroll_->ensureVisible(centre.x(), centre.y(), 0, strip_->rowHeight() / 2);
    }
  });
  connect(&state, &AppState::themeChanged, this, &PromptPanel::applyTheme);
  applyTheme();
  showSource();
  fitStrip();
}

void PromptPanel::follow() {
  isFollowing_ = true;
  if (editor_->toPlainText() != state_.promptText()) editor_->setPlainText(state_.promptText());
  if (pair_->toPlainText() != state_.pairText()) pair_->setPlainText(state_.pairText());
  isFollowing_ = false;
  showSource();
}

void PromptPanel::showSource() {
  const OpenedModel& opened = state_.opened();
  const bool isImage = opened.readsImages();
  title_->setText(isImage ? tr("Image") : tr("Prompt"));
  title_->setToolTip(isImage ? tr("The picture that the model reads") : tr("The text that the model reads"));
  editor_->setVisible(!isImage);
  pair_->setVisible(opened.hasSegments());
  image_->setVisible(isImage);
  const QString path = state_.imagePath();
  image_->setText(path.isEmpty() ? tr("Open image...") : QFileInfo(path).fileName());
  image_->setToolTip((path.isEmpty() ? QString() : path + '\n') +
                     tr("Choose the PNG or JPEG that the model reads (Ctrl+I), or drop one on the window"));
  const bool hasChat = !isImage && opened.chat && !opened.chat->tokens.empty();
  chat_->setVisible(hasChat);
  if (hasChat) fillChatMenu();
}

void PromptPanel::fillChatMenu() {
  const core::ChatTemplate& chat = *state_.opened().chat;
  const auto visible = [](const std::string& text) { return QString::fromStdString(views::visibleText(text)); };
  chat_->setToolTip(tr("Special tokens of the model's chat template, typed as text\nThe template itself is not run"));
  QMenu* menu = chat_->menu();
  menu->clear();
  menu->setToolTipsVisible(true);
  if (!chat.after.empty()) {
    QAction* wrap = menu->addAction(tr("Make the text a turn (%1)").arg(QString::fromStdString(chat.name)), this, [this, chat] {
      const std::string text = editor_->toPlainText().toStdString();
      if (text.starts_with(chat.before)) return;
      editor_->selectAll();  // as if typed: undo takes it back
      editor_->insertPlainText(QString::fromStdString(chat.around(text)));
    });
    wrap->setToolTip(visible(chat.before) + QStringLiteral(" ... ") + visible(chat.after));
    menu->addSeparator();
  }
  for (const std::string& token : chat.tokens) {
    QAction* insert = menu->addAction(visible(token).replace('&', QStringLiteral("&&")), this, [this, token] {
      editor_->insertPlainText(QString::fromStdString(token));
      editor_->setFocus();
    });
    insert->setToolTip(tr("Put this special token at the cursor"));
  }
}

void PromptPanel::applyTheme() {
  const views::Theme& theme = state_.theme();
  const QString second = QStringLiteral("color: %1").arg(toQt(theme.inkSecond).name());
  for (QLabel* label : {title_, count_}) {
    label->setFont(sansFont(theme.smallSize));
    label->setStyleSheet(second);
    label->setFixedHeight(sansFont(theme.textSize).pixelSize() + 10);
  }
  for (QWidget* text : std::initializer_list<QWidget*>{editor_, pair_, image_}) text->setFont(sansFont(theme.textSize));
  chat_->setFont(sansFont(theme.smallSize));
}

void PromptPanel::showCount() {
  const auto trace = state_.trace();
  if (!trace) {
    count_->clear();
    return;
  }
  QString text = trace->count() == 1 ? tr("1 token") : tr("%L1 tokens").arg(trace->count());
  QString tip = tr("Tokens that the model reads");
  if (trace->spec().image) {
    text = tr("%L1 × %L2 pixels").arg(trace->spec().image->width).arg(trace->spec().image->height);
    tip = tr("What the model sees of the picture: %L1 patches of %2 × %2 pixels")
              .arg(trace->spec().image->patches())
              .arg(trace->spec().image->patch);
  }
  const std::vector<std::string>& notes = trace->prompt().notes;
  if (!notes.empty()) {
    if (std::any_of(notes.begin(), notes.end(), [](const std::string& n) { return n.find(" cut") != std::string::npos; }))
      text += tr(", cut");
    for (const std::string& note : trace->prompt().notes) tip += '\n' + QString::fromStdString(note);
  }
  const int64_t context = trace->spec().context;
  if (context > 0 && trace->count() > context) {
    text += tr(", beyond the trained %L1").arg(context);
    tip += tr("\nThe model was trained on at most %L1 tokens: what it does beyond is outside its training").arg(context);
  }
  count_->setText(text);
  count_->setToolTip(tip);
}

void PromptPanel::setLow(bool isLow) {
  if (isLow == isLow_) return;
  isLow_ = isLow;
  for (PromptEdit* text : {editor_, pair_}) text->setMostLines(isLow ? 1 : kMostLines);
  fitStrip();
}

void PromptPanel::fitStrip() {
  const int width = scroll_->viewport()->width();
  strip_->resize(width, strip_->height());
  strip_->resize(width, strip_->heightForWidth(width));
  const int rows = std::clamp(strip_->heightForWidth(width) / strip_->rowHeight(), isLow_ ? 1 : 2, isLow_ ? 1 : kMostTokenRows);
  scroll_->setFixedHeight(rows * strip_->rowHeight() + 2);
}

void PromptPanel::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  fitStrip();
}

}  // namespace headscope::app
