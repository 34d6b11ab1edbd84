// SYM: symmetries that hold exactly for every sound model: order of atoms and pairs, place, wrapping, far copies, batches.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "mtt/checks/scattered.hpp"
#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

std::vector<System> sample_of(Context& context) {
    std::vector<System> out;
    for (const auto& system : context.systems()) {
        if (!system.periodic() && system.size() > 1 && system.size() <= 40) {
            out.push_back(system);
            break;
        }
    }
    out.push_back(context.small_cell());
    return out;
}

Budget limit_for(Context& context, const System& system, const Properties& reference, Agreement agreement) {
    return budget(agreement, context.capabilities(), system, reference, summation_roundings(system.size()));
}

Result permutation(Context& context) {
    std::mt19937_64 random(31);
    Comparison comparison;
    for (const auto& system : sample_of(context)) {
        std::vector<size_t> order(system.size());
        std::iota(order.begin(), order.end(), 0);
        for (size_t k = order.size(); k > 1; --k) {
            std::swap(order[k - 1], order[uniform_index(random, k)]);
        }
        attempt(comparison, system, [&] {
            const auto& reference = context.reference(system);
            auto got = evaluate(context.model(), permuted(system, order));
            Properties back = got;
            for (size_t i = 0; i < order.size(); ++i) {
                back.forces[order[i]] = got.forces[i];
            }
            comparison.properties(
                back, reference, limit_for(context, system, reference, Agreement::repeat), system.name
            );
        });
    }
    return judged("permutation", comparison, "", "the result depends on the order of the atoms, which engines change");
}

Result pair_order(Context& context) {
    std::mt19937_64 random(32);
    auto& model = context.model();
    Comparison comparison;
    auto systems = sample_of(context);
    if (const auto* crowded = crowded_crystal(context); crowded != nullptr) {
        systems.push_back(*crowded);  // a model that takes no more than so many neighbors takes the first of them
    }
    for (const auto& system : systems) {
        attempt(comparison, system, [&] {
            const auto& reference = context.reference(system);
            Call call;
            call.systems = {system};
            call.pairs.emplace_back();
            for (const auto& request : model.requests()) {
                call.pairs[0].push_back(build_pairs(system, request));
                shuffle(call.pairs[0].back(), random);
            }
            comparison.properties(
                properties_of(model.evaluate(call)), reference,
                limit_for(context, system, reference, Agreement::repeat), system.name
            );
        });
    }
    return judged("pair order", comparison, "", "the result depends on the order of the pairs in the neighbor list, which "
                  "engines do not sort");
}

Result translation(Context& context) {
    const auto& capabilities = context.capabilities();
    const Vec3 shift = {1000 * capabilities.angstrom, -700 * capabilities.angstrom, 300 * capabilities.angstrom};
    Comparison comparison;
    for (const auto& system : sample_of(context)) {
        attempt(comparison, system, [&] {
            const auto& reference = context.reference(system);
            auto limit = limit_for(context, system, reference, Agreement::geometry);
            // Coordinates of this size are rounded once more. Neighbor vectors are made in float64 by the engine, but a
            // float32 model that works with positions can not know better than this.
            const double lost = capabilities.ulp(norm(shift)) * std::max(largest(reference.forces), 1.0);
            limit.energy += lost * std::sqrt(double(system.size()));
            limit.force += 10 * lost / capabilities.angstrom;
            limit.virial += 10 * lost * double(system.size());
            comparison.properties(evaluate(context.model(), translated(system, shift)), reference, limit, system.name);
        });
    }
    return judged("translation", comparison, "", "moving the system by 1000 angstrom changes the result: coordinates are "
                  "truncated to a lower precision or used absolutely");
}

Result wrapping(Context& context) {
    Comparison comparison;
    for (const auto& system : sample_of(context)) {
        if (!system.periodic()) {
            continue;
        }
        auto unwrapped = system;
        for (size_t i = 0; i < system.size(); ++i) {
            for (int axis = 0; axis < 3; ++axis) {
                const double steps = double(int(i + size_t(axis)) % 5 - 2);
                unwrapped.positions[i] = unwrapped.positions[i] + steps * system.cell[axis];
            }
        }
        attempt(comparison, system, [&] {
            const auto& reference = context.reference(system);
            comparison.properties(
                evaluate(context.model(), unwrapped), reference,
                limit_for(context, system, reference, Agreement::geometry), system.name
            );
        });
    }
    return judged("wrapping", comparison, "", "atoms that left the cell through a periodic face are "
                  "treated differently");
}

/// The same atoms, and once more at a distance.
System with_copy(const System& system, double distance) {
    auto both = system;
    const auto copy = translated(system, {distance, 0, 0});
    both.types.insert(both.types.end(), copy.types.begin(), copy.types.end());
    both.positions.insert(both.positions.end(), copy.positions.begin(), copy.positions.end());
    return both;
}

Result extensivity(Context& context) {
    auto& model = context.model();
    const auto& capabilities = context.capabilities();
    Comparison comparison;
    for (const auto& system : sample_of(context)) {
        if (system.periodic()) {
            continue;
        }
        const double reach = std::isfinite(capabilities.interaction_range)
            ? std::max(capabilities.interaction_range, context.cutoff()) : 2 * context.cutoff();
        const double apart = 2 * reach + 50 * capabilities.angstrom;
        const auto& single = context.reference(system);
        Properties twice = single;
        twice.energy = 2 * single.energy;
        twice.forces.insert(twice.forces.end(), single.forces.begin(), single.forces.end());
        const auto both = with_copy(system, apart);
        const auto two = evaluate(model, both);
        auto limit = budget(Agreement::geometry, capabilities, both, two, 1 + summation_roundings(both.size()));
        if (!std::isfinite(capabilities.interaction_range)) {
            // They feel each other at any distance, and less at twice the distance: as charges do, or faster.
            constexpr double at_most = 0.8;
            const auto farther = evaluate(model, with_copy(system, 2 * apart));
            limit.energy += at_most * std::abs(two.energy - twice.energy);
            comparison.add(farther.energy - twice.energy, limit.energy, "energy of two copies of " + system.name + ", very far apart");
            continue;
        }
        comparison.properties(two, twice, limit, "two copies of " + system.name, false);
    }
    return judged("extensivity", comparison, "", "two distant copies do not have twice the energy: the model "
                  "mixes atoms that have nothing to do with each other");
}

Result batches(Context& context) {
    auto& model = context.model();
    auto systems = sample_of(context);
    systems.push_back(single_atom(context.types().front()));
    Call call;
    call.systems = systems;
    const auto answer = model.evaluate(call);
    if (answer.values.size() != systems.size()) {
        return failed("batch", "a call with " + std::to_string(systems.size()) + " systems returned " +
                      std::to_string(answer.values.size()) + " energies");
    }
    Comparison comparison;
    for (size_t k = 0; k < systems.size(); ++k) {
        comparison.in(systems[k]);
        const auto& reference = context.reference(systems[k]);
        comparison.properties(
            {answer.values[k], {}, answer.forces.at(k), answer.virials.at(k)}, reference,
            limit_for(context, systems[k], reference, Agreement::repeat), systems[k].name + " in a batch"
        );
    }
    return judged("batch", comparison, "", "systems evaluated together influence each other (i-PI and torch-sim "
                  "batch systems)");
}

std::vector<Result> run(Context& context) {
    return {
        guarded("permutation", [&] { return permutation(context); }),
        guarded("pair order", [&] { return pair_order(context); }),
        guarded("translation", [&] { return translation(context); }),
        guarded("wrapping", [&] { return wrapping(context); }),
        guarded("extensivity", [&] { return extensivity(context); }),
        guarded("batch", [&] { return batches(context); }),
    };
}

const Registered check({
    "SYM", "exact",
    "Order of atoms and pairs, translation, wrapping, size extensivity and batches change nothing. With an infinite range two "
    "copies far apart come to have twice the energy.",
    "'repeat', and 'geometry' where coordinates change; rounding of large coordinates is added",
    {"permutation", "pair order", "translation", "wrapping", "extensivity", "batch"}, run,
});

}  // namespace

}  // namespace mtt
