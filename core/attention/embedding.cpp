// From the prompt to the first residual stream: token, position and segment rows, or image patches behind a class token.
#include <numeric>
#include <string>
#include <vector>

#include "core/attention/forward_parts.h"
#include "core/base/error.h"

namespace headscope::core {
namespace {

std::string text(int64_t number) { return std::to_string(number); }

void checkTokens(const ModelSpec& spec, const Prompt& prompt, const EmbeddingWeights& weights) {
  const int64_t vocabulary = weights.tokens.outputs();
  for (size_t i = 0; i < prompt.tokens.size(); ++i) {
    const Token& token = prompt.tokens[i];
    if (token.id < 0 || token.id >= vocabulary) {
      throw Error("token id " + text(token.id) + " is outside the vocabulary of " + text(vocabulary),
                  "prompt, position " + text(static_cast<int64_t>(i)), "use ids from 0 to " + text(vocabulary - 1));
    }
    if (!weights.segments.empty() && (token.segment < 0 || token.segment >= weights.segments.outputs())) {
      throw Error("token type " + text(token.segment) + " is outside the model's " + text(weights.segments.outputs()) + " types",
                  "prompt, position " + text(static_cast<int64_t>(i)), "use types from 0 to " + text(weights.segments.outputs() - 1));
    }
  }
  if (spec.positions != PositionKind::Learned) return;
  const int64_t places = weights.positions.outputs() - spec.positionOffset;
  if (prompt.count() > places) {
    throw Error("the prompt has " + text(prompt.count()) + " tokens and the model has learned positions for " + text(places), "prompt",
                "shorten it to " + text(places) + " tokens");
  }
}

void checkImage(const ModelSpec& spec, const Prompt& prompt, const EmbeddingWeights& weights) {
  const ImageSpec& image = *spec.image;
  if (prompt.pixels.rows() != image.channels || prompt.pixels.cols() != image.height * image.width) {
    throw Error("the image has " + text(prompt.pixels.rows()) + " channels of " + text(prompt.pixels.cols()) + " pixels; the model takes " +
                    text(image.channels) + " of " + text(image.height) + " x " + text(image.width),
                "image", "give a picture, or pixel_values of that shape");
  }
  const int64_t positions = image.patches() + (weights.classToken.empty() ? 0 : 1);
  if (prompt.count() != positions) {
    throw Error("the image prompt has " + text(prompt.count()) + " positions and the model " + text(positions), "image");
  }
}

/// Every patch as a row, in the order of the convolution's weights: channel, row, column.
Matrix patchRows(const ImageSpec& image, const Matrix& pixels) {
  const int64_t across = image.width / image.patch, p = image.patch;
  Matrix rows(image.patches(), image.channels * p * p);
  for (int64_t i = 0; i < image.patches(); ++i) {
    float* out = rows.row(i);
    for (int64_t c = 0; c < image.channels; ++c) {
      for (int64_t y = 0; y < p; ++y) {
        const float* in = pixels.row(c) + ((i / across) * p + y) * image.width + (i % across) * p;
        for (int64_t x = 0; x < p; ++x) *out++ = in[x];
      }
    }
  }
  return rows;
}

void embedImage(const PassContext& pass, const EmbeddingWeights& weights, const Tensor& out) {
  const Tensor patches = pass.backend.upload(patchRows(*pass.spec.image, pass.prompt.pixels));
  const int64_t first = weights.classToken.empty() ? 0 : 1;
  Linear projection;
  projection.weight = weights.patch;
  projection.bias = weights.patchBias;
  pass.backend.linear(patches, projection, Into::Replace, out.rowsFrom(first, patches.rows), pass.job);
  if (first == 1) {
    const int64_t width = static_cast<int64_t>(weights.classToken.size());
    pass.backend.write({weights.classToken.data(), 1, width, width}, out.rowsFrom(0, 1));
  }
}

}  // namespace

void checkPrompt(const ModelSpec& spec, const Prompt& prompt, const EmbeddingWeights& weights) {
  if (prompt.count() == 0) throw Error("the prompt is empty", "prompt", "type some text or give ids");
  if (spec.input == InputKind::Image) {
    checkImage(spec, prompt, weights);
  } else {
    checkTokens(spec, prompt, weights);
  }
}

Tensor embedPrompt(const PassContext& pass) {
  const EmbeddingWeights weights = pass.model.embedding();
  const Tensor x = pass.backend.allocate(pass.count(), pass.spec.width);
  if (pass.spec.input == InputKind::Image) {
    embedImage(pass, weights, x);
  } else {
    pass.backend.embed(weights.tokens, pass.prompt.ids(), static_cast<float>(pass.spec.embeddingScale), Into::Replace, x, pass.job);
  }
  if (!weights.positions.empty()) {
    std::vector<int32_t> places(static_cast<size_t>(pass.count()));
    std::iota(places.begin(), places.end(), static_cast<int32_t>(pass.spec.positionOffset));
    pass.backend.embed(weights.positions, places, 1.0f, Into::Add, x, pass.job);
  }
  if (!weights.segments.empty()) {
    std::vector<int32_t> types;
    for (const Token& token : pass.prompt.tokens) types.push_back(token.segment);
    pass.backend.embed(weights.segments, types, 1.0f, Into::Add, x, pass.job);
  }
  if (!weights.norm.empty()) pass.backend.norm(x, {pass.spec.norm, pass.spec.normEps, 1}, weights.norm, x, pass.job);
  return x;
}

}  // namespace headscope::core
