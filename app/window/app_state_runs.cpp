// What AppState runs of a prompt, each in a lane of its own: the forward pass, the same without the adapter or as trained beside it,
// scores, next tokens; and what of their results goes when something newer comes.
#include <algorithm>
#include <cmath>
#include <utility>

#include "app/image_file.h"
#include "app/replaced_run.h"
#include "app/window/app_state.h"
#include "core/attention/attention_map.h"
#include "core/attention/forward.h"
#include "core/attention/telling_heads.h"
#include "core/mechanisms/replace.h"

namespace headscope::app {
namespace {

constexpr int64_t kNextTokens = 10;
/// Key scores are computed unasked up to this many entries of all maps together (about a second of work).
constexpr int64_t kKeyScoresUnasked = 60'000'000;

}  // namespace

void AppState::runPrompt() {
  if (!opened_.model || !backend_) return;
  const PromptSource source{promptText_.toStdString(), pairText_.toStdString(), imagePath_.toStdString()};
  if (source.isEmptyFor(opened_)) {
    jobs_->cancel("forward");
    takeTrace(nullptr);
    return;
  }
  jobs_->submit(
      "forward", "Forward pass",
      [this, opened = opened_, source, backend = backend_, mechanism = mechanism_,
       heads = replacedHeads_](core::Job& job) -> JobRunner::Delivery {
        const auto prompt = promptOf(opened, source, job);
        const std::string hash = opened.readsImages() ? imageFileHash(source.image) : std::string();
        auto trace = core::runForward(opened.model, prompt, backend, replacedRun(opened.model, mechanism, heads, "session", backend), job);
        return [this, trace, source, hash] { takeRun(trace, source.image, hash); };
      },
      [this](const core::Error& e) {
        if (opened_.readsImages() && trace_) {  // the picture that was there stays
          imagePath_ = imageRun_;
        } else {
          imagePath_.clear();
          takeTrace(nullptr);
        }
        Q_EMIT promptReplaced();
        report(e);
      });
}

void AppState::takeRun(std::shared_ptr<const core::Trace> trace, const std::string& image, const std::string& imageHash) {
  if (opened_.readsImages()) {
    if (!imageHash_.empty() && imageHash_ != imageHash) say(tr("%1 is not the picture that the session was made with").arg(imagePath_));
    imageRun_ = QString::fromStdString(image), imageHash_ = imageHash;
  }
  takeTrace(std::move(trace));
}

void AppState::takeTrace(std::shared_ptr<const core::Trace> trace) {
  const bool wasAtEnd = selection_.query < 0 || (trace_ && selection_.query == trace_->count() - 1);  // without a run: a session's
  trace_ = std::move(trace);
  ++traceNumber_;
  baseTrace_.reset(), scores_.reset();
  nextTokens_.clear();
  rowWeightsOf_.reset();
  if (trace_ && wasAtEnd) selection_.query = firstQuery(*trace_), selection_.key = -1;
  clampSelection();
  Q_EMIT traceChanged();
  Q_EMIT selectionChanged();
  if (!trace_) {
    Q_EMIT scoresChanged();
    return;
  }
  for (const std::string& note : trace_->prompt().notes) say(QString::fromStdString(note));
  runScores(false);
  runNextTokens();
  if (!opened_.adapterSource.empty()) runBaseline();
  if (!mechanism_.empty()) runTrueModel();
}

void AppState::runBaseline() {
  jobs_->submit(
      "baseline", "The same without the adapter",
      [this, model = opened_.base, prompt = trace_->sharedPrompt(), backend = backend_](core::Job& job) -> JobRunner::Delivery {
        auto trace = core::runForward(model, prompt, backend, {}, job);
        return [this, trace] {
          baseTrace_ = trace;
          ++traceNumber_;
          Q_EMIT traceChanged();
        };
      },
      [this](const core::Error& e) { report(e); });
}

void AppState::setReplacement(const std::string& mechanism, const std::string& heads) {
  if (mechanism == mechanism_ && heads == replacedHeads_) return;
  mechanism_ = mechanism, replacedHeads_ = heads;
  if (mechanism_.empty()) {
    jobs_->cancel("true model");
    say(tr("The model runs as trained"));
  }
  runPrompt();
}

void AppState::runTrueModel() {
  jobs_->submit(
      "true model", "The same as trained",
      [this, trace = trace_, words = replacedWords(mechanism_, replacedHeads_)](core::Job& job) -> JobRunner::Delivery {
        const auto before = core::runForward(trace->sharedModel(), trace->sharedPrompt(), trace->sharedBackend(), {}, job);
        const core::ModelChange change = core::compareOutputs(*before, *trace, job);
        return [this, words, change] {
          QString text = QString::fromStdString(words);
          if (!std::isnan(change.loss))
            text += tr(": next-token loss %1 to %2 nats").arg(change.lossBefore, 0, 'g', 3).arg(change.loss, 0, 'g', 3);
          if (!std::isnan(change.kl))
            text += tr(", KL %1, top 10 changed %2 %").arg(change.kl, 0, 'g', 3).arg(100 * change.topTenChange, 0, 'g', 2);
          say(text);
        };
      },
      [this](const core::Error& e) { report(e); });
}

void AppState::runScores(bool withKeys) {
  jobs_->submit(
      withKeys ? "key scores" : "scores", withKeys ? "Keys needed by each head" : "Head scores",
      [this, trace = trace_, withKeys](core::Job& job) -> JobRunner::Delivery {
        auto scores = std::make_shared<const core::HeadScores>(core::headScores(*trace, withKeys, job));
        return [this, scores, trace, withKeys] {
          if (trace != trace_) return;
          scores_ = scores;
          if (!isHeadChosen_) {
            const core::HeadRef first = core::firstHeadToShow(*scores);
            selection_.layer = first.layer, selection_.head = first.head;
            isHeadChosen_ = true;
            Q_EMIT selectionChanged();
          }
          Q_EMIT scoresChanged();
          if (!withKeys && trace->count() * trace->count() * layers() * heads() <= kKeyScoresUnasked) runScores(true);
        };
      },
      [this](const core::Error& e) { report(e); });
}

void AppState::wantKeyScores() {
  if (!trace_ || (scores_ && scores_->has("keys.0.9")) || jobs_->isActive("key scores")) return;
  runScores(true);
}

void AppState::runNextTokens() {
  if (!trace_ || !trace_->hasLogits() || selection_.query < 0) return;
  jobs_->submit(
      "next token", "Next token",
      [this, trace = trace_, query = selection_.query](core::Job& job) -> JobRunner::Delivery {
        auto next = trace->nextTokens(query, kNextTokens, job);
        return [this, next] {
          nextTokens_ = next;
          Q_EMIT nextTokensChanged();
        };
      },
      [this](const core::Error& e) { report(e); });
}

const std::vector<float>& AppState::rowWeights() {
  const core::Selection& s = selection_;
  const bool isThere = trace_ && s.query >= 0 && s.query < trace_->count() && s.layer < trace_->layersRun();
  if (!isThere) {
    rowWeights_.clear();
    rowWeightsOf_.reset();
  } else if (const std::array<int64_t, 3> wanted{s.layer, s.head, s.query}; rowWeightsOf_ != wanted) {
    rowWeightsOf_ = wanted;
    const core::AttentionMap map(trace_, s.ref());
    if (map.mechanism().empty()) {
      rowWeights_ = map.row(s.query);
    } else {
      rowWeights_.clear();
      runRow(map, s.query);
    }
  }
  return rowWeights_;
}

/// A row of another mechanism's map may need the whole head.
void AppState::runRow(const core::AttentionMap& map, int64_t query) {
  jobs_->submit(
      "row", "The query's row",
      [this, map, trace = trace_, query](core::Job& job) -> JobRunner::Delivery {
        const core::Matrix row = map.tile({0, query, 1, 0, map.size(), core::Pooling::Max}, job);
        const std::vector<float> weights(row.data(), row.data() + row.size());
        return [this, trace, of = std::array<int64_t, 3>{map.head().layer, map.head().head, query}, weights] {
          if (trace != trace_ || rowWeightsOf_ != of) return;
          rowWeights_ = weights;
          Q_EMIT rowChanged();
        };
      },
      [this](const core::Error& e) { report(e); });
}

}  // namespace headscope::app
