// DD, GEO and SYM of targets without gradients, such as charges.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "mtt/checks/values.hpp"
#include "mtt/engines/uses.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

constexpr const char* name = "values";

std::vector<Result> domains(Context& context) {
    const double range = context.capabilities().interaction_range;
    const double spacing = context.spacing();
    if (!(range >= 0) || !std::isfinite(range) || context.cutoff() > range || 4.3 * range / spacing > 60) {
        return {skipped(name, "the interaction range allows no decomposition of a small system")};
    }
    std::mt19937_64 random(15);
    const ValueReader reader(context);
    auto open = cluster(context.types(), {int(std::ceil(2.4 * range / spacing)) + 2, 2, 1}, spacing, random);
    auto periodic = crystal(context.types(), {int(std::ceil(4.3 * range / spacing)) + 1, 2, 1}, spacing, 0.2, random);
    Comparison comparison;
    size_t unseen = 0;
    auto& model = context.model();
    for (const auto& system : {open, periodic}) {
        const auto undivided = reader.values(model, system);
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
    if (out.status == Status::pass && unseen == 0) {
        out = skipped(name, "every domain saw the whole system, so this proves nothing");
    }
    out.systems = {open.name, periodic.name};
    return {out};
}

std::vector<Result> few_atoms(Context& context) {
    const ValueReader reader(context);
    auto& model = context.model();
    const double angstrom = context.capabilities().angstrom;
    System nothing;
    nothing.name = "0 atoms";
    if (reader.values(model, nothing).atoms.size() != 0) {
        return {failed(name, "a system without atoms has values of atoms")};
    }
    Comparison comparison;
    for (const int32_t type : context.types()) {
        const auto alone = single_atom(type);
        auto boxed = alone;
        const double length = 2 * context.cutoff() + 5 * angstrom;
        boxed.pbc = {true, true, true};
        boxed.cell = {{{length, 0, 0}, {0, length, 0}, {0, 0, length}}};
        auto dimer = alone;
        dimer.types.push_back(type);
        dimer.positions.push_back(alone.positions[0] + Vec3{0.2 * typical_distance({type}) * angstrom, 0, 0});
        const std::string of_type = " of type " + std::to_string(type);
        const auto reference = reader.values(model, alone);
        if (!finite(reference) || !finite(reader.values(model, dimer))) {
            return {failed(name, "values of an isolated atom, or of two close atoms," + of_type + " are not finite")};
        }
        reader.compare(comparison, reader.values(model, boxed), reference, Agreement::repeat,
                       "an isolated atom" + of_type + " in a box");
    }
    return {judged(name, comparison, context.capabilities().energy_unit, "the value of an isolated atom depends on an empty box")};
}

Values reordered(const Values& values, const std::vector<size_t>& order, size_t properties) {
    Values out = values;
    for (size_t i = 0; i < order.size() && !values.atoms.empty(); ++i) {
        for (size_t p = 0; p < properties; ++p) {
            out.atoms[order[i] * properties + p] = values.atoms[i * properties + p];
        }
    }
    return out;
}

/// Largest change of a value under rotations, which models such as PET only approximate.
double rotation_change(const ValueReader& reader, Model& model, const System& system, const Values& reference,
                       std::mt19937_64& random) {
    const auto rotated = reader.values(model, deformed(system, random_rotation(random)));
    double out = 0.0;
    for (size_t k = 0; k < reference.atoms.size(); ++k) {
        out = std::max(out, std::abs(rotated.atoms.at(k) - reference.atoms[k]));
    }
    for (size_t p = 0; p < reference.total.size(); ++p) {
        out = std::max(out, std::abs(rotated.total.at(p) - reference.total[p]));
    }
    return out;
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
    double rotation = 0.0;
    for (const auto& system : context.systems()) {
        if (system.size() > 40) {
            continue;
        }
        const auto reference = reader.values(model, system);
        std::vector<size_t> order(system.size());
        std::iota(order.begin(), order.end(), 0);
        for (size_t k = order.size(); k > 1; --k) {
            std::swap(order[k - 1], order[uniform_index(random, k)]);
        }
        reader.compare(comparison, reordered(reader.values(model, permuted(system, order)), order, reader.properties()),
                       reference, Agreement::repeat, system.name + " with its atoms in another order");
        reader.compare(comparison, reader.values(model, translated(system, shift)), reference, Agreement::geometry,
                       system.name + " moved by 1000 angstrom", lost);
        auto call = ValueReader::call_of(system);
        call.pairs.emplace_back();
        for (const auto& request : model.requests()) {
            call.pairs[0].push_back(build_pairs(system, request));
            shuffle(call.pairs[0].back(), random);
        }
        reader.compare(comparison, reader.values(model, call), reference, Agreement::repeat,
                       system.name + " with its pairs in another order");
        rotation = std::max(rotation, rotation_change(reader, model, system, reference, random));
    }
    auto out = judged(name, comparison, capabilities.energy_unit,
                      "values depend on the order of atoms or pairs, or on where the system is");
    out.message += "; rotations change values by up to " + short_number(rotation) + " " + capabilities.energy_unit;
    return {out};
}

const Registered dd({
    "DD", "values", "Values of local atoms on 2 and 4 domains, with ghosts within the interaction range, equal those of the whole.",
    "'repeat' of the tolerance table, relative to the spread of the values of one atomic type", {name}, domains, Level::quick,
    uses_with(&Use::decomposes),
}, About::values);

const Registered geo({
    "GEO", "values", "No atom, one atom in a box and two close atoms have finite values, or none where there is no atom.",
    "'repeat' of the tolerance table, relative to the spread of the values of one atomic type", {name}, few_atoms,
}, About::values);

const Registered sym({
    "SYM", "values",
    "Order of atoms and pairs and translations change no value of a target without gradients; rotations are measured.",
    "'repeat', and 'geometry' with the rounding of large coordinates for translations, relative to the spread of the values of one atomic type",
    {name}, symmetries,
}, About::values);

}  // namespace

}  // namespace mtt
