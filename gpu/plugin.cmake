# Included by gpu/CMakeLists.txt where nvcc was found.
include(cuda_flags.cmake)
add_library(headscope_cuda MODULE ${GPU_SOURCES})
headscope_cuda_flags(headscope_cuda)
set_target_properties(headscope_cuda PROPERTIES
  PREFIX "" CUDA_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_link_libraries(headscope_cuda PRIVATE headscope_core)
target_link_options(headscope_cuda PRIVATE -Wl,--exclude-libs,ALL)
target_compile_definitions(headscope_cuda PRIVATE HEADSCOPE_VERSION="${PROJECT_VERSION}")
# What must be there before the plug-in is loaded, and what it means when it is not: CUDA's libraries take a hundred megabytes.
file(WRITE ${CMAKE_BINARY_DIR}/headscope_cuda.needs "libcuda.so.1 no CUDA driver found\n")
