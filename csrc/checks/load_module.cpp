// LOAD: the module loads in a process without Python and moves to the CPU.
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

std::vector<Result> run(Context& context) {
    if (context.archive() != nullptr && context.archive()->kind() != FileKind::metatomic) {
        return {skipped("model", "this file is " + describe(context.archive()->kind()))};
    }
    try {
        const auto warnings = context.model().warnings();
        return {passed(
            "model", warnings.empty() ? "no warnings" : "libtorch warns: " + warnings.front().substr(0, 120)
        )};
    } catch (const std::exception& error) {
        return {failed("model", "an engine can not load the model: " + explain(error))};
    }
}

const Registered check({
    "LOAD", "module",
    "The file loads in C++ with the declared extensions only, and Module::to works.",
    "exact",
    {"model"}, run, Level::quick, {}, About::file, Severity::refuses,
}, About::file);

}  // namespace

}  // namespace mtt
