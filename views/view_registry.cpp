#include "views/view_list.h"

namespace headscope::views {

const std::vector<const View*>& allViews() {
  static const std::vector<const View*> views = {
      &headGridView(),    &attentionMapView(), &tokenFlowView(), &neuronView(),     &spectraView(), &rankMapView(),
      &compositionView(), &loraView(),         &subspaceView(),  &wordsView(),      &maskView(),    &comparisonView(),
      &kvCacheView(),     &sparseView(),       &positionsView(), &complexityView(), &imageView(),
  };
  return views;
}

const View* findView(std::string_view name) {
  for (const View* view : allViews()) {
    if (view->name() == name) return view;
  }
  return nullptr;
}

bool View::follow(const ViewInput&, Size, core::ViewOptions&) const { return false; }
bool View::handle(const Gesture&, const ViewInput&, Size, core::ViewOptions&, core::Selection&) const { return false; }

}  // namespace headscope::views
