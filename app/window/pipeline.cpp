#include "app/window/pipeline.h"

#include <algorithm>

#include "app/assets.h"
#include "app/image_file.h"
#include "core/base/error.h"
#include "core/model/adapter.h"
#include "core/model/class_names.h"
#include "core/tokenizer/prompt_builder.h"

namespace headscope::app {
OpenedModel openModelFiles(const std::string& source, const std::string& adapterSource, double strength, core::Job& job) {
  OpenedModel opened;
  opened.source = source;
  opened.base = opened.model = core::Model::open(resolveModel(source));
  opened.classNames = core::classNames(*opened.base);
  job.checkpoint();
  if (opened.base->spec().input == core::InputKind::Tokens) {
    try {
      opened.tokenizer = core::Tokenizer::open(opened.base->folder());
      opened.chat = core::readChatTemplate(opened.base->folder(), *opened.tokenizer);
      if (opened.chat && !opened.chat->note.empty()) opened.notes.push_back(opened.chat->note);
      const std::string note = core::missingFirstTokenNote(opened.base->folder(), *opened.tokenizer);
      if (!note.empty()) opened.notes.push_back(note);
    } catch (const core::Error& e) {
      opened.tokenizerFault = e.what();  // weights can still be looked at; running a text says this
    }
  }
  job.checkpoint();
  return adapterSource.empty() ? opened : withAdapter(opened, adapterSource, strength, job);
}

OpenedModel withAdapter(const OpenedModel& opened, const std::string& adapterSource, double strength, core::Job& job) {
  OpenedModel changed = opened;
  changed.adapterSource = adapterSource;
  changed.model = opened.base;
  if (!adapterSource.empty()) changed.model = opened.base->withAdapter(core::Adapter::open(resolveAdapter(adapterSource)), strength);
  job.checkpoint();
  return changed;
}

std::shared_ptr<const core::Prompt> promptOf(const OpenedModel& opened, const PromptSource& source, core::Job& job) {
  const core::ModelSpec& spec = opened.model->spec();
  if (opened.readsImages()) return promptFromImageFile(*opened.model, source.image);
  if (!opened.tokenizer)
    throw core::Error("text can't be run without a tokenizer: " + opened.tokenizerFault, opened.model->name(),
                      "add tokenizer.json to the folder");
  // Learned positions end; rotary ones go on, outside of what was trained.
  const bool isBounded = spec.positions == core::PositionKind::Learned && spec.context > 0;
  const std::string pair = opened.hasSegments() ? source.pair : std::string();
  const bool isModels = isBounded && spec.context < kMostTokens;
  return core::promptFromPair(*opened.tokenizer, source.text, pair, isModels ? spec.context : kMostTokens, job,
                              isModels ? "the model's context" : "the window's limit");
}

int64_t firstQuery(const core::Trace& trace) {
  if (trace.spec().image) return 0;
  const auto& tokens = trace.prompt().tokens;
  const auto isMask = [](const core::Token& token) { return token.isSpecial && (token.piece == "[MASK]" || token.piece == "<mask>"); };
  const auto mask = trace.spec().isCausal ? tokens.end() : std::find_if(tokens.begin(), tokens.end(), isMask);
  return mask != tokens.end() ? mask - tokens.begin() : trace.count() - 1;
}

}  // namespace headscope::app
