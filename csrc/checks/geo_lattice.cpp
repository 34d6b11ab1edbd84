// GEO: the same crystal written with other lattice vectors, as a supercell of a cell smaller than the cutoff, and as one
// so large that models evaluate it in parts.
#include <array>

#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

void small_cell(Context& context, Comparison& comparison) {
    auto& model = context.model();
    std::mt19937_64 random(21);
    auto small = crystal(context.types(), {1, 1, 2}, context.sparse_spacing(), 0.2, random);
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
    const auto system = crystal(context.types(), {2, 2, 2}, context.sparse_spacing(), 0.25, random);
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

/// A crystal, copied until it has so many pairs that models which evaluate large systems in parts do so: mtt's do from
/// 4096 on. The whole, and its atoms selected in two calls, must give what the crystal gives.
void large_cell(Context& context, Comparison& comparison) {
    constexpr size_t enough_pairs = 4200;
    auto& model = context.model();
    std::mt19937_64 random(23);
    const auto small = crystal(context.types(), {1, 1, 3}, context.spacing(), 0.2, random);
    const size_t pairs = std::max<size_t>(1, context.pairs_of(small));
    std::array<int, 3> repeats = {2, 2, 2};
    for (size_t axis = 0; pairs * size_t(repeats[0]) * size_t(repeats[1]) * size_t(repeats[2]) < enough_pairs; ++axis) {
        ++repeats[axis % 3];
    }
    auto big = replicated(small, repeats);
    big.name = "supercell of " + std::to_string(big.size()) + " atoms";
    attempt(comparison, big, [&] {
        const auto& one = context.reference(small);
        const size_t copies = big.size() / small.size();
        Properties expected;
        expected.energy = double(copies) * one.energy;
        for (size_t k = 0; k < copies; ++k) {
            expected.forces.insert(expected.forces.end(), one.forces.begin(), one.forces.end());
        }
        expected.virial = {
            double(copies) * one.virial[0], double(copies) * one.virial[1], double(copies) * one.virial[2]
        };
        auto limit = budget(Agreement::geometry, model.capabilities(), big, expected, summation_roundings(big.size()));
        // The energy of the small one is rounded once, and then multiplied.
        limit.energy += double(copies) * model.capabilities().ulp(one.energy);
        comparison.properties(evaluate(model, big), expected, limit, big.name);
        // As a domain of LAMMPS has them: the atoms of one half of the box, then those of the other.
        std::array<Call, 2> halves;
        for (auto& half : halves) {
            half.systems = {big};
            half.select = Select::listed;
        }
        const Vec3 normal = cross(big.cell[1], big.cell[2]);
        const double middle = 0.5 * dot(big.cell[0], normal);
        for (size_t i = 0; i < big.size(); ++i) {
            const bool left = dot(big.positions[i], normal) < middle;
            halves[left ? 0 : 1].selected.emplace_back(0, int32_t(i));
        }
        auto sum = properties_of(model.evaluate(halves[0]));
        const auto rest = properties_of(model.evaluate(halves[1]));
        sum.energy += rest.energy;
        for (size_t i = 0; i < big.size(); ++i) {
            sum.forces[i] = sum.forces[i] + rest.forces[i];
        }
        for (size_t k = 0; k < 3; ++k) {
            sum.virial[k] = sum.virial[k] + rest.virial[k];
        }
        comparison.properties(sum, expected, limit, "two halves of a " + big.name);
    });
}

std::vector<Result> run(Context& context) {
    Comparison comparison;
    large_cell(context, comparison);
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
    "Cells smaller than the cutoff equal their supercells; tilted and left-handed cells equal plain ones; large "
    "supercells, whole and in two halves, equal what they are copies of.",
    "'geometry' of the tolerance table",
    {"cells"}, run,
});

}  // namespace

}  // namespace mtt
