// NTH: TorchScript runs a model in several ways, and engines choose between them: LAMMPS and GROMACS by an environment
// variable, eOn always. The derivative that the optimized code uses is written down a second time in libtorch.
#include <optional>

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
        {"the defaults", {}},
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
    // What the defaults give, which come first.
    std::vector<std::optional<Properties>> references(systems.size());
    for (const auto& [name, executor] : modes) {
        const auto session = context.host().with_executor(executor);
        const auto instance = context.fresh();
        for (size_t k = 0; k < systems.size(); ++k) {
            const auto& system = systems[k];
            auto& reference = references[k];
            attempt(comparison, system, [&] {
                auto given = third_call(*instance, system);
                if (executor.profiling && executor.optimize) {
                    reference = std::move(given);
                } else if (reference.has_value()) {
                    const auto limit = budget(Agreement::repeat, context.capabilities(), system, *reference,
                                              summation_roundings(system.size()));
                    comparison.properties(given, *reference, limit, system.name + " with " + name);
                }
            });
        }
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
