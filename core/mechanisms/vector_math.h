#pragma once
// Eigen's arrays for elementwise exp, tanh, sin over rows.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 sees its own intrinsics' undefined operands (bug 105593)
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include <Eigen/Core>
