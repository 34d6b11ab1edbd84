// One function per topic; module.cpp calls them all.
#pragma once

#include <pybind11/pybind11.h>

namespace mtt {

void register_build_info(pybind11::module_& module);
void register_catalogue(pybind11::module_& module);
void register_verify(pybind11::module_& module);

}  // namespace mtt
