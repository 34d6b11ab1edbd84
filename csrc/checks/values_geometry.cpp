// DD, GEO and SYM of targets without gradients, such as charges.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "mtt/checks/scattered.hpp"
#include "mtt/checks/values.hpp"
#include "mtt/engines/uses.hpp"
#include "mtt/model/outputs.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

constexpr const char* name = "values";
constexpr const char* without_atoms = "values without atoms";

std::vector<Result> domains(Context& context) {
    const double range = context.capabilities().interaction_range;
    const double spacing = context.spacing();
    if (!context.capabilities().per_atom() && !context.target().additive) {
        return {skipped(name, "its values belong to systems, and are no sum over atoms that engines could divide")};
    }
    if (!(range >= 0) || !std::isfinite(range)) {
        return {skipped(name, "an interaction range of " + short_number(range) + " allows one domain only")};
    }
    if (context.cutoff() > range || 4.3 * range / spacing > 60) {
        return {skipped(name, "the interaction range allows no decomposition of a small system")};
    }
    std::mt19937_64 random(15);
    const ValueReader reader(context);
    auto open = cluster(context.types(), {int(std::ceil(2.4 * range / spacing)) + 2, 2, 1}, spacing, random);
    auto periodic = crystal(context.types(), {int(std::ceil(4.3 * range / spacing)) + 1, 2, 1}, spacing, 0.2, random);
    std::mt19937_64 drawn(17 + context.mode().seed);
    auto systems = systems_to_divide(context, context.level() == Level::quick ? 2 : 10, drawn);
    systems.push_back(open);
    systems.push_back(periodic);
    if (context.target().per_volume) {
        std::erase_if(systems, [](const System& system) { return !system.periodic(); });
    }
    std::vector<std::string> names;
    Comparison comparison;
    size_t unseen = 0;
    auto& model = context.model();
    for (const auto& system : systems) {
        // Not comparison.in(): whether a domain misses what it needs is chance, and no matter of periodicity.
        names.push_back(system.name);
        const auto undivided = reader.undivided(model, system);
        for (const int pieces : {2, 4}) {
            const auto parts = decompose(system, {pieces, 1, 1}, range, model.requests(), 16);
            for (const auto& part : parts) {
                unseen += part.unseen;
            }
            reader.compare(comparison, reader.values(model, parts, system.size()), undivided, Agreement::repeat,
                           system.name + " on " + std::to_string(pieces) + " domains");
        }
    }
    auto out = judged(name, comparison, context.capabilities().energy_unit,
                      "values differ between one and several MPI ranks: the interaction range is too small, or ghost "
                      "atoms are treated wrongly");
    if (out.status == Status::pass && unseen == 0 && context.cutoff() > 0) {
        out = skipped(name, "every domain saw the whole system, so this proves nothing");
    }
    out.systems = names;
    out = among_selected(context, std::move(out));
    std::erase(out.matters, "plumed");  // it has no domains
    const auto cuts = [](const std::string& use) { return use_of(use).decomposes; };
    if (out.status == Status::fail && !out.matters.empty() && std::none_of(out.matters.begin(), out.matters.end(), cuts)) {
        out.unless = "it runs on several ranks" + (out.unless.empty() ? "" : ": " + out.unless);
    }
    return {out};
}

/// PLUMED starts with a call without atoms, to learn the shape of features; so do ranks that own nothing and see nothing.
Result no_atoms(Context& context) {
    if (!context.capabilities().per_atom()) {
        return skipped(without_atoms, "its values belong to systems");
    }
    const bool features = quantity_of(context.target().name) == "feature";
    const std::vector<std::string> askers = features ? std::vector<std::string>{"plumed"}
                                                     : std::vector<std::string>{"lammps:fix", "lammps:compute"};
    const std::string when = features ? "" : "a rank has no atoms";
    System nothing;
    nothing.name = "0 atoms";
    try {
        const auto rows = ValueReader(context).values(context.model(), nothing).atoms.size();
        return rows == 0 ? passed(without_atoms)
                         : failed(without_atoms, "a system without atoms has values of atoms").only(askers).when(when);
    } catch (const std::exception& error) {
        return failed(without_atoms, "a call without atoms fails", error)
            .as(features ? Severity::refuses : Severity::stops).only(askers).when(when);
    }
}

Result single_atoms(Context& context) {
    const ValueReader reader(context);
    auto& model = context.model();
    const auto& capabilities = context.capabilities();
    // What reaches further than any box can not be the same in one.
    const bool alone = !context.target().per_volume;
    const bool comparable = alone && std::isfinite(capabilities.interaction_range);
    Comparison comparison;
    for (const int32_t type : context.types()) {
        const auto atom = single_atom(type);
        auto boxed = atom;
        const double length = 2 * context.cutoff() + 5 * capabilities.angstrom;
        boxed.pbc = {true, true, true};
        boxed.cell = {{{length, 0, 0}, {0, length, 0}, {0, 0, length}}};
        auto dimer = alone ? atom : boxed;
        dimer.types.push_back(type);
        dimer.positions.push_back(atom.positions[0] + Vec3{0.2 * typical_distance({type}) * capabilities.angstrom, 0, 0});
        const std::string of_type = " of type " + std::to_string(type);
        const auto reference = reader.values(model, alone ? atom : boxed);
        const auto in_box = reader.values(model, boxed);
        if (!finite(reference) || !finite(in_box) || !finite(reader.values(model, dimer))) {
            return failed(name, "values of an isolated atom, or of two close atoms," + of_type + " are not finite");
        }
        if (comparable) {
            reader.compare(comparison, in_box, reference, Agreement::repeat, "an isolated atom" + of_type + " in a box");
        }
    }
    if (!comparable) {
        return passed(name, "finite for one atom, and for two close ones");
    }
    return judged(name, comparison, capabilities.energy_unit, "the value of an isolated atom depends on an empty box");
}

std::vector<Result> few_atoms(Context& context) {
    return {guarded(name, [&] { return single_atoms(context); }), no_atoms(context)};
}

Values reordered(const Values& values, const std::vector<size_t>& order, size_t numbers) {
    Values out = values;
    for (size_t i = 0; i < order.size() && !values.atoms.empty(); ++i) {
        for (size_t p = 0; p < numbers; ++p) {
            out.atoms[order[i] * numbers + p] = values.atoms[i * numbers + p];
        }
    }
    return out;
}

/// What a target that is a place becomes when the system moves.
Values moved(Values values, const Vec3& shift) {
    for (size_t k = 0; k < values.atoms.size(); ++k) {
        values.atoms[k] += shift[k % 3];
    }
    return values;
}

std::vector<Result> symmetries(Context& context) {
    const ValueReader reader(context);
    auto& model = context.model();
    const auto& capabilities = context.capabilities();
    const Vec3 shift = {1000 * capabilities.angstrom, -700 * capabilities.angstrom, 300 * capabilities.angstrom};
    // Coordinates of this size are rounded once more, by this much in units of an angstrom.
    const double lost = 10 * capabilities.ulp(norm(shift)) / capabilities.angstrom;
    std::mt19937_64 random(33);
    Comparison comparison;
    for (const auto& system : reader.systems()) {
        if (system.size() > 40) {
            continue;
        }
        const auto reference = reader.values(model, system);
        std::vector<size_t> order(system.size());
        std::iota(order.begin(), order.end(), 0);
        for (size_t k = order.size(); k > 1; --k) {
            std::swap(order[k - 1], order[uniform_index(random, k)]);
        }
        comparison.in(system);
        reader.compare(comparison, reordered(reader.values(model, permuted(system, order)), order, reader.numbers()),
                       reference, Agreement::repeat, system.name + " with its atoms in another order");
        reader.compare(comparison, reader.values(model, translated(system, shift)),
                       reader.is_place() ? moved(reference, shift) : reference, Agreement::geometry,
                       system.name + " moved by 1000 angstrom", lost);
        auto call = ValueReader::call_of(system);
        call.pairs.emplace_back();
        for (const auto& request : model.requests()) {
            call.pairs[0].push_back(build_pairs(system, request));
            shuffle(call.pairs[0].back(), random);
        }
        reader.compare(comparison, reader.values(model, call), reference, Agreement::repeat,
                       system.name + " with its pairs in another order");
    }
    return {judged(name, comparison, capabilities.energy_unit,
                   "values depend on the order of atoms or pairs, or on where the system is")};
}

const Registered dd({
    "DD", "values", "Values of local atoms on 2 and 4 domains, with ghosts within the interaction range, equal those of the whole.",
    "'repeat' of the tolerance table, relative to the spread of the values of one atomic type", {name},
    about_values(domains), Level::quick, {"lammps:ranks=several", "gromacs:ranks=several", "lammps:fix", "lammps:compute"},
}, About::values);

const Registered geo({
    "GEO", "values", "One atom in a box and two close atoms have finite values, and there are none where there is no atom.",
    "'repeat' of the tolerance table, relative to the spread of the values of one atomic type", {name, without_atoms},
    about_values(few_atoms, {name, without_atoms}), Level::quick, {"all"},
}, About::values);

const Registered sym({
    "SYM", "values", "Order of atoms and pairs and translations change no value of a target without gradients.",
    "'repeat', and 'geometry' with the rounding of large coordinates for translations, relative to the spread of the values of one atomic type",
    {name}, about_values(symmetries), Level::quick, {"all"},
}, About::values);

}  // namespace

}  // namespace mtt
