// DD: the system cut into 1, 2, 4 and 8 domains with explicit ghosts and selected_atoms gives the whole.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "mtt/checks/empty_rank.hpp"
#include "mtt/checks/scattered.hpp"
#include "mtt/engines/uses.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/physics/domains.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

constexpr int longest = 64;

/// Long in one direction, so that half of it plus the range on both sides leaves something out.
std::vector<System> elongated_systems(Context& context) {
    const double range = context.capabilities().interaction_range;
    const double step = context.stride();
    const auto types = context.types();
    std::mt19937_64 random(11);
    // Two domains see half a box and the range on either side: a box of 4 ranges is just seen whole.
    const int layers = int(std::ceil(4.3 * range / step)) + 1;
    std::vector<System> out;
    if (layers > longest) {
        return out;
    }
    auto rod = crystal(types, {layers, 1, 1}, step, 0.0, random);
    // One atom per layer is a chain; a tilted, wider cell makes it a lattice with pairs in all directions. It is smaller
    // than the cutoff, where there is one.
    const double across = std::max(1.3 * context.spacing(), std::min(2.0 * context.spacing(), 0.75 * context.cutoff()));
    rod.cell[1] = {0.23 * across, across, 0};
    rod.cell[2] = {0.15 * across, -0.15 * across, 0.92 * across};
    rod.name = "long triclinic crystal (" + std::to_string(rod.size()) + " atoms)";
    out.push_back(rod);
    const int half_layers = int(std::ceil(2.4 * range / step)) + 2;
    auto chain = cluster(types, {half_layers, 2, 1}, step, random);
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
    // Centered in the second of eight slabs, away from its borders.
    system = translated(system, {3.0 * length / 16, context.spacing(), context.spacing()});
    system.name = "half-empty box";
    return system;
}

/// A rank without atoms whose ghosts have many pairs. Models may take those in another way: ours do from 4096 on.
std::optional<Domain> crowded_ghosts(Context& context) {
    constexpr size_t many = 4500;
    constexpr int widest = 9;
    std::mt19937_64 random(13);
    if (!(context.cutoff() > 0)) {
        return std::nullopt;
    }
    Domain out;
    size_t pairs = 0;
    for (int n = 3; n <= widest && pairs < many; ++n) {
        out.system = crystal(context.types(), {n, n, n}, context.spacing(), 0.0, random);
        pairs = context.pairs_of(out.system);
    }
    for (const auto& request : context.model().requests()) {
        out.pairs.push_back(build_pairs(out.system, request));
        shuffle(out.pairs.back(), random);
    }
    return out;
}

/// Pairs of close atoms pull in all directions: the sum is small, its rounding in float32 is not, and ghosts have other
/// coordinates than the atoms that they are copies of. How much that is, the same model in float64 says; or, where it has
/// no other precision, the same system elsewhere and with its atoms in another order.
void allow_rounding(Context& context, const System& system, const Properties& narrow, Budget& limit) {
    if (context.capabilities().dtype != "float32") {
        return;
    }
    constexpr double sums = 3.0;   // of two roundings that differ
    constexpr double most = 10.0;  // more is no rounding
    auto& precise = context.precise();
    Properties exact;
    const auto evaluate_all = [&](const System& what) {
        auto out = evaluate(precise, what);
        if (!narrow.energies.empty()) {
            out.energies = atomic_energies(precise, what);
        }
        return out;
    };
    if (&precise != &context.model()) {
        exact = evaluate_all(system);
    } else {
        std::vector<size_t> order(system.size());
        for (size_t i = 0; i < order.size(); ++i) {
            order[i] = order.size() - 1 - i;
        }
        const double far = context.spacing();
        const auto other = evaluate_all(permuted(translated(system, {1.37 * far, -2.71 * far, 0.59 * far}), order));
        exact = other;
        for (size_t i = 0; i < order.size(); ++i) {
            exact.forces[order[i]] = other.forces[i];
        }
        for (size_t i = 0; i < other.energies.size(); ++i) {
            exact.energies[order[i]] = other.energies[i];
        }
    }
    double force = 0.0;
    double virial = 0.0;
    double atomic = 0.0;
    for (size_t i = 0; i < narrow.energies.size(); ++i) {
        atomic = std::max(atomic, std::abs(exact.energies[i] - narrow.energies[i]));
    }
    for (size_t i = 0; i < system.size(); ++i) {
        force = std::max(force, largest(std::vector<Vec3>{exact.forces[i] - narrow.forces[i]}));
    }
    for (int k = 0; k < 3; ++k) {
        virial = std::max(virial, largest(std::vector<Vec3>{exact.virial[k] - narrow.virial[k]}));
    }
    const double energy = std::abs(exact.energy - narrow.energy);
    const auto widen = [&](double& allowed, double rounding) { allowed += std::min(sums * rounding, most * allowed); };
    widen(limit.force, force);
    widen(limit.virial, virial);
    widen(limit.energy, energy);
    widen(limit.atomic_energy, atomic);
}

struct Outcome {
    Comparison energies;
    Comparison atoms;
    Comparison forces;
    Comparison virials;
    size_t unseen = 0;
    size_t without_atoms = 0;
    /// What went wrong on a domain without atoms.
    std::optional<Result> empty_failure;

    [[nodiscard]] bool passed() const {
        return energies.passed() && atoms.passed() && forces.passed() && virials.passed();
    }
};

/// A rank without atoms must give one row of zero, whatever its ghosts are. LAMMPS takes one number of each rank; GROMACS
/// adds up whatever rows there are.
/// @param uncertain whether uncertainties are asked for as well, of which there must be none
std::optional<Result> failure_of_call(Model& model, const Domain& domain, bool uncertain) {
    const std::string name = "empty selection";
    const std::string circumstances = uncertain ? with_uncertainty : "a rank has no atoms";
    auto call = call_of(domain, Kind::system);
    const auto output = uncertain ? add_uncertainty(call, model.capabilities()) : "";
    if (uncertain && output.empty()) {
        return std::nullopt;
    }
    try {
        const auto answer = model.evaluate(call);
        double energy = 0.0;
        for (const double row : answer.values) {
            energy += row;
        }
        if (energy != 0.0 || !(largest(answer.forces.at(0)) == 0.0) || !(largest(answer.virials.at(0)) == 0.0)) {
            return failed(name, "a rank without atoms adds energy, forces or virial of its own").when(circumstances);
        }
        if (answer.values.size() != 1) {
            return failed(name, "a rank without atoms ends the run on all ranks: the model returned " +
                          std::to_string(answer.values.size()) + " rows instead of one row of zero")
                .as(Severity::stops).only({"lammps:ranks=several"}).when(circumstances);
        }
        if (const auto problem = uncertain ? uncertainty_problem(answer, output) : ""; !problem.empty()) {
            return failed(name, "of a rank without atoms " + problem).when(circumstances);
        }
    } catch (const std::exception& error) {
        const std::string what = uncertain ? " where '" + output + "' is asked for beside the energy" : "";
        return failed(name, "a rank without atoms ends the run on all ranks" + what, error)
            .as(Severity::stops).when(circumstances);
    }
    return std::nullopt;
}

/// First the energy alone, so that a failure of the other call is one of uncertainties.
std::optional<Result> empty_domain_failure(Model& model, const Domain& domain) {
    auto failure = failure_of_call(model, domain, false);
    return failure.has_value() ? failure : failure_of_call(model, domain, true);
}

void look_at_crowded_ghosts(Context& context, Outcome& outcome) {
    const auto domain = crowded_ghosts(context);
    if (!domain.has_value() || outcome.empty_failure.has_value()) {
        return;
    }
    ++outcome.without_atoms;
    outcome.empty_failure = empty_domain_failure(context.model(), *domain);
    if (outcome.empty_failure.has_value()) {
        outcome.empty_failure->message += "; only of many ghosts, with " + std::to_string(domain->pairs.front().size()) + " pairs";
    }
}

/// What the domains of one grid give for the whole system.
struct Divided {
    Properties parts;
    /// What was asked for: LAMMPS asks for one energy, or for those of atoms when it has to show them; never for both.
    Kind kind = Kind::system;
    std::string where;
};

/// Forces, virial and the energies of atoms, all from the same calls.
Properties divided_atoms(Model& model, const std::vector<Domain>& domains, size_t n_atoms) {
    Properties total;
    total.forces.assign(n_atoms, Vec3{});
    // An atom for which no domain has a row is missing, not a number.
    total.energies.assign(n_atoms, std::numeric_limits<double>::infinity());
    for (const auto& domain : domains) {
        const auto answer = model.evaluate(call_of(domain, Kind::atom));
        for (size_t row = 0; row < answer.samples.size(); ++row) {
            const auto atom = answer.samples[row].size() == 2 ? answer.samples[row][1] : -1;
            // LAMMPS adds a row to whatever atom its label names.
            if (atom >= 0 && size_t(atom) < domain.n_local && row < answer.values.size()) {
                total.energies[domain.origin[size_t(atom)]] = answer.values[row];
            }
        }
        add_derivatives(total, domain, answer);
    }
    return total;
}

Divided divide(Context& context, const System& system, const std::array<int, 3>& grid, Kind kind, Outcome& outcome) {
    auto& model = context.model();
    auto domains =
        decompose(system, grid, context.capabilities().interaction_range, model.requests(), 3 + system.size());
    for (const auto& domain : domains) {
        if (grid != std::array<int, 3>{1, 1, 1}) {
            outcome.unseen += domain.unseen;
        }
        if (domain.n_local == 0) {
            ++outcome.without_atoms;
            if (!outcome.empty_failure.has_value()) {
                outcome.empty_failure = empty_domain_failure(model, domain);
            }
        }
    }
    // Reported on their own, so that they do not hide the other ranks.
    domains.erase(std::remove_if(domains.begin(), domains.end(), [](const auto& d) { return d.n_local == 0; }),
                  domains.end());
    Divided out;
    out.kind = kind;
    out.parts = kind == Kind::atom ? divided_atoms(model, domains, system.size())
                                   : evaluate_domains(model, domains, system.size());
    out.where = system.name + " on " + std::to_string(grid[0]) + "x" + std::to_string(grid[1]) + "x" +
                std::to_string(grid[2]) + " domains";
    return out;
}

void judge(const std::vector<Divided>& grids, const Properties& undivided, const Budget& limit, Outcome& outcome) {
    for (const auto& [parts, kind, where] : grids) {
        outcome.forces.forces(parts.forces, undivided.forces, limit, where);
        outcome.virials.virials(parts.virial, undivided.virial, limit, where);
        if (kind == Kind::atom) {
            outcome.atoms.atomic_energies(parts.energies, undivided.energies, limit, where);
        } else {
            outcome.energies.energies(parts.energy, undivided.energy, limit, where);
        }
    }
}

std::vector<Result> results_of(const Outcome& outcome, const Capabilities& capabilities) {
    const std::string& energy = capabilities.energy_unit;
    const std::string consequence = "differs between one and several MPI ranks: the interaction range is too small, "
                                    "selected_atoms is ignored, or ghost atoms are treated wrongly";
    std::vector<Result> out = {
        judged("energy", outcome.energies, energy, "the energy " + consequence),
        judged("atomic energies", outcome.atoms, energy,
               "per-atom energies end up at other atoms, or differ between one and several MPI ranks"),
        judged("forces", outcome.forces, energy + "/" + capabilities.length_unit, "the force on an atom " + consequence),
        judged("virial", outcome.virials, energy, "the virial " + consequence),
    };
    if (outcome.unseen == 0) {
        for (auto& result : out) {
            if (result.status == Status::pass) {
                result = skipped(result.name, "every domain saw the whole system, so this proves nothing");
            }
        }
    }
    if (outcome.empty_failure.has_value()) {
        out.push_back(*outcome.empty_failure);
    } else if (outcome.without_atoms == 0) {
        out.push_back(skipped("empty selection", "no domain was without atoms"));
    } else {
        out.push_back(passed("empty selection", std::to_string(outcome.without_atoms) + " domains without atoms"));
    }
    return out;
}

std::vector<Result> run(Context& context) {
    const auto& capabilities = context.capabilities();
    const double range = capabilities.interaction_range;
    if (!(range >= 0) || !std::isfinite(range)) {
        return {skipped("energy", "an interaction range of " + short_number(range) + " allows one domain only")};
    }
    if (context.cutoff() > range) {
        return {skipped("energy", "engines refuse a cutoff larger than the interaction range")};
    }
    if (range > 40 * context.spacing()) {
        return {skipped("energy", "the interaction range is so long that no small system shows a domain its limits")};
    }
    using Grid = std::array<int, 3>;
    Outcome outcome;
    std::vector<std::string> names;
    size_t turn = 0;
    const auto compare = [&](const System& system, const std::vector<Grid>& grids) {
        auto undivided = evaluate(context.model(), system);
        if (capabilities.per_atom()) {
            undivided.energies = atomic_energies(context.model(), system);
        }
        // Every domain rounds its share, and the model may add up in its own dtype.
        auto limit = budget(Agreement::repeat, capabilities, system, undivided, 1.0 + summation_roundings(system.size()));
        // Whether a domain misses what it needs is chance, but no numbers for the whole have a reason in the system.
        const bool finite = std::isfinite(undivided.energy) && std::isfinite(largest(undivided.forces));
        for (auto* comparison : {&outcome.energies, &outcome.forces, &outcome.virials, &outcome.atoms}) {
            finite ? comparison->in_general() : comparison->in(system);
        }
        std::vector<Divided> divided;
        for (const auto& grid : grids) {
            // By turns, so that all systems and grids are divided in either way by one call for each domain.
            const bool atoms = capabilities.per_atom() && turn++ % 2 == 1;
            divided.push_back(divide(context, system, grid, atoms ? Kind::atom : Kind::system, outcome));
        }
        // What rounding adds takes calls in float64, and few systems need it.
        auto narrow = outcome;
        judge(divided, undivided, limit, narrow);
        if (narrow.passed()) {
            outcome = std::move(narrow);
        } else {
            allow_rounding(context, system, undivided, limit);
            judge(divided, undivided, limit, outcome);
        }
        names.push_back(system.name);
    };
    auto systems = elongated_systems(context);
    systems.push_back(half_empty(context));
    for (const auto& system : systems) {
        compare(system, {{1, 1, 1}, {2, 1, 1}, {2, 2, 1}, {8, 1, 1}});
    }
    // Here the domains are cut at random places.
    const bool quick = context.level() == Level::quick;
    std::mt19937_64 random(17 + context.mode().seed);
    for (const auto& system : systems_to_divide(context, quick ? 3 : 10, random)) {
        const std::vector<Grid> grids = {{2, 1, 1}, {3, 1, 1}, {2, 2, 1}, {4, 1, 2}};
        std::vector<Grid> drawn = {grids[0], grids[1 + uniform_index(random, grids.size() - 1)]};
        drawn.resize(quick ? 1 : 2);
        compare(system, drawn);
    }
    look_at_crowded_ghosts(context, outcome);
    auto out = results_of(outcome, capabilities);
    for (auto& result : out) {
        result.systems = names;
    }
    return out;
}

const Registered check({
    "DD", "domains",
    "1, 2, 4 and 8 domains of local atoms plus ghosts within the interaction range, as in LAMMPS, add up to the whole. One "
    "without atoms of its own adds nothing, however many its ghosts are, and has no uncertainties.",
    "'repeat' of the tolerance table, plus one rounding of the energy per domain",
    {"energy", "atomic energies", "forces", "virial", "empty selection"}, run, Level::quick,
    uses_with(&Use::decomposes),
});

}  // namespace

}  // namespace mtt
