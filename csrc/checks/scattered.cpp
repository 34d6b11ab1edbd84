#include "mtt/checks/scattered.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "mtt/physics/compare.hpp"

namespace mtt {

const System* crowded_crystal(Context& context) {
    for (const auto& system : context.systems()) {
        if (system.pbc[0] && system.pbc[1] && system.pbc[2] && system.size() <= 32) {
            return &system;
        }
    }
    return nullptr;
}

System scattered_system(Context& context, double density, bool periodic, double length, size_t atoms, std::mt19937_64& random) {
    constexpr size_t fewest = 16;
    // A call takes time for each pair of neighbors, of which a dense system has many: it has fewer atoms, all with as many
    // neighbors as the density gives them.
    constexpr double most_pairs = 400;
    constexpr double fewest_if_dense = 18;
    const double around = std::max(context.cutoff(), context.spacing());
    // Some models need time for each pair of neighbors, and many such systems are tried.
    const double most = context.densest(300);
    const double per_volume = std::min(density / std::pow(context.capabilities().angstrom, 3), most);
    // Atoms of a cluster, most of which are at its surface, have about half as many as in a box.
    const double neighbors = (periodic ? 1.0 : 0.5) * 4.0 / 3.0 * std::numbers::pi * std::pow(around, 3) * per_volume;
    const double wanted = std::min(double(atoms), std::max(fewest_if_dense, most_pairs / neighbors));
    const double width = std::min(std::sqrt(wanted / (per_volume * length)), 2.5 * around);
    const auto count = std::max(fewest, size_t(per_volume * length * width * width));
    auto out = scattered(context.types(), count, {length, width, width}, {periodic, periodic, periodic},
                         0.9 * context.spacing(), random);
    out.name = (periodic ? "box of " : "cluster of ") + std::to_string(count) + " atoms (" + short_number(density) +
               " per cubic angstrom)";
    return out;
}

std::vector<System> systems_to_divide(Context& context, size_t at_most, std::mt19937_64& random) {
    constexpr size_t atoms = 32;
    const double range = context.capabilities().interaction_range;
    const double gap = 2 * context.spacing();
    std::vector<System> out;
    std::vector<std::pair<double, bool>> kinds;
    for (const double density : usual_densities) {
        for (const bool periodic : {true, false}) {
            kinds.emplace_back(density, periodic);
        }
    }
    for (size_t k = kinds.size(); k > 1; --k) {
        std::swap(kinds[k - 1], kinds[uniform_index(random, k)]);
    }
    std::stable_partition(kinds.begin(), kinds.end(), [&](const auto& kind) { return kind == std::pair(kinds[0].first, true); });
    for (const auto& [density, periodic] : kinds) {
        if (out.size() == at_most) {
            break;
        }
        // Two domains see half a box and the range on either side: a box of 4 ranges is just seen whole.
        const double length = (periodic ? 4.0 : 2.0) * range + gap;
        out.push_back(scattered_system(context, density, periodic, length, atoms, random));
    }
    return out;
}

}  // namespace mtt
