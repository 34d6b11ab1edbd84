# Operators for training on CPUs, which Python loads into its torch: mtt/architectures/kernels.py.
add_library(mtt_training SHARED csrc/training/operators.cpp csrc/training/memory.cpp)
set_target_properties(mtt_training PROPERTIES UNITY_BUILD ON)  # torch's headers once
target_link_libraries(mtt_training PRIVATE torch)
target_compile_options(mtt_training PRIVATE -O2)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # The threads are those of torch: its headers start them, and its copy of libgomp, which is not linked here so that
    # there is never a second one, runs them. With another compiler the operators use one thread.
    target_compile_options(mtt_training PRIVATE -fopenmp)
endif()

# The kernels once for each instruction set, of which one is chosen at run time.
function(mtt_training_kernels instructions)
    add_library(mtt_training_${instructions} OBJECT csrc/training/kernels.cpp)
    target_compile_definitions(mtt_training_${instructions} PRIVATE MTT_INSTRUCTIONS=${instructions})
    target_compile_options(
        mtt_training_${instructions} PRIVATE -O3 -fopenmp-simd -fno-math-errno -fno-trapping-math -Wno-psabi -Wall
        -Wextra ${ARGN}
    )
    target_sources(mtt_training PRIVATE $<TARGET_OBJECTS:mtt_training_${instructions}>)
endfunction()

mtt_training_kernels(baseline)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    mtt_training_kernels(avx2 -march=x86-64-v3)
    mtt_training_kernels(avx512 -march=x86-64-v4)
endif()

mtt_runtime_paths(mtt_training "$ORIGIN/../..")
install(TARGETS mtt_training LIBRARY DESTINATION mtt/lib COMPONENT mtt_training)
