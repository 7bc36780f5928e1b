#pragma once
// GlTextures: pictures of figures as OpenGL textures, kept while the picture lives and is drawn now and then. Must be used and
// destroyed with its context current.
#include <QOpenGLFunctions>
#include <map>
#include <memory>

#include "views/figure/imgui_sink.h"

namespace headscope::app {

class GlTextures : public views::TextureSource {
 public:
  explicit GlTextures(QOpenGLFunctions& gl);
  ~GlTextures() override;
  GlTextures(const GlTextures&) = delete;
  GlTextures& operator=(const GlTextures&) = delete;

  uintptr_t textureFor(const std::shared_ptr<const views::Image>& image, bool isSmooth) override;
  /// Frees textures whose pictures are gone or were not drawn for many frames.
  void endFrame();

 private:
  struct Slot {
    std::weak_ptr<const views::Image> image;
    uint64_t revision = 0;
    bool isSmooth = false;
    GLuint texture = 0;
    uint64_t lastFrame = 0;
  };
  QOpenGLFunctions& gl_;
  std::map<std::pair<const views::Image*, bool>, Slot> slots_;
  uint64_t frame_ = 0;
  GLint largest_ = 0;
};

}  // namespace headscope::app
