# The core as a shared library, and the CMake package `mtt_verify` with the target `mtt::verify`.
include(CMakePackageConfigHelpers)

add_library(mtt_verify_library SHARED csrc/runner/version.cpp)
set_target_properties(mtt_verify_library PROPERTIES OUTPUT_NAME mtt_verify)
target_link_libraries(mtt_verify_library PRIVATE mtt_verify)
mtt_runtime_paths(mtt_verify_library "$ORIGIN/../..")
install(TARGETS mtt_verify_library LIBRARY DESTINATION mtt/lib COMPONENT mtt_verify)

# No torch and no JSON in these: a program that links the library needs neither to compile.
foreach(_header capabilities export report result supervisor verify)
    install(FILES csrc/include/mtt/${_header}.hpp DESTINATION mtt/include/mtt COMPONENT mtt_verify)
endforeach()

set(MTT_PACKAGE_SITE "${MTT_SITE}")
if(SKBUILD)  # the wheel will lie beside those of torch, wherever that is
    set(MTT_PACKAGE_SITE "")
endif()
configure_package_config_file(
    csrc/cmake/mtt_verify-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/mtt_verify-config.cmake
    INSTALL_DESTINATION mtt/lib/cmake/mtt_verify
)
write_basic_package_version_file(
    ${CMAKE_CURRENT_BINARY_DIR}/mtt_verify-config-version.cmake
    VERSION ${MTT_VERSION} COMPATIBILITY SameMinorVersion
)
install(
    FILES ${CMAKE_CURRENT_BINARY_DIR}/mtt_verify-config.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/mtt_verify-config-version.cmake
    DESTINATION mtt/lib/cmake/mtt_verify COMPONENT mtt_verify
)
