#include "app/window/pipeline.h"

#include <algorithm>

#include "app/assets.h"
#include "core/base/error.h"
#include "core/model/adapter.h"
#include "core/tokenizer/prompt_builder.h"

namespace headscope::app {
OpenedModel openModelFiles(const std::string& source, const std::string& adapterSource, double strength, core::Job& job) {
  OpenedModel opened;
  opened.source = source;
  opened.base = opened.model = core::Model::open(resolveModel(source));
  job.checkpoint();
  if (opened.base->spec().input == core::InputKind::Tokens) {
    try {
      opened.tokenizer = core::Tokenizer::open(opened.base->folder());
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

std::shared_ptr<const core::Prompt> promptOf(const OpenedModel& opened, const std::string& text, core::Job& job) {
  const core::ModelSpec& spec = opened.model->spec();
  if (spec.input == core::InputKind::Image)
    throw core::Error("this model reads images, not text", opened.model->name(), "use the command line: headscope attend --image");
  if (!opened.tokenizer)
    throw core::Error("text can't be run without a tokenizer: " + opened.tokenizerFault, opened.model->name(),
                      "add tokenizer.json to the folder");
  // Learned positions end; rotary ones go on, outside of what was trained.
  const bool isBounded = spec.positions == core::PositionKind::Learned && spec.context > 0;
  if (isBounded && spec.context < kMostTokens) return core::promptFromText(*opened.tokenizer, text, true, spec.context, job);
  return core::promptFromText(*opened.tokenizer, text, true, kMostTokens, job, "the window's limit");
}

}  // namespace headscope::app
