#pragma once
// The LAPACK routines that core/weights uses, by their Fortran names as OpenBLAS exports them. Matrices are column-major there:
// a row-major matrix is seen transposed. Call through core/weights/dense.h, which knows the workspaces.
// Each call runs on the caller's thread: work is split over heads by core/base/parallel.h.

#include <cstdint>
#include <string>

#include "core/base/error.h"

namespace headscope::core::lapack {

/// BLAS and LAPACK count in int; what is passed to them is bounded by the checkpoint's shapes.
inline int asInt(int64_t n) { return static_cast<int>(n); }

/// Throws Error when a routine reports failure. It names no tensor: who calls the decomposition knows whose matrix it was.
inline void require(int info, const char* routine) {
  if (info != 0)
    throw Error(std::string("a decomposition did not converge (") + routine + ")", {}, "check the weights for NaN or infinite values");
}

}  // namespace headscope::core::lapack

extern "C" {
void dsyevd_(const char* jobz, const char* uplo, const int* n, double* a, const int* lda, double* w, double* work, const int* lwork,
             int* iwork, const int* liwork, int* info);
void dpotrf_(const char* uplo, const int* n, double* a, const int* lda, int* info);
void dtrcon_(const char* norm, const char* uplo, const char* diag, const int* n, const double* a, const int* lda, double* rcond,
             double* work, int* iwork, int* info);
void dgesdd_(const char* jobz, const int* m, const int* n, double* a, const int* lda, double* s, double* u, const int* ldu, double* vt,
             const int* ldvt, double* work, const int* lwork, int* iwork, int* info);
void dgeqrf_(const int* m, const int* n, double* a, const int* lda, double* tau, double* work, const int* lwork, int* info);
void dorgqr_(const int* m, const int* n, const int* k, double* a, const int* lda, const double* tau, double* work, const int* lwork,
             int* info);
void dlarft_(const char* direct, const char* storev, const int* n, const int* k, double* v, const int* ldv, const double* tau, double* t,
             const int* ldt);
void dlarfb_(const char* side, const char* trans, const char* direct, const char* storev, const int* m, const int* n, const int* k,
             const double* v, const int* ldv, const double* t, const int* ldt, double* c, const int* ldc, double* work, const int* ldwork);
void dlasq1_(const int* n, double* d, double* e, double* work, int* info);
void dsterf_(const int* n, double* d, double* e, int* info);
void dlaed4_(const int* n, const int* i, const double* d, const double* z, double* delta, const double* rho, double* dlam, int* info);
}
