#include "bindings.hpp"
#include "mtt/model/torch_model.hpp"

namespace mtt {

void register_build_info(pybind11::module_& module) {
    module.def(
        "build_info",
        [] {
            const auto versions = library_versions();
            pybind11::dict out;
            out["mtt"] = MTT_VERSION;
            out["torch"] = versions.torch;
            out["metatensor_torch"] = versions.metatensor_torch;
            out["metatomic_torch"] = versions.metatomic_torch;
            return out;
        },
        "Versions that this module was compiled against: {'mtt', 'torch', 'metatensor_torch', 'metatomic_torch'}."
    );
}

}  // namespace mtt
