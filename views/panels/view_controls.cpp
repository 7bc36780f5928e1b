#include "views/panels/view_controls.h"

#include <map>

namespace headscope::views {
namespace {

ExtraControl matrixControl() { return {"matrix", "matrix", "Which weights of the head", {"W_Q", "W_K", "W_V", "W_O", "W_QK", "W_OV"}}; }
ExtraControl number(const char* key, const char* label, const char* tip, double minimum, double maximum, double standard) {
  return {key, label, tip, {}, minimum, maximum, standard, true};
}

std::map<std::string, ViewControls, std::less<>> makeRows() {
  std::map<std::string, ViewControls, std::less<>> all;
  all["head_grid"] = {.scale = true, .hideFirst = true, .limits = true, .sortBy = true};
  all["attention_map"] = {.scale = true, .hideFirst = true, .zoom = true, .limits = true};
  all["token_flow"] = {.hideFirst = true,
                       .threshold = true,
                       .extra = {{"form", "form", "Two columns with lines, or the text itself with keys tinted", {"columns", "inline"}}}};
  all["spectra"] = {.scale = true,
                    .extra = {matrixControl(),
                              {"across", "curves", "One curve a head of the layer, or a layer for the same head", {"heads", "layers"}},
                              {"form", "form", "Singular values, or the energy left out beyond a rank", {"values", "energy"}},
                              number("normalised", "divide by the largest", "1: every curve starts at 1", 0, 1, 0),
                              number("offset", "offset", "Distance in tokens at which W_QK is seen under RoPE", 0, 64, 0)}};
  all["rank_map"] = {
      .limits = true,
      .extra = {
          matrixControl(),
          {"measure", "measure", "Which size of the spectrum", {"effective_rank", "effective_rank_0.1", "stable_rank", "entropy_rank"}}}};
  all["composition"] = {.scale = true,
                        .limits = true,
                        .extra = {{"kind", "kind", "Through queries, keys or values", {"all", "q", "k", "v"}},
                                  {"form", "form", "Edges between heads, or the matrix of all pairs", {"graph", "matrix"}},
                                  number("top", "edges drawn", "The strongest ones; the picture says how many are hidden", 5, 500, 60),
                                  number("isolate", "selected head only", "1: only edges of the selected head", 0, 1, 0)}};
  all["lora"] = {.limits = true, .extra = {{"circuit", "circuit", "What heads look at, or what they write", {"QK", "OV"}}}};
  all["subspace"] = {.extra = {{"side", "side", "What the heads write, or what they read", {"output", "query", "key", "value"}}}};
  all["words"] = {.extra = {{"matrix", "matrix", "What the head writes, or what it looks for", {"W_OV", "W_QK"}}}};
  const ExtraControl masks{
      "mechanism",
      "mechanism",
      "Which keys a query sees",
      {"local", "sinks", "strided", "fixed", "dilated", "global", "block", "symmetric", "topk", "source_local", "source_strided"}};
  all["mask"] = {.scale = true,
                 .hideFirst = true,
                 .extra = {masks, number("window", "window", "Keys of the window", 1, 512, 64),
                           number("stride", "stride", "Distance between columns", 1, 128, 8),
                           number("k", "keys kept", "Largest scores that topk keeps", 1, 128, 16),
                           number("size", "block size", "Tokens a block", 1, 128, 16)}};
  all["comparison"] = {.scale = true,
                       .hideFirst = true,
                       .extra = {{"mechanism",
                                  "mechanism",
                                  "Whose map is shown beside the true one",
                                  {"local", "sinks", "strided", "fixed", "topk", "topp", "clustered", "linear", "rfa", "performer",
                                   "linformer", "nystrom", "dense_attention", "shared_kv", "reuse", "alibi", "nope"}},
                                 number("window", "window", "Keys of the window", 1, 512, 64)}};
  all["kv_cache"] = {.extra = {number("context", "tokens", "Context length", 1, 131072, 4096),
                               number("bytes", "bytes a number", "4: f32, 2: bf16, 1: fp8", 1, 4, 2)}};
  all["sparse_v"] = {.extra = {number("weighted", "weighted by values", "1: weights times the size of what each value writes", 0, 1, 0)}};
  all["positions"] = {.scale = true,
                      .hideFirst = true,
                      .extra = {number("base", "RoPE base", "Of the other rotation; the wheel moves it too", 10, 1000000, 10000),
                                number("scaling", "scaling", "Positions are divided by it", 1, 32, 1)}};
  all["complexity"] = {.extra = {number("bytes", "bytes", "1: bytes held instead of time", 0, 1, 0),
                                 number("largest", "largest N", "Tokens of the last point", 512, 16384, 4096)}};
  return all;
}

/// Made once and kept, because no static may need destroying.
const std::map<std::string, ViewControls, std::less<>>& rows() {
  static const auto* const all = new std::map<std::string, ViewControls, std::less<>>(makeRows());
  return *all;
}

}  // namespace

const ViewControls& controlsOf(std::string_view view) {
  static const auto* const none = new ViewControls;
  const auto found = rows().find(view);
  return found == rows().end() ? *none : found->second;
}

std::string_view scaleWord(core::ColorScale scale) {
  switch (scale) {
    case core::ColorScale::Linear:
      return "linear";
    case core::ColorScale::SquareRoot:
      return "square root";
    case core::ColorScale::Log:
      return "logarithmic";
  }
  return "";
}

}  // namespace headscope::views
