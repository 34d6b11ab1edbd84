#include <pybind11/stl.h>

#include "bindings.hpp"
#include "mtt/runner/selection.hpp"
#include "mtt/verify.hpp"

namespace mtt {

void register_verify(pybind11::module_& module) {
    module.def(
        "verify",
        [](const std::string& path, std::vector<std::string> only, const std::vector<std::string>& skip,
           std::optional<std::string> extensions, int threads, const std::string& level, const std::string& engine) {
            VerifyOptions options;
            options.path = path;
            options.only = std::move(only);
            for (const auto& check : skip) {
                options.waivers.push_back({check, ""});
            }
            options.extensions = std::move(extensions);
            options.threads = threads;
            options.level = parse_level(level);
            options.engine = engine;
            const pybind11::gil_scoped_release release;
            return to_json(verify(options));
        },
        pybind11::arg("path"), pybind11::kw_only(), pybind11::arg("only") = std::vector<std::string>{},
        pybind11::arg("skip") = std::vector<std::string>{}, pybind11::arg("extensions") = std::nullopt,
        pybind11::arg("threads") = 0, pybind11::arg("level") = "full", pybind11::arg("engine") = "all",
        "Runs the checks in this process and returns the report as JSON text. For tests and notebooks: libraries that "
        "Python has loaded already could hide that one is missing, and a model that crashes takes this process with "
        "it, so verdicts come from the program mtt-verify.\n\n"
        "Raises ValueError for names that do not exist and RuntimeError if the file can not be opened."
    );
}

}  // namespace mtt
