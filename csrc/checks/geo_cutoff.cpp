// GEO: energy and forces are continuous where an atom leaves the neighbor list. A hard cutoff heats MD up.
#include <cmath>

#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

/// A triangle whose third corner is `distance` away from the first atom.
System triangle(Context& context, double distance) {
    const auto types = context.types();
    System out;
    out.name = "three atoms";
    out.types = {types.front(), types.back(), types[types.size() / 2]};
    out.positions = {{0, 0, 0}, {0.3 * context.spacing(), 0.95 * context.spacing(), 0}, {distance, 0, 0}};
    return out;
}

std::vector<Result> run(Context& context) {
    const std::string name = "smoothness";
    auto& model = context.model();
    if (model.requests().empty()) {
        return {skipped(name, "the model asks for no neighbor list")};
    }
    Comparison comparison;
    for (const auto& request : model.requests()) {
        const double delta = 1e-5 * request.cutoff;
        const auto at = [&](double steps) { return evaluate(model, triangle(context, request.cutoff + steps * delta)); };
        const auto farther_in = at(-3), inside = at(-1), outside = at(1), farther_out = at(3);
        const auto near = evaluate(model, triangle(context, 0.7 * request.cutoff));
        const double scale = std::max(largest(near.forces), largest(inside.forces));
        const auto limit = budget(Agreement::repeat, context.capabilities(), triangle(context, 1), near, 4.0);
        const std::string where = "an atom crossing the cutoff of " + short_number(request.cutoff);
        // The energy changes by force times step; what is left of the difference is a jump.
        const double expected = -delta * (inside.forces[2][0] + outside.forces[2][0]);
        comparison.add(
            outside.energy - inside.energy - expected, limit.energy + 0.05 * delta * scale, "energy, " + where
        );
        for (size_t i = 0; i < inside.forces.size(); ++i) {
            // Stiff bonds change the forces within any step: by as much as in the steps before and behind.
            const auto before = inside.forces[i] - farther_in.forces[i];
            const auto behind = farther_out.forces[i] - outside.forces[i];
            const auto across = outside.forces[i] - inside.forces[i];
            comparison.add(
                norm(across - 0.5 * (before + behind)), 2 * limit.force + 1e-3 * scale, "forces, " + where
            );
        }
    }
    return {judged(name, comparison, "",
                   "energy or forces jump when an atom crosses the cutoff: MD does not conserve energy")};
}

const Registered check({
    "GEO", "cutoff", "Energy and forces are continuous where an atom crosses the cutoff of a neighbor list.",
    "energy: 5 % of force times step beyond what the forces explain; forces: 1e-3 of the largest beyond the "
    "change in the neighboring steps",
    {"smoothness"}, run,
});

}  // namespace

}  // namespace mtt
