#include "app/window/prompt_panel.h"

#include <QAbstractTextDocumentLayout>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QMimeData>
#include <QScrollArea>
#include <QScrollBar>
#include <QVBoxLayout>
#include <algorithm>

#include "app/window/theme_style.h"
#include "app/window/token_strip.h"

namespace headscope::app {
namespace {
constexpr int kMostLines = 3, kMostTokenRows = 3;
}

PromptEdit::PromptEdit(AppState& state, QWidget* parent) : QPlainTextEdit(parent), state_(state) {
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
  const int lines = std::clamp(static_cast<int>(document()->size().height()), 1, kMostLines);
  setFixedHeight(lines * fontMetrics().lineSpacing() + 6);
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
  top->addWidget(title_, 0, Qt::AlignTop);
  top->addWidget(editor_, 1, Qt::AlignTop);
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
  const auto follow = [this] {
    if (editor_->toPlainText() == state_.promptText()) return;
    isFollowing_ = true;
    editor_->setPlainText(state_.promptText());
    isFollowing_ = false;
  };
  connect(&state, &AppState::promptReplaced, this, follow);
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
  fitStrip();
}

void PromptPanel::applyTheme() {
  const views::Theme& theme = state_.theme();
  const QString second = QStringLiteral("color: %1").arg(toQt(theme.inkSecond).name());
  for (QLabel* label : {title_, count_}) {
    label->setFont(sansFont(theme.smallSize));
    label->setStyleSheet(second);
    label->setFixedHeight(sansFont(theme.textSize).pixelSize() + 10);
  }
  editor_->setFont(sansFont(theme.textSize));
}

void PromptPanel::showCount() {
  const auto trace = state_.trace();
  if (!trace) {
    count_->clear();
    return;
  }
  QString text = trace->count() == 1 ? tr("1 token") : tr("%L1 tokens").arg(trace->count());
  QString tip = tr("Tokens that the model reads");
  if (!trace->prompt().notes.empty()) {
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

void PromptPanel::fitStrip() {
  const int width = scroll_->viewport()->width();
  strip_->resize(width, strip_->height());
  strip_->resize(width, strip_->heightForWidth(width));
  const int rows = std::clamp(strip_->heightForWidth(width) / strip_->rowHeight(), 2, kMostTokenRows);
  scroll_->setFixedHeight(rows * strip_->rowHeight() + 2);
}

void PromptPanel::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  fitStrip();
}

}  // namespace headscope::app
