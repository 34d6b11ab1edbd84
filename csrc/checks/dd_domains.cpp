// DD: the system cut into 1, 2, 4 and 8 domains with explicit ghosts and selected_atoms gives the whole.
#include <algorithm>
#include <cmath>

#include "mtt/check.hpp"
#include "mtt/context.hpp"
#include "mtt/domains.hpp"
#include "mtt/engine.hpp"
#include "mtt/generate.hpp"

namespace mtt {

namespace {

constexpr int longest = 64;

/// Long in one direction, so that half of it plus the range on both sides leaves something out.
std::vector<System> elongated_systems(Context& context) {
    const double range = context.capabilities().interaction_range;
    const double spacing = context.spacing();
    const auto types = context.types();
    std::mt19937_64 random(11);
    // Two domains see half a box and the range on either side: a box of 4 ranges is just seen whole.
    const int layers = int(std::ceil(4.3 * range / spacing)) + 1;
    std::vector<System> out;
    if (layers > longest) {
        return out;
    }
    auto rod = crystal(types, {layers, 1, 1}, spacing, 0.0, random);
    // One atom per layer is a chain; a tilted, wider cell makes it a lattice with pairs in all directions.
    rod.cell[1] = {0.3 * spacing, 1.3 * spacing, 0};
    rod.cell[2] = {0.2 * spacing, -0.2 * spacing, 1.2 * spacing};
    rod.name = "long triclinic crystal (" + std::to_string(rod.size()) + " atoms)";
    out.push_back(rod);
    const int half_layers = int(std::ceil(2.4 * range / spacing)) + 2;
    auto chain = cluster(types, {half_layers, 2, 1}, spacing, random);
    chain.name = "long cluster (" + std::to_string(chain.size()) + " atoms)";
    out.push_back(chain);
    return out;
}

/// Atoms in one half of a long periodic box: some domains have ghosts only, some nothing at all.
System half_empty(Context& context) {
    std::mt19937_64 random(12);
    const double range = context.capabilities().interaction_range;
    auto system = cluster(context.types(), {4, 2, 1}, context.spacing(), random);
    system.pbc = {true, true, true};
    const double length = std::max(4.0 * range, 8.0 * context.spacing()) + 4 * context.spacing();
    system.cell = {{{length, 0, 0}, {0, 4 * context.spacing(), 0}, {0, 0, 4 * context.spacing()}}};
    // Centred in the second of eight slabs, away from its borders.
    system = translated(system, {3.0 * length / 16, context.spacing(), context.spacing()});
    system.name = "half-empty box";
    return system;
}

struct Outcome {
    Comparison energies;
    Comparison forces;
    Comparison virials;
    size_t unseen = 0;
    size_t empty_domains = 0;
};

void compare_grid(Context& context, const System& system, const Properties& whole, const std::array<int, 3>& grid,
                  Outcome& outcome) {
    auto& model = context.model();
    const auto domains =
        decompose(system, grid, context.capabilities().interaction_range, model.requests(), 3 + system.size());
    for (const auto& domain : domains) {
        outcome.unseen += domain.unseen;
        outcome.empty_domains += domain.n_local == 0 ? 1 : 0;
    }
    const auto parts = evaluate_domains(model, domains, system.size());
    const auto limit = budget(
        Agreement::repeat, context.capabilities(), system, whole,
        // Every domain rounds its share, and the model may add up in its own dtype.
        1.0 + summation_roundings(system.size())
    );
    const std::string where = system.name + " on " + std::to_string(grid[0]) + "x" + std::to_string(grid[1]) + "x" +
                              std::to_string(grid[2]) + " domains";
    outcome.energies.energies(parts.energy, whole.energy, limit, where);
    outcome.forces.forces(parts.forces, whole.forces, limit, where);
    outcome.virials.virials(parts.virial, whole.virial, limit, where);
}

/// One line per number of domains: the worst of energy, forces and virial.
Result summarise(const std::string& name, Outcome& outcome, const Capabilities& capabilities) {
    const auto& worst = outcome.forces.ratio() >= std::max(outcome.energies.ratio(), outcome.virials.ratio())
        ? outcome.forces
        : (outcome.energies.ratio() >= outcome.virials.ratio() ? outcome.energies : outcome.virials);
    const std::string unit = &worst == &outcome.forces
        ? capabilities.energy_unit + "/" + capabilities.length_unit : capabilities.energy_unit;
    return judged(
        name, worst, unit, "the result depends on the number of MPI ranks: the interaction range is too small, "
        "selected_atoms is ignored, or ghost atoms are treated wrongly"
    );
}

std::vector<Result> run(Context& context) {
    const auto& capabilities = context.capabilities();
    const double range = capabilities.interaction_range;
    if (!(range >= 0) || !std::isfinite(range)) {
        return {skipped("domains", "an interaction range of " + short_number(range) + " allows one domain only")};
    }
    if (context.cutoff() > range) {
        return {skipped("domains", "engines refuse a cutoff larger than the interaction range")};
    }
    auto systems = elongated_systems(context);
    if (systems.empty()) {
        return {skipped("domains", "the interaction range is so long that no small system shows a domain its limits")};
    }
    systems.push_back(half_empty(context));
    std::vector<Properties> wholes;
    std::vector<std::string> names;
    for (const auto& system : systems) {
        wholes.push_back(evaluate(context.model(), system));
        names.push_back(system.name);
    }
    const std::pair<const char*, std::vector<std::array<int, 3>>> plans[] = {
        {"1 domain", {{1, 1, 1}}},
        {"2 domains", {{2, 1, 1}}},
        {"4 domains", {{4, 1, 1}, {2, 2, 1}}},
        {"8 domains", {{8, 1, 1}}},
    };
    std::vector<Result> out;
    for (const auto& [name, grids] : plans) {
        Outcome outcome;
        try {
            for (size_t k = 0; k < systems.size(); ++k) {
                for (const auto& grid : grids) {
                    compare_grid(context, systems[k], wholes[k], grid, outcome);
                }
            }
        } catch (const std::exception& error) {
            out.push_back(failed(name, explain(error)));
            continue;
        }
        auto result = summarise(name, outcome, capabilities);
        if (result.status == Status::pass && grids.front() != std::array<int, 3>{1, 1, 1}) {
            result = outcome.unseen > 0
                ? result : skipped(name, "every domain saw the whole system, so this proves nothing");
            result.message += "; " + std::to_string(outcome.empty_domains) + " domains without atoms";
        }
        result.systems = names;
        out.push_back(result);
    }
    return out;
}

const Registered check({
    "DD", "domains",
    "Local atoms plus ghosts within the interaction range, as in LAMMPS, summed over domains, give the whole system.",
    "'repeat' of the tolerance table, plus one rounding of the energy per domain", run,
});

}  // namespace

}  // namespace mtt
