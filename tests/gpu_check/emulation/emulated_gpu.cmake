# headscope_emulated_gpu(TARGET ROOT): all of gpu/, kernels rewritten for C++, over the stand-in for CUDA in this folder. The caller links core.
set(EMULATION_FOLDER ${CMAKE_CURRENT_LIST_DIR})
function(headscope_emulated_gpu target root)
  file(GLOB sources CONFIGURE_DEPENDS ${root}/gpu/*.cpp ${root}/gpu/device/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/plugin.cpp$")
  file(GLOB kernels CONFIGURE_DEPENDS ${root}/gpu/kernels/*.cu)
  file(GLOB headers ${root}/gpu/kernels/*.cuh)
  list(FILTER headers EXCLUDE REGEX "/warp_matrix.cuh$")  # PTX: this folder has its own
  foreach(kernel ${kernels} ${headers})
    get_filename_component(name ${kernel} NAME)
    set(rewritten ${CMAKE_BINARY_DIR}/emulated/gpu/kernels/${name})
    if(kernel MATCHES "cu$")
      string(APPEND rewritten .cpp)
    endif()
    add_custom_command(OUTPUT ${rewritten} DEPENDS ${kernel} ${EMULATION_FOLDER}/kernels.sed
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/emulated/gpu/kernels
      COMMAND sed -E -f ${EMULATION_FOLDER}/kernels.sed ${kernel} > ${rewritten})
    list(APPEND sources ${rewritten})
  endforeach()
  add_library(${target} STATIC ${sources} ${EMULATION_FOLDER}/emulation.cpp)
  target_include_directories(${target} BEFORE PUBLIC ${EMULATION_FOLDER} ${CMAKE_BINARY_DIR}/emulated ${root})
  target_compile_definitions(${target} PUBLIC HEADSCOPE_CHECK_EMULATED PRIVATE HEADSCOPE_VERSION="emulated")
  target_compile_options(${target} PRIVATE -O2 -U_FORTIFY_SOURCE)
endfunction()
