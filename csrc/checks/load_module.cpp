// LOAD: the module loads in a process without Python, moves to the CPU, and is in evaluation mode.
#include "mtt/check.hpp"
#include "mtt/context.hpp"
#include "mtt/engine.hpp"

namespace mtt {

namespace {

Result mode_result(Model& model) {
    const auto training = model.modules_in_training_mode();
    if (training.empty()) {
        return passed("evaluation mode");
    }
    return failed(
        "evaluation mode", "module '" + training.front() + "' was exported in training mode (" +
        std::to_string(training.size()) + " in all): dropout and batch statistics would be active in simulations"
    );
}

std::vector<Result> run(Context& context) {
    if (context.archive() != nullptr && context.archive()->kind() != FileKind::metatomic) {
        return {skipped("loads", "this file is " + describe(context.archive()->kind()))};
    }
    try {
        auto& model = context.model();
        const auto warnings = model.warnings();
        return {
            passed("loads", warnings.empty() ? "no warnings" : "libtorch warns: " + warnings.front().substr(0, 120)),
            mode_result(model)
        };
    } catch (const std::exception& error) {
        return {failed("loads", "an engine can not load the model: " + explain(error))};
    }
}

const Registered check({
    "LOAD", "module",
    "The file loads in C++ with the declared extensions only, Module::to works, nothing is in training mode.",
    "exact", run,
});

}  // namespace

}  // namespace mtt
