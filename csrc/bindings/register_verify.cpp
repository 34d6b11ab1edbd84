#include <pybind11/stl.h>

#include "bindings.hpp"
#include "mtt/verify.hpp"

namespace mtt {

void register_verify(pybind11::module_& module) {
    module.def(
        "verify",
        [](const std::string& path, std::vector<std::string> only, std::vector<std::string> skip,
           std::optional<std::string> extensions, int threads) {
            VerifyOptions options;
            options.path = path;
            options.only = std::move(only);
            options.skip = std::move(skip);
            options.extensions = std::move(extensions);
            options.threads = threads;
            const pybind11::gil_scoped_release release;
            return to_json(verify(options));
        },
        pybind11::arg("path"), pybind11::kw_only(), pybind11::arg("only") = std::vector<std::string>{},
        pybind11::arg("skip") = std::vector<std::string>{}, pybind11::arg("extensions") = std::nullopt,
        pybind11::arg("threads") = 0,
        "Runs the checks in this process and returns the report as JSON text. For tests and notebooks: libraries that "
        "Python has loaded already could hide that one is missing, so verdicts come from the program mtt-verify.\n\n"
        "Raises ValueError for an unknown family and RuntimeError if the file can not be opened."
    );
}

}  // namespace mtt
