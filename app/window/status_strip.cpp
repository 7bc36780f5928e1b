#include "app/window/status_strip.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QProgressBar>
#include <QToolButton>
#include <algorithm>
#include <cmath>

#include "app/replaced_run.h"
#include "app/window/theme_style.h"
#include "core/base/memory.h"

namespace headscope::app {
namespace {
constexpr int kTick_ms = 100, kProgressWidth = 96;
constexpr int kProgressSteps = 2 * kProgressWidth;  // as many as are seen at 2x: each repaints the window
constexpr double kQuietFor = 0.15;                  // seconds a job may take before it is mentioned
constexpr int kSteady_ms = 500;                     // what is said stays as long
}  // namespace

StatusStrip::StatusStrip(AppState& state, QWidget* parent) : QWidget(parent), state_(state) {
  setFixedHeight(static_cast<int>(views::ShellMeasures{}.statusBar));
  auto* line = new QHBoxLayout(this);
  line->setContentsMargins(16, 0, 16, 0);
  line->setSpacing(12);
  selection_ = new QLabel, backend_ = new QLabel, job_ = new QLabel, memory_ = new QLabel;
  backend_->setObjectName("backend");
  selection_->setToolTip(tr("What is selected: layer.head, query and key, counted from 0"));
  memory_->setToolTip(tr("Time of the last forward pass, and memory that the program holds, mapped files included"));
  progress_ = new QProgressBar;
  progress_->setRange(0, kProgressSteps);
  progress_->setTextVisible(false);
  progress_->setFixedWidth(kProgressWidth);
  stop_ = new QToolButton;
  stop_->setObjectName("stop");
  stop_->setText(tr("stop"));
  stop_->setToolTip(tr("Stop what is being computed (Esc)"));
  connect(stop_, &QToolButton::clicked, &state, &AppState::stopJobs);
  resume_ = new QToolButton;
  resume_->setObjectName("resume");
  resume_->setText(tr("go on"));
  resume_->setToolTip(tr("Compute what was stopped (Ctrl+R)"));
  connect(resume_, &QToolButton::clicked, &state, &AppState::resume);
  connect(&state, &AppState::stoppedChanged, this, &StatusStrip::showJobs, Qt::QueuedConnection);
  line->addWidget(selection_, 1);
  line->addWidget(backend_, 0, Qt::AlignCenter);
  auto* right = new QHBoxLayout;
  right->setSpacing(8);
  right->addStretch();
  for (QWidget* w : {static_cast<QWidget*>(job_), static_cast<QWidget*>(progress_), static_cast<QWidget*>(stop_),
                     static_cast<QWidget*>(resume_), static_cast<QWidget*>(memory_)})
    right->addWidget(w);
  line->addLayout(right, 1);
  tick_.setInterval(kTick_ms);
  connect(&tick_, &QTimer::timeout, this, &StatusStrip::showJobs);
  // Later, never at once: a job may begin while the canvas draws a frame, and a progress bar repaints itself in setValue, which
  // takes the canvas's framebuffer away in the middle of the frame and leaves it blank.
  connect(&state.jobs(), &JobRunner::changed, this, &StatusStrip::showJobs, Qt::QueuedConnection);
  connect(&state, &AppState::selectionChanged, this, &StatusStrip::showSelection);
  connect(&state, &AppState::traceChanged, this, &StatusStrip::showSelection);
  connect(&state, &AppState::modelChanged, this, &StatusStrip::showBackend);
  connect(&state, &AppState::traceChanged, this, &StatusStrip::showBackend);  // a pass may have lost the device
  connect(&state, &AppState::themeChanged, this, &StatusStrip::applyTheme);
  applyTheme();
  showSelection();
  showBackend();
  showJobs();
}

void StatusStrip::applyTheme() {
  const views::Theme& theme = state_.theme();
  for (QLabel* label : {selection_, backend_, job_, memory_}) {
    label->setFont(sansFont(theme.smallSize));
    label->setStyleSheet(QStringLiteral("color: %1").arg(toQt(theme.inkSecond).name()));
  }
  stop_->setFont(sansFont(theme.smallSize));
  resume_->setFont(sansFont(theme.smallSize));
  setFixedHeight(std::max(static_cast<int>(views::ShellMeasures{}.statusBar), static_cast<int>(theme.smallSize * 2)));
}

void StatusStrip::showSelection() {
  const core::Selection& s = state_.selection();
  QString text;
  if (state_.opened().model) text = QStringLiteral("%1.%2").arg(s.layer).arg(s.head);
  if (state_.trace() && s.query >= 0) text += tr("   query %1").arg(s.query);
  if (state_.trace() && s.key >= 0) text += tr("   key %1").arg(s.key);
  if (!state_.mechanism().empty()) text += "   " + QString::fromStdString(replacedWords(state_.mechanism(), state_.replacedHeads()));
  if (s.brushed.size() > 1) text += tr("   %1 heads").arg(s.brushed.size());
  selection_->setText(text);
}

void StatusStrip::showBackend() {
  const auto backend = state_.backend();
  if (!backend) {
    backend_->clear();
    return;
  }
  const QString name = backend->name() == "cpu" ? tr("CPU") : QString::fromStdString(backend->name()).toUpper();
  QString text = QStringLiteral("%1, %2").arg(name, QString::fromStdString(backend->device()));
  if (!backend->reason().empty()) text += QStringLiteral(" (%1)").arg(QString::fromStdString(backend->reason()));
  backend_->setText(text);
  backend_->setToolTip(tr("Where numbers are computed, and why there"));
}

QString StatusStrip::jobText() const { return job_->text(); }
QString StatusStrip::selectionText() const { return selection_->text(); }

/// Whether the job's text may become `text` now; where not, a later tick asks again.
bool StatusStrip::mayShow(const QString& text, bool isStopped) {
  if (text == job_->text()) return false;
  if (job_->text().isEmpty() || isStopped || isStopped_) return true;
  if (!text.isEmpty()) return changed_.elapsed() >= kSteady_ms;
  if (!gone_.isValid()) gone_.start();
  return gone_.elapsed() >= kSteady_ms;
}

void StatusStrip::showJobs() {
  const auto jobs = state_.jobs().active();
  const auto found = std::find_if(jobs.begin(), jobs.end(), [](const auto& job) { return job->elapsedSeconds() > kQuietFor; });
  const core::Job* shown = found == jobs.end() ? nullptr : found->get();
  const QString stopped = shown ? QString() : state_.stoppedText();
  QString text;
  if (!stopped.isEmpty()) text = tr("stopped: %1").arg(stopped);
  if (shown) {
    gone_.invalidate();
    text = QString::fromStdString(shown->title());
    if (const std::string stage = shown->stage(); !stage.empty()) text += ": " + QString::fromStdString(stage);
    if (const double left = shown->remainingSeconds(); left >= 1) text += tr(", %1 s left").arg(std::ceil(left));
    progress_->setValue(static_cast<int>(shown->fraction() * kProgressSteps));
  }
  if (mayShow(text, !stopped.isEmpty())) {
    job_->setText(text);
    isStopped_ = !stopped.isEmpty();
    changed_.start();
    gone_.invalidate();
  }
  const bool isSaying = !job_->text().isEmpty();
  job_->setVisible(isSaying);
  for (QWidget* w : {static_cast<QWidget*>(progress_), static_cast<QWidget*>(stop_)}) w->setVisible(isSaying && !isStopped_);
  resume_->setVisible(isStopped_);
  showMemory();
  const bool isAtRest = jobs.empty() && text == job_->text() && weighed_.elapsed() >= kSteady_ms;
  if (isAtRest) {
    tick_.stop();
  } else if (!tick_.isActive()) {
    tick_.start();
  }
}

void StatusStrip::showMemory() {
  if (weighed_.isValid() && weighed_.elapsed() < kSteady_ms) return;
  weighed_.start();
  QString text;
  if (const auto trace = state_.trace())
    text = tr("forward %1 ms   ").arg(trace->forwardSeconds() * 1000, 0, 'f', trace->forwardSeconds() < 0.01 ? 1 : 0);
  memory_->setText(text + tr("%1 MB").arg(core::residentBytes() / 1'000'000));
}

}  // namespace headscope::app
