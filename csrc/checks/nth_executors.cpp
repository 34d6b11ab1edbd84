// NTH: TorchScript runs a model in several ways, and engines choose between them: LAMMPS and GROMACS by an environment
// variable, eOn always. The derivative that the optimized code uses is written down a second time in libtorch.
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

/// By then the optimized code runs.
Properties third_call(Model& model, const System& system) {
    evaluate(model, system);
    evaluate(model, system);
    return evaluate(model, system);
}

std::vector<Result> run(Context& context) {
    const std::pair<const char*, Executor> modes[] = {
        {"profiling off (eOn)", {false, true, true}},
        {"optimization off (LAMMPS, GROMACS on request)", {true, false, false}},
        {"neither", {false, false, false}},
    };
    std::vector<System> systems;
    for (const auto& system : context.systems()) {
        if (system.size() <= 40 && systems.size() < 2) {
            systems.push_back(system);
        }
    }
    Comparison comparison;
    for (const auto& system : systems) {
        attempt(comparison, system, [&] {
            const auto reference = third_call(*context.fresh(), system);
            const auto limit = budget(
                Agreement::repeat, context.capabilities(), system, reference, summation_roundings(system.size())
            );
            for (const auto& [name, executor] : modes) {
                const auto session = context.host().with_executor(executor);
                const auto instance = context.fresh();
                comparison.properties(third_call(*instance, system), reference, limit, system.name + " with " + name);
            }
        });
    }
    return {judged("executors", comparison, "", "results depend on how TorchScript runs the model, which engines choose "
                   "differently")};
}

const Registered check({
    "NTH", "executors", "Third calls with TorchScript's profiling or optimization off give what they give with its defaults.",
    "'repeat' of the tolerance table",
    {"executors"}, run, Level::full,
});

}  // namespace

}  // namespace mtt
