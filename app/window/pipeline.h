#pragma once
// The steps from a folder to numbers, as the window's jobs run them. No Qt: each takes a Job, may throw core::Error, and
// touches nothing shared.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/attention/head_scores.h"
#include "core/attention/trace.h"
#include "core/backend/backend.h"
#include "core/base/job.h"
#include "core/model/model.h"
#include "core/model/prompt.h"
#include "core/tokenizer/chat_template.h"
#include "core/tokenizer/tokenizer.h"

namespace headscope::app {

struct OpenedModel {
  std::string source;                                // as given: a folder or a bundled name
  std::string adapterSource;                         // "" none
  std::shared_ptr<const core::Model> base;           // without the adapter
  std::shared_ptr<const core::Model> model;          // with it
  std::shared_ptr<const core::Tokenizer> tokenizer;  // null when the folder has none
  std::string tokenizerFault;                        // why there is none
  std::optional<core::ChatTemplate> chat;            // what the folder's chat template offers
  std::vector<std::string> notes;                    // on the tokenizer's files
  std::vector<std::string> classNames;               // of a classifier

  bool readsImages() const { return model && model->spec().input == core::InputKind::Image; }
  bool hasSegments() const { return model && model->spec().segments > 1 && tokenizer; }
};

/// What is typed, or the picture's file; models read one or the other.
struct PromptSource {
  std::string text, pair, image;
  bool isEmptyFor(const OpenedModel& opened) const { return opened.readsImages() ? image.empty() : text.empty(); }
};

OpenedModel openModelFiles(const std::string& source, const std::string& adapterSource, double strength, core::Job& job);
/// The same model at another strength of its adapter, or with another adapter ("" none).
OpenedModel withAdapter(const OpenedModel& opened, const std::string& adapterSource, double strength, core::Job& job);

/// Tokens of the text, cut to what the window runs (said in notes), or the picture. Throws Error when the model needs a tokenizer
/// and has none, and where the picture can't be read.
std::shared_ptr<const core::Prompt> promptOf(const OpenedModel& opened, const PromptSource& source, core::Job& job);
/// The position to look at first: a picture's class token, a masked word, else the last token.
int64_t firstQuery(const core::Trace& trace);

/// Most tokens that the window runs while one types; more needs the command line.
inline constexpr int64_t kMostTokens = 8192;

}  // namespace headscope::app
