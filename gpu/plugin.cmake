# Included by gpu/CMakeLists.txt where nvcc was found.
# Real code for each architecture that this nvcc knows, PTX of the newest for what comes after.
if(HEADSCOPE_NVCC_VERSION VERSION_GREATER_EQUAL 12.8)
  set(architectures 80-real 86-real 89-real 90-real 100-real 120)
else()
  set(architectures 80-real 86-real 89-real 90)
endif()
set(HEADSCOPE_CUDA_ARCHITECTURES "${architectures}" CACHE STRING "CUDA architectures of the plug-in")
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80)  # for CMake's own checks
endif()
enable_language(CUDA)
# CMake 3.25 does not know the dialect flags of newer nvcc.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
find_package(CUDAToolkit 12.4 REQUIRED)

add_library(headscope_cuda MODULE ${GPU_SOURCES})
set_target_properties(headscope_cuda PROPERTIES
  PREFIX "" CUDA_ARCHITECTURES "${HEADSCOPE_CUDA_ARCHITECTURES}" CUDA_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_link_libraries(headscope_cuda PRIVATE headscope_core CUDA::cudart_static CUDA::cublas)
target_link_options(headscope_cuda PRIVATE -Wl,--exclude-libs,ALL)
target_compile_definitions(headscope_cuda PRIVATE HEADSCOPE_VERSION="${PROJECT_VERSION}")
target_compile_options(headscope_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr --extended-lambda -Xcompiler=-Wall,-Wextra>)
