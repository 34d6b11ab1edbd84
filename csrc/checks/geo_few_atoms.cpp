// GEO: no atoms, one atom, atoms without neighbors, atoms very close: no crash, no NaN, no forces out of nowhere.
#include <algorithm>
#include <cmath>

#include "mtt/model/torch_model.hpp"
#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

bool finite(const Properties& p) {
    return std::isfinite(p.energy) && std::isfinite(largest(p.forces)) && std::isfinite(largest(p.virial));
}

Result no_atoms(Context& context) {
    const std::string name = "empty system";
    System nothing;
    nothing.name = "0 atoms";
    try {
        Call call;
        call.systems = {nothing};
        call.gradients = false;
        const auto answer = context.model().evaluate(call);
        const double value = single_row(answer);
        if (value != 0.0) {
            return failed(name, "a system without atoms has the energy " + short_number(value));
        }
        return passed(name);
    } catch (const std::exception& error) {
        return failed(name, "a system without atoms fails (PLUMED starts with one): " + explain(error));
    }
}

/// How far apart things must be to have nothing to do with each other.
double separation(Context& context) {
    const double range = context.capabilities().interaction_range;
    return (std::isfinite(range) ? std::max(range, context.cutoff()) : 2 * context.cutoff()) +
           5 * context.capabilities().angstrom;
}

/// The energy that one more atom adds to a molecule far away.
double energy_far_from_others(Context& context, const System& alone) {
    std::mt19937_64 random(25);
    auto molecule = cluster({alone.types.front()}, {2, 1, 1}, context.spacing(), random);
    const double without = energy(context.model(), molecule);
    molecule.types.push_back(alone.types.front());
    molecule.positions.push_back({-separation(context), 0, 0});
    return energy(context.model(), molecule) - without;
}

Result isolated_atoms(Context& context) {
    const std::string name = "isolated atom";
    auto& model = context.model();
    Comparison comparison;
    for (const int32_t type : context.types()) {
        auto alone = single_atom(type);
        alone.name += " of type " + std::to_string(type);
        auto boxed = alone;
        const double length = 2 * context.cutoff() + 5 * context.capabilities().angstrom;
        boxed.pbc = {true, true, true};
        boxed.cell = {{{length, 0, 0}, {0, length, 0}, {0, 0, length}}};
        Properties free;
        Properties periodic;
        try {
            free = evaluate(model, alone);
            periodic = evaluate(model, boxed);
        } catch (const std::exception& error) {
            return failed(name, "the model fails for an " + alone.name + ": " + explain(error));
        }
        if (!finite(free) || !finite(periodic)) {
            return failed(name, "energy or forces of an " + alone.name + " are not finite: one evaporated atom ends a "
                          "simulation");
        }
        const auto limit = budget(Agreement::repeat, context.capabilities(), alone, free, 4.0);
        comparison.add(energy_far_from_others(context, alone) - free.energy, 4 * limit.energy,
                       "energy of an " + alone.name + " far from a molecule");
        comparison.energies(periodic.energy, free.energy, limit, alone.name);
        comparison.add(largest(free.forces), 1e-3 * limit.force, "force on an " + alone.name);
        comparison.add(largest(periodic.virial), 1e-3 * limit.virial, "virial of an " + alone.name);
    }
    return judged(name, comparison, "", "an isolated atom feels a force, or its energy depends on an empty box");
}

/// A molecule and, far away, one more atom: the energy is the sum, the last atom has no neighbors.
Result lonely_last_atom(Context& context) {
    auto& model = context.model();
    std::mt19937_64 random(24);
    auto system = cluster(context.types(), {2, 2, 1}, context.spacing(), random);
    auto alone = single_atom(system.types.front());
    const auto part = evaluate(model, system);
    const auto rest = evaluate(model, alone);
    system.types.push_back(alone.types.front());
    system.positions.push_back({-separation(context), 0, 0});
    system.name = "molecule with a distant atom";
    const auto both = evaluate(model, system);
    Properties sum;
    sum.energy = part.energy + rest.energy;
    sum.forces = part.forces;
    sum.forces.push_back({0, 0, 0});
    const auto limit = budget(
        Agreement::repeat, context.capabilities(), system, both, 1 + summation_roundings(system.size())
    );
    Comparison comparison;
    comparison.properties(both, sum, limit, system.name, false);
    return judged("atoms without neighbors", comparison, "", "an atom that has no neighbors changes the others or is lost");
}

/// MD with a bad start compresses atoms; NaN then spreads over everything.
Result compressed(Context& context) {
    const std::string name = "close atoms";
    const auto types = context.types();
    for (const double fraction : {0.5, 0.2}) {
        System dimer = single_atom(types.front());
        dimer.types.push_back(types.back());
        dimer.positions = {{0, 0, 0}, {fraction * typical_distance(types) * context.capabilities().angstrom, 0, 0}};
        // The optimized derivatives of later calls are other code than those of the first.
        for (int call = 0; call < 4; ++call) {
            if (!finite(evaluate(context.model(), dimer))) {
                return failed(name, "energy or forces are not finite for two atoms at " + short_number(fraction) +
                              " of their bond length");
            }
        }
    }
    return passed(name);
}

std::vector<Result> run(Context& context) {
    return {
        no_atoms(context),
        guarded("isolated atom", [&] { return isolated_atoms(context); }),
        guarded("atoms without neighbors", [&] { return lonely_last_atom(context); }),
        guarded("close atoms", [&] { return compressed(context); }),
    };
}

const Registered check({
    "GEO", "few atoms", "No atom, one atom, an atom without neighbors and two very close atoms are handled.",
    "'repeat' of the tolerance table; exact zero where nothing interacts",
    {"empty system", "isolated atom", "atoms without neighbors", "close atoms"}, run,
});

}  // namespace

}  // namespace mtt
