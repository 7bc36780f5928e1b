#include "app/window/notice_bar.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QToolButton>
#include <algorithm>

#include "app/window/theme_style.h"

namespace headscope::app {
namespace {
constexpr int kInformation_ms = 6000;
constexpr size_t kMostWaiting = 8;
}  // namespace

NoticeBar::NoticeBar(AppState& state, QWidget* parent) : QWidget(parent), state_(state) {
  setObjectName("notice");
  setAttribute(Qt::WA_StyledBackground);
  auto* line = new QHBoxLayout(this);
  line->setContentsMargins(16, 4, 8, 4);
  label_ = new QLabel;
  label_->setWordWrap(true);
  label_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  label_->setTextFormat(Qt::PlainText);
  close_ = new QToolButton;
  close_->setText(tr("close"));
  close_->setToolTip(tr("Put this message away (Esc)"));
  line->addWidget(label_, 1);
  line->addWidget(close_, 0, Qt::AlignTop);
  timer_.setSingleShot(true);
  connect(&timer_, &QTimer::timeout, this, &NoticeBar::showNext);
  connect(close_, &QToolButton::clicked, this, &NoticeBar::showNext);
  connect(&state, &AppState::noticed, this, &NoticeBar::show);
  connect(&state, &AppState::themeChanged, this, &NoticeBar::applyTheme);
  setVisible(false);
}

QString NoticeBar::text() const { return isShowing_ ? current_.text : QString(); }

void NoticeBar::show(const Notice& notice) {
  if (isShowing_ && current_.text == notice.text) return;
  // An error is shown at once, before what waits; the newest error is the one that matters.
  if (notice.kind == Notice::Kind::Error) {
    waiting_.push_front(notice);
    showNext();
    return;
  }
  const bool isWaiting = std::any_of(waiting_.begin(), waiting_.end(), [&](const Notice& w) { return w.text == notice.text; });
  if (!isWaiting && waiting_.size() < kMostWaiting) waiting_.push_back(notice);
  if (!isShowing_) showNext();
}

void NoticeBar::showNext() {
  timer_.stop();
  isShowing_ = !waiting_.empty();
  if (isShowing_) {
    current_ = waiting_.front();
    waiting_.pop_front();
    label_->setText(current_.text);
    applyTheme();
    if (current_.kind == Notice::Kind::Information) timer_.start(kInformation_ms);
  }
  setVisible(isShowing_);
}

void NoticeBar::dismissErrors() {
  if (isShowing_ && current_.kind == Notice::Kind::Error) showNext();
}

void NoticeBar::applyTheme() {
  const views::Theme& theme = state_.theme();
  const bool isError = current_.kind == Notice::Kind::Error;
  label_->setFont(sansFont(theme.textSize));
  setStyleSheet(QStringLiteral("#notice { background: %1; border-bottom: 1px solid %2; border-left: 3px solid %3; } QLabel { color: %3; }")
                    .arg(toQt(theme.raised).name(), toQt(theme.line).name(), toQt(isError ? theme.error : theme.ink).name()));
}

}  // namespace headscope::app
