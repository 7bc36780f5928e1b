# What CUDA code is compiled for and how, in one place: included by gpu/plugin.cmake and tests/gpu_check before enable_language(CUDA).
# Real code for each architecture that this nvcc knows, PTX of the newest for what comes after.
if(NOT HEADSCOPE_NVCC_VERSION)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version OUTPUT_VARIABLE said ERROR_QUIET)
  string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" found "${said}")
  set(HEADSCOPE_NVCC_VERSION "${CMAKE_MATCH_1}")
endif()
if(HEADSCOPE_NVCC_VERSION VERSION_LESS 12.4)
  message(FATAL_ERROR "${CMAKE_CUDA_COMPILER} is ${HEADSCOPE_NVCC_VERSION}, 12.4 or newer is needed")
endif()
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

# headscope_cuda_flags(TARGET): CUDA sources compiled for the card, with the libraries that the plug-in needs.
function(headscope_cuda_flags target)
  set_target_properties(${target} PROPERTIES CUDA_ARCHITECTURES "${HEADSCOPE_CUDA_ARCHITECTURES}" CUDA_STANDARD 20)
  target_link_libraries(${target} PRIVATE CUDA::cudart_static CUDA::cublas CUDA::cusolver ${CMAKE_DL_LIBS})
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr --extended-lambda -Xcompiler=-Wall,-Wextra>)
endfunction()
