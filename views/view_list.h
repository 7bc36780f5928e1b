#pragma once
// The views' own functions, one a file, for view_registry.cpp alone.
#include "views/view.h"

namespace headscope::views {

const View& headGridView();
const View& attentionMapView();
const View& tokenFlowView();
const View& neuronView();
const View& imageView();
const View& spectraView();
const View& rankMapView();
const View& compositionView();
const View& loraView();
const View& subspaceView();
const View& wordsView();
const View& maskView();
const View& comparisonView();
const View& kvCacheView();
const View& sparseView();
const View& positionsView();
const View& complexityView();

}  // namespace headscope::views
