# libtorch of the wheel that mtt_find_wheels() found, for the packages of metatensor and metatomic. The wheel's own
# CMake files ask for a whole CUDA toolkit when torch is a build for GPUs, as it is unless somebody chose another;
# mtt compiles nothing for GPUs, and libtorch brings along what it needs at run time.
if(NOT TARGET torch)
    foreach(_library c10 torch_cpu torch)
        add_library(${_library} SHARED IMPORTED)
        set_target_properties(${_library} PROPERTIES IMPORTED_LOCATION ${MTT_TORCH}/lib/lib${_library}.so)
    endforeach()
    set_target_properties(
        torch PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${MTT_TORCH}/include;${MTT_TORCH}/include/torch/csrc/api/include"
        INTERFACE_LINK_LIBRARIES "torch_cpu;c10"
    )
endif()
set(Torch_VERSION ${MTT_TORCH_MINOR})
string(REPLACE "." ";" _torch_minor ${MTT_TORCH_MINOR})
list(GET _torch_minor 0 Torch_VERSION_MAJOR)
list(GET _torch_minor 1 Torch_VERSION_MINOR)
set(Torch_FOUND TRUE)
