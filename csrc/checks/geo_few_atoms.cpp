// GEO: one atom, atoms without neighbors, atoms very close: no crash, no NaN, no forces out of nowhere.
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

/// Whether things that are far enough apart have nothing to do with each other.
bool has_range(Context& context) { return std::isfinite(context.capabilities().interaction_range); }

/// How far apart things must be for that. Of a model without range, just far.
double separation(Context& context) {
    const double range = context.capabilities().interaction_range;
    return (has_range(context) ? std::max(range, context.cutoff()) : 2 * context.cutoff()) +
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
            return failed(name, "the model fails for an " + alone.name, error).as(Severity::stops);
        }
        if (!finite(free) || !finite(periodic)) {
            return failed(name, "energy or forces of an " + alone.name + " are not finite: one evaporated atom ends a "
                          "simulation").as(Severity::stops);
        }
        const auto limit = budget(Agreement::repeat, context.capabilities(), alone, free, 4.0);
        comparison.add(largest(free.forces), 1e-3 * limit.force, "force on an " + alone.name);
        // Its images are at equal distances on all sides.
        comparison.add(largest(periodic.forces), limit.force, "force on an " + alone.name + " in a box");
        if (has_range(context)) {
            comparison.add(energy_far_from_others(context, alone) - free.energy, 4 * limit.energy,
                           "energy of an " + alone.name + " far from a molecule");
            comparison.energies(periodic.energy, free.energy, limit, alone.name);
            comparison.add(largest(periodic.virial), 1e-3 * limit.virial, "virial of an " + alone.name);
        }
    }
    return judged(name, comparison, "", "an isolated atom feels a force, or its energy depends on an empty box");
}

/// A molecule and one more atom, and what they are apart from each other.
struct Pieces {
    System system;
    Properties both;
    Properties sum;
    Budget limit;
};

Pieces pieces_at(Context& context, double distance) {
    auto& model = context.model();
    std::mt19937_64 random(24);
    Pieces out;
    out.system = cluster(context.types(), {2, 2, 1}, context.spacing(), random);
    const auto alone = single_atom(out.system.types.front());
    out.sum = evaluate(model, out.system);
    out.sum.energy += evaluate(model, alone).energy;
    out.sum.forces.push_back({0, 0, 0});
    out.system.types.push_back(alone.types.front());
    out.system.positions.push_back({-distance, 0, 0});
    out.system.name = "molecule with a distant atom";
    out.both = evaluate(model, out.system);
    out.limit = budget(Agreement::repeat, context.capabilities(), out.system, out.both, 1 + summation_roundings(out.system.size()));
    return out;
}

double force_between(const Pieces& pieces) {
    std::vector<Vec3> out;
    for (size_t i = 0; i < pieces.both.forces.size(); ++i) {
        out.push_back(pieces.both.forces[i] - pieces.sum.forces[i]);
    }
    return largest(out);
}

/// Without range: what the pieces do to each other must become less with distance, as charges do or faster.
Result fading(Context& context, const std::string& name) {
    constexpr double at_least = 0.8;
    const double distance = separation(context);
    const auto near = pieces_at(context, distance);
    const auto far = pieces_at(context, 2 * distance);
    const double energies[] = {std::abs(near.both.energy - near.sum.energy), std::abs(far.both.energy - far.sum.energy)};
    const double forces[] = {force_between(near), force_between(far)};
    if (!finite(near.both) || !finite(far.both)) {
        return failed(name, "energy or forces of a molecule with a distant atom are not finite").as(Severity::stops);
    }
    if (energies[1] <= near.limit.energy + at_least * energies[0] && forces[1] <= near.limit.force + at_least * forces[0]) {
        return passed(name, "no range is declared; at twice the distance the interaction is " +
                      short_number(energies[0] > 0 ? energies[1] / energies[0] : 0.0) + " of what it was");
    }
    return skipped(name, "no range is declared, and an atom far away matters as much as a near one: that may be the model");
}

/// A molecule and, far away, one more atom: the energy is the sum, the last atom has no neighbors.
Result lonely_last_atom(Context& context) {
    const std::string name = "atoms without neighbors";
    if (!has_range(context)) {
        return fading(context, name);
    }
    const auto pieces = pieces_at(context, separation(context));
    Comparison comparison;
    comparison.properties(pieces.both, pieces.sum, pieces.limit, pieces.system.name, false);
    return judged(name, comparison, "", "an atom that has no neighbors changes the others or is lost");
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
        guarded("isolated atom", [&] { return isolated_atoms(context); }),
        guarded("atoms without neighbors", [&] { return lonely_last_atom(context); }),
        guarded("close atoms", [&] { return compressed(context); }),
    };
}

const Registered check({
    "GEO", "few atoms", "One atom, an atom without neighbors and two very close atoms are handled.",
    "'repeat' of the tolerance table; exact zero where nothing interacts",
    {"isolated atom", "atoms without neighbors", "close atoms"}, run,
});

}  // namespace

}  // namespace mtt
