#pragma once
// The steps from a folder to numbers, as the window's jobs run them. No Qt: each takes a Job, may throw core::Error, and
// touches nothing shared.
#include <memory>
#include <string>
#include <vector>

#include "core/attention/head_scores.h"
#include "core/attention/trace.h"
#include "core/backend/backend.h"
#include "core/base/job.h"
#include "core/model/model.h"
#include "core/model/prompt.h"
#include "core/tokenizer/tokenizer.h"

namespace headscope::app {

struct OpenedModel {
  std::string source;                                // as given: a folder or a bundled name
  std::string adapterSource;                         // "" none
  std::shared_ptr<const core::Model> base;           // without the adapter
  std::shared_ptr<const core::Model> model;          // with it
  std::shared_ptr<const core::Tokenizer> tokenizer;  // null when the folder has none
  std::string tokenizerFault;                        // why there is none
};

OpenedModel openModelFiles(const std::string& source, const std::string& adapterSource, double strength, core::Job& job);
/// The same model at another strength of its adapter, or with another adapter ("" none).
OpenedModel withAdapter(const OpenedModel& opened, const std::string& adapterSource, double strength, core::Job& job);

/// Tokens of the text, cut to what the window runs (said in notes). Throws Error when the model needs a tokenizer and has none.
std::shared_ptr<const core::Prompt> promptOf(const OpenedModel& opened, const std::string& text, core::Job& job);

/// Most tokens that the window runs while one types; more needs the command line.
inline constexpr int64_t kMostTokens = 8192;

}  // namespace headscope::app
