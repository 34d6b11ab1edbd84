// GEO: the same crystal written with other lattice vectors, or as a supercell of a cell smaller than the cutoff.
#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

/// Properties of the supercell divided among its copies.
Properties per_copy(const Properties& super, size_t copies) {
    Properties out;
    const double share = 1.0 / double(copies);
    out.energy = share * super.energy;
    out.forces.assign(super.forces.begin(), super.forces.begin() + std::ptrdiff_t(super.forces.size() / copies));
    out.virial = {share * super.virial[0], share * super.virial[1], share * super.virial[2]};
    return out;
}

void small_cell(Context& context, Comparison& comparison) {
    auto& model = context.model();
    const double spacing = context.spacing();
    std::mt19937_64 random(21);
    auto small = crystal(context.types(), {1, 1, 2}, spacing, 0.2, random);
    small.name = "cell of two atoms";
    attempt(comparison, small, [&] {
        const auto reference = evaluate(model, small);
        const auto big = replicated(small, {3, 2, 2});
        const auto super = evaluate(model, big);
        auto limit = budget(Agreement::geometry, model.capabilities(), big, super, summation_roundings(big.size()));
        // The large energy is divided by the number of copies, and so is its rounding; the small one has its own.
        limit.energy = limit.energy / 12 + model.capabilities().ulp(reference.energy);
        comparison.properties(
            per_copy(super, 12), reference, limit, "a cell smaller than the cutoff, against its supercell"
        );
    });
}

void other_vectors(Context& context, Comparison& comparison) {
    auto& model = context.model();
    std::mt19937_64 random(22);
    const auto system = crystal(context.types(), {2, 2, 2}, context.spacing(), 0.25, random);
    const auto reference = evaluate(model, system);
    const auto limit = budget(
        Agreement::geometry, model.capabilities(), system, reference, summation_roundings(system.size())
    );
    auto skewed = system;
    skewed.cell[1] = system.cell[1] + system.cell[0];
    skewed.cell[2] = system.cell[2] - system.cell[1];
    auto left_handed = system;
    std::swap(left_handed.cell[0], left_handed.cell[2]);
    auto inverted = system;
    inverted.cell[1] = -1.0 * system.cell[1];
    const std::pair<System*, const char*> cells[] = {
        {&skewed, "strongly tilted lattice vectors"}, {&left_handed, "a left-handed cell"},
        {&inverted, "an inverted lattice vector"},
    };
    for (const auto& [cell, name] : cells) {
        cell->name = name;
        attempt(comparison, *cell, [&, cell = cell] {
            comparison.properties(evaluate(model, *cell), reference, limit, cell->name);
        });
    }
}

std::vector<Result> run(Context& context) {
    Comparison comparison;
    small_cell(context, comparison);
    other_vectors(context, comparison);
    auto result = judged("cells", comparison, "",
                         "the same crystal in another cell gives other results: periodic images within the cutoff are "
                         "lost or merged, or triclinic cells are handled wrongly");
    if (result.failing == std::vector<std::string>{"cell of two atoms"}) {
        result.unless = "a cell is smaller than the cutoff";
    }
    return {result};
}

const Registered check({
    "GEO", "lattice",
    "Cells smaller than the cutoff equal their supercells; tilted and left-handed cells equal plain ones.",
    "'geometry' of the tolerance table",
    {"cells"}, run,
});

}  // namespace

}  // namespace mtt
