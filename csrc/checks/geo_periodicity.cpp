// GEO: every combination of periodic directions equals the fully periodic system with vacuum along the others.
#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

std::vector<Result> run(Context& context) {
    auto& model = context.model();
    const double spacing = context.spacing();
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
                   "surfaces, wires or molecules give other results than the same atoms in a box with vacuum");
    result.systems = names;
    return {result};
}

const Registered check({
    "GEO", "periodicity", "All eight periodicity masks equal the fully periodic system with vacuum.",
    "'geometry' of the tolerance table",
    {"periodicity"}, run,
});

}  // namespace

}  // namespace mtt
