#pragma once
// The products that core calls, as OpenBLAS declares them, for the check on machines without it (blas.cpp). Row-major only.
enum CBLAS_ORDER { CblasRowMajor = 101 };
enum CBLAS_TRANSPOSE { CblasNoTrans = 111, CblasTrans = 112 };
enum CBLAS_UPLO { CblasUpper = 121 };
enum CBLAS_DIAG { CblasNonUnit = 131 };
enum CBLAS_SIDE { CblasLeft = 141, CblasRight = 142 };

void cblas_sgemm(CBLAS_ORDER, CBLAS_TRANSPOSE a, CBLAS_TRANSPOSE b, int m, int n, int k, float alpha, const float* A, int lda,
                 const float* B, int ldb, float beta, float* C, int ldc);
void cblas_dgemm(CBLAS_ORDER, CBLAS_TRANSPOSE a, CBLAS_TRANSPOSE b, int m, int n, int k, double alpha, const double* A, int lda,
                 const double* B, int ldb, double beta, double* C, int ldc);
void cblas_sgemv(CBLAS_ORDER, CBLAS_TRANSPOSE a, int m, int n, float alpha, const float* A, int lda, const float* x, int incx, float beta,
                 float* y, int incy);
void cblas_dgemv(CBLAS_ORDER, CBLAS_TRANSPOSE a, int m, int n, double alpha, const double* A, int lda, const double* x, int incx,
                 double beta, double* y, int incy);
void cblas_dsyrk(CBLAS_ORDER, CBLAS_UPLO, CBLAS_TRANSPOSE a, int n, int k, double alpha, const double* A, int lda, double beta, double* C,
                 int ldc);
void cblas_strmm(CBLAS_ORDER, CBLAS_SIDE, CBLAS_UPLO, CBLAS_TRANSPOSE, CBLAS_DIAG, int m, int n, float alpha, const float* A, int lda,
                 float* B, int ldb);
void cblas_dtrmm(CBLAS_ORDER, CBLAS_SIDE, CBLAS_UPLO, CBLAS_TRANSPOSE, CBLAS_DIAG, int m, int n, double alpha, const double* A, int lda,
                 double* B, int ldb);
double cblas_ddot(int n, const double* x, int incx, const double* y, int incy);
float cblas_sdot(int n, const float* x, int incx, const float* y, int incy);
void cblas_saxpy(int n, float alpha, const float* x, int incx, float* y, int incy);
void cblas_daxpy(int n, double alpha, const double* x, int incx, double* y, int incy);
void cblas_dscal(int n, double alpha, double* x, int incx);
double cblas_dnrm2(int n, const double* x, int incx);
