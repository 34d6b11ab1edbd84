// GEO: every combination of periodic directions equals the fully periodic system with vacuum along the others. Of models
// without range, which feel images through any vacuum, it equals its supercell.
#include <array>
#include <cmath>

#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

/// Twice as long along each periodic axis, `open` has the same forces.
void against_supercell(Context& context, const System& open, Comparison& comparison) {
    auto& model = context.model();
    const auto reference = evaluate(model, open);
    if (!open.periodic()) {
        // A molecule has none: that it works, and gives numbers, is all that can be asked.
        const bool finite = std::isfinite(reference.energy) && std::isfinite(largest(reference.forces));
        comparison.add(finite ? 0.0 : NAN, 0.0, open.name);
        return;
    }
    const std::array<int, 3> repeats = {open.pbc[0] ? 2 : 1, open.pbc[1] ? 2 : 1, open.pbc[2] ? 2 : 1};
    const size_t copies = size_t(repeats[0]) * size_t(repeats[1]) * size_t(repeats[2]);
    const auto big = replicated(open, repeats);
    const auto super = evaluate(model, big);
    auto limit = budget(Agreement::geometry, model.capabilities(), big, super, summation_roundings(big.size()));
    limit.energy = limit.energy / double(copies) + model.capabilities().ulp(reference.energy);
    comparison.properties(per_copy(super, copies), reference, limit, open.name);
}

std::vector<Result> run(Context& context) {
    auto& model = context.model();
    const double spacing = context.sparse_spacing();
    std::mt19937_64 random(23);
    const auto source = crystal(context.types(), {2, 2, 2}, spacing, 0.15, random);
    Comparison comparison;
    std::vector<std::string> names;
    for (int mask = 0; mask < 8; ++mask) {
        auto open = source;
        auto vacuum = source;
        std::string label = "pbc ";
        for (int axis = 0; axis < 3; ++axis) {
            const bool periodic = (mask >> axis & 1) != 0;
            label += periodic ? 'T' : 'F';
            if (periodic) {
                continue;
            }
            open.pbc[axis] = false;
            open.cell[axis] = {0, 0, 0};
            // Images more than a cutoff away from all atoms.
            const double height = heights(source.cell)[axis];
            vacuum.cell[axis] = ((height + 2 * spacing + 1.1 * context.cutoff()) / height) * source.cell[axis];
        }
        open.name = label;
        names.push_back(label);
        attempt(comparison, open, [&] {
            if (!std::isfinite(context.capabilities().interaction_range)) {
                against_supercell(context, open, comparison);
                return;
            }
            const auto reference = evaluate(model, vacuum);
            if (!std::isfinite(reference.energy) || !std::isfinite(largest(reference.forces))) {
                vacuum.name = label + " with vacuum";
                comparison.in(vacuum);  // the one that goes wrong
            }
            const auto limit = budget(
                Agreement::geometry, model.capabilities(), open, reference, summation_roundings(open.size())
            );
            comparison.properties(evaluate(model, open), reference, limit, label);
        });
    }
    auto result = judged("periodicity", comparison, "",
                   std::isfinite(context.capabilities().interaction_range)
                       ? "surfaces, wires or molecules give other results than the same atoms in a box with vacuum"
                       : "bulk, surfaces, wires or molecules give other results than twice as many of their cells, or none");
    result.systems = names;
    return {result};
}

const Registered check({
    "GEO", "periodicity", "All eight periodicity masks equal the fully periodic system with vacuum; with an infinite range, their supercells.",
    "'geometry' of the tolerance table",
    {"periodicity"}, run,
});

}  // namespace

}  // namespace mtt
