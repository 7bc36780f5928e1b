#include "app/window/gl_textures.h"

namespace headscope::app {
namespace {
constexpr uint64_t kFramesKept = 240;
}

GlTextures::GlTextures(QOpenGLFunctions& gl) : gl_(gl) { gl_.glGetIntegerv(GL_MAX_TEXTURE_SIZE, &largest_); }

GlTextures::~GlTextures() {
  for (auto& [key, slot] : slots_) gl_.glDeleteTextures(1, &slot.texture);
}

uintptr_t GlTextures::textureFor(const std::shared_ptr<const views::Image>& image, bool isSmooth) {
  if (image->width > largest_ || image->height > largest_) return 0;
  if (image->rgba.size() < static_cast<size_t>(image->width) * static_cast<size_t>(image->height) * 4) return 0;
  Slot& slot = slots_[{image.get(), isSmooth}];
  slot.lastFrame = frame_;
  // A freed picture's address may serve a new one, so the owner is compared too.
  if (slot.texture != 0 && slot.revision == image->revision && slot.image.lock() == image) return slot.texture;
  if (slot.texture == 0) gl_.glGenTextures(1, &slot.texture);
  slot.image = image;
  slot.revision = image->revision;
  gl_.glBindTexture(GL_TEXTURE_2D, slot.texture);
  gl_.glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_LINEAR);
  gl_.glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, isSmooth ? GL_LINEAR : GL_NEAREST);
  gl_.glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
  gl_.glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
  gl_.glPixelStorei(GL_UNPACK_ALIGNMENT, 4);
  gl_.glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, image->width, image->height, 0, GL_RGBA, GL_UNSIGNED_BYTE, image->rgba.data());
  return slot.texture;
}

void GlTextures::endFrame() {
  ++frame_;
  for (auto it = slots_.begin(); it != slots_.end();) {
    if (it->second.image.expired() || frame_ - it->second.lastFrame > kFramesKept) {
      gl_.glDeleteTextures(1, &it->second.texture);
      it = slots_.erase(it);
    } else {
      ++it;
    }
  }
}

}  // namespace headscope::app
