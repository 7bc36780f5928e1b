#pragma once
// AppState: owns what the window shows: model, prompt, its run and scores, selection with undo, panes, theme, jobs. Widgets get
// a reference, read it, and listen to its signals; nobody else changes it. Everything heavy goes through its JobRunner, so no
// member blocks. Text typed is run when it rested for a moment; a run under way is cancelled by newer text.
#include <QObject>
#include <QString>
#include <QTimer>
#include <array>
#include <map>
#include <memory>
#include <optional>

#include "app/window/job_runner.h"
#include "app/window/pane_layout.h"
#include "app/window/pipeline.h"
#include "app/window/selection_history.h"
#include "core/session/session.h"
#include "views/theme.h"
#include "views/view.h"

namespace headscope::core {
class AttentionMap;
}

namespace headscope::app {

struct StartOptions {
  std::string model = "tales", adapter, prompt, pair, image, device = "auto", precision = "float32", session, timesFile;
  double strength = 1.0;
  bool hasModel = false, hasPrompt = false;  // given, not the standard ones
};

struct Notice {
  enum class Kind { Information, Error } kind = Kind::Information;
  QString text;
};

class AppState : public QObject {
  Q_OBJECT
 public:
  static constexpr int kMostCharacters = 65536;  // of a prompt typed or pasted

  explicit AppState(QObject* parent = nullptr);
  ~AppState() override;
  /// Chooses the device and opens the first model and prompt, all in jobs.
  void start(const StartOptions& options);

  // What there is. Pointers are null until their job is done
  const OpenedModel& opened() const { return opened_; }
  std::shared_ptr<const core::Trace> trace() const { return trace_; }
  std::shared_ptr<const core::Trace> baseTrace() const { return baseTrace_; }
  std::shared_ptr<const core::HeadScores> scores() const { return scores_; }
  std::shared_ptr<const core::Backend> backend() const { return backend_; }
  const std::vector<core::NextToken>& nextTokens() const { return nextTokens_; }
  /// Weights of the selected head's row at the selected query, [N]; empty without, and until rowChanged() when the head runs under
  /// another mechanism.
  const std::vector<float>& rowWeights();
  const core::Selection& selection() const { return selection_; }
  const core::Selection& hover() const { return hover_; }
  const QString& promptText() const { return promptText_; }
  const QString& pairText() const { return pairText_; }  // of a second segment
  const QString& imagePath() const { return imagePath_; }
  double strength() const { return strength_; }
  /// What heads run under in place of their own attention; "": the model as trained.
  const std::string& mechanism() const { return mechanism_; }
  const std::string& replacedHeads() const { return replacedHeads_; }
  uint64_t traceNumber() const { return traceNumber_; }  // grows with every run; part of the views' data keys
  uint64_t modelNumber() const { return modelNumber_; }
  JobRunner& jobs() { return *jobs_; }
  views::ViewInput viewInput(int pane) const;
  core::Session session() const;
  int64_t layers() const;
  int64_t heads() const;

  // Panes
  const PaneLayout& panes() const { return panes_; }
  int paneCount() const { return panes_.count(); }
  int focusedPane() const { return panes_.focused(); }
  int maximisedPane() const { return panes_.maximised(); }
  const core::PaneState& pane(int index) const { return panes_.at(index); }
  void setPaneCount(int count);
  void focusPane(int index);
  void toggleMaximised(int index);
  void setView(int index, const std::string& view);
  void setOptions(int index, const core::ViewOptions& options);

  // Doing
  void openModel(const QString& source, const QString& adapter = {});
  void openAdapter(const QString& folder);
  void setStrength(double strength);
  /// Runs the prompt with these heads ("all", "3.1,4.*") under the mechanism, "" as trained, and tells what it does to the loss.
  void setReplacement(const std::string& mechanism, const std::string& heads);
  void setPrompt(const QString& text, bool isTyped);
  void setPair(const QString& text);
  /// The picture that models of images read.
  void setImage(const QString& path);
  void applySession(const core::Session& session);
  void select(const core::Selection& selection, bool isUndoable = true);
  void moveHead(int layers, int heads);
  void moveQuery(int tokens);
  void setHover(const core::Selection& hover);
  void undo();
  void redo();
  bool canUndo() const { return history_.canUndo(); }
  bool canRedo() const { return history_.canRedo(); }
  /// Scores that need a selection in every row, when somebody asks for them.
  void wantKeyScores();
  /// Stops what runs and waits, and remembers it; resume() does it again. What is asked for anew is no longer stopped.
  void stopJobs();
  void resume();
  bool isStopped(const std::string& lane) const { return stopped_.contains(lane); }
  /// Titles of what was stopped and not asked for again, "" nothing.
  QString stoppedText() const;
  void say(const QString& text) { Q_EMIT noticed({Notice::Kind::Information, text}); }
  void report(const core::Error& error);

  /// Whether views may glide to what was selected (default: yes); the system or the person may not want motion.
  bool isMotionWelcome() const { return isMotionWelcome_; }
  void setMotionWelcome(bool isWelcome) { isMotionWelcome_ = isWelcome; }

  const views::Theme& theme() const { return theme_; }
  void setTheme(const views::Theme& theme);

 Q_SIGNALS:
  void modelChanged();
  void promptReplaced();  // by something else than typing: the editor must follow
  void traceChanged();
  void scoresChanged();
  void nextTokensChanged();
  void rowChanged();
  void selectionChanged();
  void hoverChanged();
  void panesChanged();
  void themeChanged();
  void stoppedChanged();
  void noticed(const headscope::app::Notice& notice);

 private:
  void openBackend();
  void takeModel(OpenedModel opened);
  void runPrompt();
  void takeRun(std::shared_ptr<const core::Trace> trace, const std::string& image, const std::string& imageHash);
  void takeTrace(std::shared_ptr<const core::Trace> trace);
  void runBaseline();
  void runTrueModel();
  void runScores(bool withKeys);
  void runNextTokens();
  void runRow(const core::AttentionMap& map, int64_t query);
  void clampSelection();

  std::unique_ptr<JobRunner> jobs_;
  std::shared_ptr<core::Backend> backend_;
  std::string device_ = "auto", precision_ = "float32";
  OpenedModel opened_;
  std::shared_ptr<const core::Trace> trace_, baseTrace_;
  std::shared_ptr<const core::HeadScores> scores_;
  std::vector<core::NextToken> nextTokens_;
  std::vector<float> rowWeights_;
  std::optional<std::array<int64_t, 3>> rowWeightsOf_;    // layer, head, query
  QString promptText_, pairText_, imagePath_, imageRun_;  // imageRun_: the last one that could be read
  std::string imageHash_;                                 // of the picture that was run, or that a session was made with
  double strength_ = 1.0;
  std::string mechanism_, replacedHeads_;
  std::pair<QString, QString> asked_;           // model and adapter that were to be opened last
  std::map<std::string, std::string> stopped_;  // lanes and titles
  bool isMotionWelcome_ = true;
  core::Selection selection_, hover_;
  SelectionHistory history_;
  bool isHeadChosen_ = false;  // by a person or a session: scores no longer choose it
  PaneLayout panes_;
  uint64_t traceNumber_ = 0, modelNumber_ = 0;
  views::Theme theme_ = views::lightTheme();
  QTimer typing_;
};

/// "what (where): hint", for people.
QString describe(const core::Error& error);

}  // namespace headscope::app
