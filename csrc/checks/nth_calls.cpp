// NTH: the first calls of a TorchScript module profile, the third runs optimised code, and modules can keep state.
// Twenty calls with changing systems must give what fresh instances give, and must not touch their inputs.
#include <algorithm>

#include "mtt/check.hpp"
#include "mtt/context.hpp"

namespace mtt {

namespace {

constexpr int calls = 20;

/// Small systems of different sizes, plus one with another cell, for stale caches keyed by shape.
std::vector<System> varied(Context& context) {
    std::vector<System> out;
    for (const auto& system : context.systems()) {
        if (out.size() < 4 && system.size() <= 40) {
            out.push_back(system);
        }
    }
    if (out.empty()) {
        out.push_back(context.systems().front());
    }
    const auto periodic = std::find_if(out.begin(), out.end(), [](const System& s) { return s.periodic(); });
    auto changed = periodic == out.end() ? out.front() : *periodic;
    changed = deformed(changed, {{{1.03, 0, 0}, {0.02, 0.98, 0}, {0, 0.01, 1.01}}});
    changed.name += " (deformed)";
    out.push_back(changed);
    return out;
}

std::vector<Result> run(Context& context) {
    const auto systems = varied(context);
    const auto& capabilities = context.capabilities();
    std::vector<Properties> references;
    std::vector<Budget> limits;
    for (const auto& system : systems) {
        auto fresh = context.fresh();
        references.push_back(evaluate(*fresh, system));
        limits.push_back(budget(
            Agreement::repeat, capabilities, system, references.back(), summation_roundings(system.size())
        ));
    }
    auto model = context.fresh();
    Comparison comparison;
    std::string changed_input;
    bool random_numbers = false;
    size_t identical = 0;
    for (int n = 0; n < calls; ++n) {
        // Two periods of different length, so that each system meets both kinds of graph.
        const size_t k = size_t(n) % systems.size();
        Call call;
        call.systems = {systems[k]};
        call.strain = n % 3 != 2;
        const auto answer = model->evaluate(call);
        Properties got{single_row(answer), {}, answer.forces.at(0), call.strain ? answer.virials.at(0) : Mat3{}};
        comparison.properties(
            got, references[k], limits[k], "call " + std::to_string(n + 1) + " (" + systems[k].name + ")", call.strain
        );
        identical += got.energy == references[k].energy && got.forces == references[k].forces ? 1 : 0;
        if (!answer.changed_inputs.empty()) {
            changed_input = answer.changed_inputs.front();
        }
        random_numbers = random_numbers || answer.random_numbers_used;
    }
    auto repeats = judged(
        "calls 1 to 20", comparison, "", "later calls give other results than the first call of a fresh model: the "
        "model keeps state or its optimised code is wrong"
    );
    if (repeats.status == Status::pass) {
        repeats.message = std::to_string(identical) + " of 20 bitwise equal; " + repeats.message;
    }
    for (const auto& system : systems) {
        repeats.systems.push_back(system.name);
    }
    return {
        repeats,
        changed_input.empty() ? passed("inputs unchanged")
                              : failed("inputs unchanged", "a call changed the " + changed_input + " it was given: "
                                       "engines reuse these arrays"),
        random_numbers ? failed("no random numbers", "a call draws random numbers: runs can not be reproduced and "
                                "forces are noisy")
                       : passed("no random numbers")
    };
}

const Registered check({
    "NTH", "calls",
    "Twenty calls with changing systems, with and without strain, give what a fresh instance gives.",
    "'repeat' of the tolerance table", run,
});

}  // namespace

}  // namespace mtt
