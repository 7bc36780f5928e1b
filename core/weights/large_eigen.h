#pragma once
// largeSymmetricEigen: all eigenvalues and eigenvectors of a symmetric matrix of thousands of rows, in double, on the pool and in pieces
// of a few tens of milliseconds, so that it can be stopped; LAPACK's own driver runs for minutes and can't be.
//
// Householder reduction to tridiagonal form, panels of columns at a time (as LAPACK's dsytrd); divide and conquer on the tridiagonal
// matrix (Cuppen 1981; deflation and eigenvectors as Gu & Eisenstat 1995, the secular equation by LAPACK's dlaed4); the reflectors put
// back column block by column block. Operations: 4/3 n^3, about 4/3 n^3, 2 n^3. Memory: five matrices of n x n.
#include <functional>
#include <vector>

#include "core/weights/dense.h"

namespace headscope::core {

class Job;

/// Eigenvalues descending; eigenvectors as rows of `vectors` [n, n]. Reads both triangles. Small matrices go to symmetricEigen.
/// Throws Error when the matrix holds NaN or infinite values; Cancelled. progress: told the share of the time that is done, now and then.
std::vector<double> largeSymmetricEigen(DoubleMatrix a, DoubleMatrix& vectors, const Job& job,
                                        const std::function<void(double)>& progress = {});

/// Eigenvalues alone, descending: the reduction, then LAPACK's dsterf (a fifth of a second at 4096). Errors as above.
std::vector<double> largeSymmetricEigenvalues(DoubleMatrix a, const Job& job);

/// The divide and conquer alone: the tridiagonal matrix of `diagonal` [n] and `off` [n - 1]; eigenvalues ascending, eigenvectors as
/// columns of `vectors` [n, n].
std::vector<double> tridiagonalEigen(std::vector<double> diagonal, std::vector<double> off, DoubleMatrix& vectors, const Job& job);

}  // namespace headscope::core
