#include "bindings.hpp"

PYBIND11_MODULE(_core, module) {
    module.doc() = "Compiled parts of mtt. Importing this module loads libtorch.";
    mtt::register_build_info(module);
    mtt::register_catalogue(module);
    mtt::register_verify(module);
}
