# Finds the C++ parts of installed wheels without importing any of them.

macro(mtt_find_wheels)
    find_package(Python 3.11 COMPONENTS Interpreter REQUIRED)
    execute_process(
        COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/csrc/cmake/wheels.py
            ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_BINARY_DIR}/_build_info.json
        OUTPUT_VARIABLE _mtt_wheels
        OUTPUT_STRIP_TRAILING_WHITESPACE
        ERROR_VARIABLE _mtt_error
        RESULT_VARIABLE _mtt_status
    )
    if(NOT _mtt_status EQUAL 0)
        message(FATAL_ERROR "${_mtt_error}")
    endif()
    # One line each: version of mtt, torch minor version, folders of the packages.
    string(REPLACE "\n" ";" _mtt_wheels "${_mtt_wheels}")
    list(GET _mtt_wheels 0 MTT_VERSION)
    list(GET _mtt_wheels 1 MTT_TORCH_MINOR)
    list(GET _mtt_wheels 2 MTT_TORCH)
    cmake_path(GET MTT_TORCH PARENT_PATH MTT_SITE)
    list(GET _mtt_wheels 3 MTT_METATENSOR)
    list(GET _mtt_wheels 4 MTT_METATENSOR_TORCH)
    list(GET _mtt_wheels 5 MTT_METATOMIC_TORCH)
    list(GET _mtt_wheels 6 MTT_VESIN)
    list(GET _mtt_wheels 7 MTT_JSON)
    list(
        APPEND CMAKE_PREFIX_PATH
        ${MTT_METATENSOR}/lib/cmake
        ${MTT_METATENSOR_TORCH}/torch-${MTT_TORCH_MINOR}/lib/cmake
        ${MTT_METATOMIC_TORCH}/torch-${MTT_TORCH_MINOR}/lib/cmake
    )

    add_library(vesin SHARED IMPORTED)
    set_target_properties(
        vesin PROPERTIES
        IMPORTED_LOCATION ${MTT_VESIN}/lib/libvesin.so
        INTERFACE_INCLUDE_DIRECTORIES ${MTT_VESIN}/include
    )
    add_library(nlohmann_json::headers INTERFACE IMPORTED)
    set_target_properties(
        nlohmann_json::headers PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${MTT_JSON}/include
    )
endmacro()

# `root` is the site-packages folder as seen from the installed file. A wheel is moved elsewhere; what `cmake --install`
# puts outside of site-packages finds the wheels where they were at build time.
function(mtt_runtime_paths target root)
    set(_roots ${root})
    if(NOT SKBUILD)
        list(APPEND _roots ${MTT_SITE})
    endif()
    set(_paths "")
    foreach(_root IN LISTS _roots)
        list(
            APPEND _paths ${_root}/torch/lib ${_root}/metatensor/lib
            ${_root}/metatensor_torch/torch-${MTT_TORCH_MINOR}/lib
            ${_root}/metatomic/torch/torch-${MTT_TORCH_MINOR}/lib ${_root}/vesin/lib
        )
    endforeach()
    set_target_properties(
        ${target} PROPERTIES
        INSTALL_RPATH "${_paths}"
        INSTALL_RPATH_USE_LINK_PATH OFF
    )
endfunction()
