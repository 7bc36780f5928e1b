#include "app/window/app_state.h"

#include <QStringList>
#include <algorithm>
#include <utility>

#include "app/assets.h"
#include "app/sinks/figure_session.h"
#include "core/backend/open_backend.h"

namespace headscope::app {
namespace {

constexpr int kTypingRest_ms = 120;

}  // namespace

QString describe(const core::Error& error) {
  QString text = QString::fromStdString(error.fault());
  if (!error.where().empty()) text = QString::fromStdString(error.where()) + QStringLiteral(": ") + text;
  if (!error.hint().empty()) text += QStringLiteral("; ") + QString::fromStdString(error.hint());
  return text;
}

AppState::AppState(QObject* parent) : QObject(parent), jobs_(std::make_unique<JobRunner>(3)) {
  hover_.layer = hover_.head = -1;
  typing_.setSingleShot(true);
  typing_.setInterval(kTypingRest_ms);
  connect(&typing_, &QTimer::timeout, this, &AppState::runPrompt);
  connect(jobs_.get(), &JobRunner::submitted, this, [this](const std::string& lane) {
    if (stopped_.erase(lane) > 0) Q_EMIT stoppedChanged();
  });
}

AppState::~AppState() = default;

void AppState::start(const StartOptions& options) {
  device_ = options.device, precision_ = options.precision;
  strength_ = options.strength;
  promptText_ = QString::fromStdString(options.prompt), pairText_ = QString::fromStdString(options.pair);
  imagePath_ = QString::fromStdString(options.image);
  Q_EMIT promptReplaced();
  openBackend();
  if (options.session.empty()) {
    openModel(QString::fromStdString(options.model), QString::fromStdString(options.adapter));
    return;
  }
  jobs_->submit(
      "session", "Reading the session",
      [this, options](core::Job&) -> JobRunner::Delivery {
        core::Session session = sessionFromFile(options.session);
        // What the command line says beside the session goes before what the session says.
        if (options.hasModel) session.model = options.model;
        if (options.hasPrompt) session.prompt = options.prompt, session.pair = options.pair;
        if (!options.image.empty()) session.image = options.image, session.imageHash.clear();
        return [this, session] { applySession(session); };
      },
      [this, options](const core::Error& e) {
        report(e);
        openModel(QString::fromStdString(options.model), QString::fromStdString(options.adapter));
      });
}

void AppState::openBackend() {
  jobs_->submit(
      "backend", "Choosing the device",
      [this, device = device_, precision = precision_](core::Job&) -> JobRunner::Delivery {
        auto backend = core::openBackend(device, core::precisionOf(precision));
        return [this, backend] {
          backend_ = backend;
          Q_EMIT modelChanged();
          runPrompt();
        };
      },
      [this](const core::Error& e) { report(e); });
}

int64_t AppState::layers() const { return opened_.model ? opened_.model->spec().layers : 0; }
int64_t AppState::heads() const { return opened_.model ? opened_.model->spec().heads : 0; }

views::ViewInput AppState::viewInput(int pane) const {
  return {opened_.model, trace_, baseTrace_, scores_, selection_, panes_.at(pane).options};
}

core::Session AppState::session() const {
  core::Session session;
  session.model = opened_.source;
  session.adapter = opened_.adapterSource;
  session.strength = strength_;
  session.prompt = promptText_.toStdString(), session.pair = pairText_.toStdString();
  if (opened_.readsImages()) session.image = imagePath_.toStdString(), session.imageHash = imageHash_;
  session.mechanism = mechanism_, session.replacedHeads = replacedHeads_;
  session.panes = panes_.visible();
  session.selection = selection_;
  session.theme = theme_.isDark ? "dark" : "light";
  return session;
}

// ---- model and prompt

void AppState::openModel(const QString& source, const QString& adapter) {
  asked_ = {source, adapter};
  jobs_->submit(
      "model", "Opening " + source.toStdString(),
      [this, source = source.toStdString(), adapter = adapter.toStdString(), strength = strength_](core::Job& job) -> JobRunner::Delivery {
        auto opened = std::make_shared<OpenedModel>(openModelFiles(source, adapter, strength, job));
        return [this, opened] { takeModel(std::move(*opened)); };
      },
      [this](const core::Error& e) { report(e); });
}

void AppState::openAdapter(const QString& folder) {
  if (!opened_.model) return;
  asked_ = {QString::fromStdString(opened_.source), folder};
  jobs_->submit(
      "model", "Opening the adapter",
      [this, opened = opened_, folder = folder.toStdString(), strength = strength_](core::Job& job) -> JobRunner::Delivery {
        auto changed = std::make_shared<OpenedModel>(withAdapter(opened, folder, strength, job));
        return [this, changed] { takeModel(std::move(*changed)); };
      },
      [this](const core::Error& e) { report(e); });
}

void AppState::setStrength(double strength) {
  if (strength == strength_) return;
  strength_ = strength;
  if (!opened_.adapterSource.empty()) openAdapter(QString::fromStdString(opened_.adapterSource));
}

void AppState::takeModel(OpenedModel opened) {
  const bool isSameBase = opened_.base == opened.base;
  opened_ = std::move(opened);
  panes_.suit(opened_.model->spec().input);
  ++modelNumber_;
  if (!isSameBase) {
    if (trace_ && selection_.query == trace_->count() - 1) selection_.query = -1;
    trace_.reset(), baseTrace_.reset(), scores_.reset();
    nextTokens_.clear();
    history_.clear();
    rowWeightsOf_.reset();
    selection_.brushed.clear();
    Q_EMIT traceChanged();
    Q_EMIT scoresChanged();
  }
  clampSelection();
  Q_EMIT panesChanged();
  Q_EMIT modelChanged();
  for (const std::string& note : opened_.model->spec().notes) say(QString::fromStdString(note));
  for (const std::string& note : opened_.notes) say(QString::fromStdString(note));
  runPrompt();
}

void AppState::setPrompt(const QString& text, bool isTyped) {
  QString kept = text;
  if (kept.size() > kMostCharacters) {
    kept.truncate(kMostCharacters);
    say(tr("The text was cut to its first %L1 of %L2 characters").arg(kMostCharacters).arg(text.size()));
  }
  if (kept == promptText_) return;
  promptText_ = kept;
  if (!isTyped) Q_EMIT promptReplaced();
  jobs_->cancel("forward");
  typing_.start();
}

void AppState::setPair(const QString& text) {
  if (text == pairText_) return;
  pairText_ = text.left(kMostCharacters);
  jobs_->cancel("forward");
  typing_.start();
}

void AppState::setImage(const QString& path) {
  if (opened_.model && !opened_.readsImages()) {
    report(core::Error("this is a picture, and the open model reads text", path.toStdString(), "open the folder of a vision model first"));
    return;
  }
  imagePath_ = path;
  imageHash_.clear();
  Q_EMIT promptReplaced();
  runPrompt();
}

void AppState::stopJobs() {
  for (const auto& [lane, title] : jobs_->lanes()) {
    // A file half written or a session half read is asked for again by whoever wanted it.
    const bool canResume = lane != "export" && lane != "session" && lane != "preview";
    if (canResume) stopped_[lane] = title;
  }
  jobs_->cancelAll();
  Q_EMIT stoppedChanged();
}

void AppState::resume() {
  const auto stopped = std::exchange(stopped_, {});
  const auto was = [&](const char* lane) { return stopped.count(lane) > 0; };
  Q_EMIT stoppedChanged();
  if (was("backend")) openBackend();
  if (was("model")) {
    openModel(asked_.first, asked_.second);
  } else if (was("forward")) {
    runPrompt();
  } else if (trace_) {
    if (was("scores")) runScores(false);
    if (was("key scores")) runScores(true);
    if (was("next token")) runNextTokens();
    if (was("baseline")) runBaseline();
    if (was("true model")) runTrueModel();
  }
  Q_EMIT panesChanged();  // panes ask again for what they lack
}

QString AppState::stoppedText() const {
  QStringList titles;
  for (const auto& [lane, title] : stopped_) titles << QString::fromStdString(title);
  titles.removeDuplicates();
  return titles.join(QStringLiteral(", "));
}
void AppState::report(const core::Error& error) { Q_EMIT noticed({Notice::Kind::Error, describe(error)}); }

// ---- selection

void AppState::clampSelection() {
  const auto clamped = [](int64_t v, int64_t count, int64_t low) { return std::clamp<int64_t>(v, low, std::max<int64_t>(low, count - 1)); };
  selection_.layer = clamped(selection_.layer, layers(), 0);
  selection_.head = clamped(selection_.head, heads(), 0);
  const int64_t count = trace_ ? trace_->count() : 0;
  if (!trace_) return;
  selection_.query = clamped(selection_.query, count, -1);
  selection_.key = clamped(selection_.key, count, -1);
}

void AppState::select(const core::Selection& selection, bool isUndoable) {
  const core::Selection before = selection_;
  selection_ = selection;
  clampSelection();
  if (selection_ == before) return;
  isHeadChosen_ = true;
  if (isUndoable) history_.add(before);
  if (selection_.query != before.query) runNextTokens();
  Q_EMIT selectionChanged();
}

void AppState::moveHead(int layerStep, int headStep) {
  if (!opened_.model) return;
  core::Selection next = selection_;
  next.layer = std::clamp<int64_t>(next.layer + layerStep, 0, layers() - 1);
  next.head = std::clamp<int64_t>(next.head + headStep, 0, heads() - 1);
  next.brushed.clear();
  select(next);
}

void AppState::moveQuery(int tokens) {
  if (!trace_) return;
  core::Selection next = selection_;
  next.query = std::clamp<int64_t>(next.query + tokens, 0, trace_->count() - 1);
  select(next);
}

void AppState::setHover(const core::Selection& hover) {
  if (hover == hover_) return;
  hover_ = hover;
  Q_EMIT hoverChanged();
}

void AppState::undo() {
  if (const auto back = history_.undo(selection_)) select(*back, false);
}

void AppState::redo() {
  if (const auto forth = history_.redo(selection_)) select(*forth, false);
}

// ---- panes and sessions

void AppState::setPaneCount(int count) {
  panes_.setCount(count);
  Q_EMIT panesChanged();
}

void AppState::focusPane(int index) {
  if (index == panes_.focused()) return;
  panes_.focus(index);
  Q_EMIT panesChanged();
}

void AppState::toggleMaximised(int index) {
  panes_.toggleMaximised(index);
  Q_EMIT panesChanged();
}

void AppState::setView(int index, const std::string& view) {
  panes_.setView(index, view);
  Q_EMIT panesChanged();
}

void AppState::setOptions(int index, const core::ViewOptions& options) {
  panes_.setOptions(index, options);
  if (options.sortBy.rfind("keys", 0) == 0 || options.sortBy.rfind("weighted_keys", 0) == 0) wantKeyScores();
  Q_EMIT panesChanged();
}

void AppState::applySession(const core::Session& session) {
  strength_ = session.strength;
  mechanism_ = session.mechanism, replacedHeads_ = session.replacedHeads;
  panes_.apply(session.panes);
  selection_ = session.selection;
  isHeadChosen_ = true;
  history_.clear();
  promptText_ = QString::fromStdString(session.prompt).left(kMostCharacters);
  pairText_ = QString::fromStdString(session.pair).left(kMostCharacters);
  imagePath_ = QString::fromStdString(session.image), imageHash_ = session.imageHash;
  Q_EMIT promptReplaced();
  Q_EMIT panesChanged();
  Q_EMIT selectionChanged();
  openModel(QString::fromStdString(session.model), QString::fromStdString(session.adapter));
}

void AppState::setTheme(const views::Theme& theme) {
  theme_ = theme;
  Q_EMIT themeChanged();
}

}  // namespace headscope::app
