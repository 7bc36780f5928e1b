#include "app/window/lesson_bar.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QToolButton>
#include <algorithm>
#include <utility>

#include "app/window/theme_style.h"

namespace headscope::app {

LessonBar::LessonBar(AppState& state, QWidget* parent) : QWidget(parent), state_(state) {
  setObjectName("lesson");
  setAttribute(Qt::WA_StyledBackground);
  auto* line = new QHBoxLayout(this);
  line->setContentsMargins(16, 8, 8, 8);
  line->setSpacing(12);
  place_ = new QLabel;
  words_ = new QLabel;
  words_->setWordWrap(true);
  words_->setTextFormat(Qt::PlainText);
  words_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  const auto button = [&](const QString& text, const QString& tip) {
    auto* made = new QToolButton;
    made->setText(text);
    made->setToolTip(tip);
    return made;
  };
  back_ = button(tr("back"), tr("The step before (Page Up)"));
  next_ = button(tr("next"), tr("The next step (Space, Page Down)"));
  close_ = button(tr("end"), tr("Put the lesson away and stay here"));
  line->addWidget(place_, 0, Qt::AlignTop);
  line->addWidget(words_, 1, Qt::AlignTop);
  for (QToolButton* each : {back_, next_, close_}) line->addWidget(each, 0, Qt::AlignTop);
  connect(back_, &QToolButton::clicked, this, [this] { move(-1); });
  connect(next_, &QToolButton::clicked, this, [this] { move(1); });
  connect(close_, &QToolButton::clicked, this, &LessonBar::end);
  connect(&state, &AppState::themeChanged, this, &LessonBar::applyTheme);
  setVisible(false);
}

void LessonBar::start(core::Scenario scenario) {
  scenario_ = std::move(scenario);
  applyTheme();
  setVisible(true);
  showStep(0);
}

void LessonBar::end() {
  scenario_ = {};
  setVisible(false);
  Q_EMIT changed();
}

QString LessonBar::text() const { return isRunning() ? words_->text() : QString(); }

void LessonBar::move(int steps) {
  if (!isRunning()) return;
  const int64_t last = static_cast<int64_t>(scenario_.steps.size()) - 1;
  const auto to = static_cast<size_t>(std::clamp<int64_t>(static_cast<int64_t>(step_) + steps, 0, last));
  if (to != step_) showStep(to);
}

void LessonBar::showStep(size_t step) {
  step_ = step;
  const core::ScenarioStep& shown = scenario_.steps[step];
  place_->setText(tr("%1 of %2").arg(step + 1).arg(scenario_.steps.size()));
  place_->setToolTip(QString::fromStdString(scenario_.title));
  words_->setText(QString::fromStdString(shown.say));
  back_->setEnabled(step > 0);
  next_->setEnabled(step + 1 < scenario_.steps.size());
  state_.applySession(shown.session);
  Q_EMIT changed();
}

void LessonBar::applyTheme() {
  const views::Theme& theme = state_.theme();
  words_->setFont(sansFont(theme.textSize));
  place_->setFont(sansFont(theme.textSize));
  setStyleSheet(QStringLiteral("#lesson { background: %1; border-bottom: 1px solid %2; border-left: 3px solid %3; } QLabel { color: %4; }")
                    .arg(toQt(theme.raised).name(), toQt(theme.line).name(), toQt(theme.accent).name(), toQt(theme.ink).name()));
}

}  // namespace headscope::app
