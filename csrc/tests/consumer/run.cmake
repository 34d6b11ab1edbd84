# Installs the package into an empty folder, builds the consumer against it and runs it on a file that is no model.
# cmake -DBUILD=... -DWORK=... -DSITE=... -DPROGRAM=... -DCOMPILER=... -DGENERATOR=... -DMAKE=... -P run.cmake
function(run what)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "${what} failed:\n${output}")
    endif()
    set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
run("installation" ${CMAKE_COMMAND} --install ${BUILD} --component mtt_verify --prefix ${WORK}/prefix)
file(GLOB_RECURSE headers ${WORK}/prefix/mtt/include/*.hpp)
foreach(header IN LISTS headers)
    file(STRINGS ${header} foreign REGEX "include <(torch|nlohmann|metatensor|metatomic|ATen)")
    if(foreign)
        message(FATAL_ERROR "${header} is public and includes ${foreign}")
    endif()
endforeach()
run(
    "configuration" ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR} -B ${WORK}/build -G ${GENERATOR}
    -DCMAKE_MAKE_PROGRAM=${MAKE} -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_CXX_FLAGS=${FLAGS} -Dmtt_verify_SITE=${SITE}
    -Dmtt_verify_DIR=${WORK}/prefix/mtt/lib/cmake/mtt_verify
)
run("build" ${CMAKE_COMMAND} --build ${WORK}/build)
run("consumer" ${WORK}/build/consumer ${CMAKE_CURRENT_LIST_DIR}/main.cpp ${PROGRAM})
set(line "LOAD/file: this is not a TorchScript archive; engines load files written by metatomic's AtomisticModel.save\n")
if(NOT output MATCHES "^${line}here fail, torch [0-9.]+, [0-9]+ kB of JSON\n${line}apart fail, torch [0-9.]+, ")
    message(FATAL_ERROR "the consumer says something else:\n${output}")
endif()
