// DD: an engine cuts the box again when atoms have moved: the same instance sees other atoms, and others of them selected.
#include <algorithm>
#include <cmath>

#include "mtt/engines/uses.hpp"
#include "mtt/physics/domains.hpp"
#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

/// Every domain by an instance that has made no call yet.
Properties evaluate_by_fresh(Context& context, const std::vector<Domain>& domains, size_t n_atoms) {
    const auto session = context.without_compiling();
    Properties total;
    total.forces.assign(n_atoms, Vec3{});
    for (const auto& domain : domains) {
        const auto part = evaluate_domains(*context.fresh(), {domain}, n_atoms);
        total.energy += part.energy;
        for (size_t i = 0; i < n_atoms; ++i) {
            total.forces[i] = total.forces[i] + part.forces[i];
        }
        for (int k = 0; k < 3; ++k) {
            total.virial[k] = total.virial[k] + part.virial[k];
        }
    }
    return total;
}

std::vector<Result> run(Context& context) {
    const std::string name = "after re-decomposition";
    const auto& capabilities = context.capabilities();
    const double range = capabilities.interaction_range;
    const double spacing = context.stride();
    if (!(range >= 0) || !std::isfinite(range)) {
        return {skipped(name, "an interaction range of " + short_number(range) + " allows one domain only")};
    }
    if (context.cutoff() > range || 2.4 * range / spacing > 60) {
        return {skipped(name, "the interaction range allows no decomposition of a small system")};
    }
    std::mt19937_64 random(14);
    const int layers = int(std::ceil(2.4 * range / spacing)) + 2;
    auto system = cluster(context.types(), {layers, 2, 1}, spacing, random);
    system.name = "long cluster";
    const auto instance = context.fresh();
    const std::array<int, 3> grids[] = {{2, 1, 1}, {2, 1, 1}, {3, 1, 1}, {2, 1, 1}};
    Comparison comparison;
    for (size_t step = 0; step < std::size(grids); ++step) {
        // Atoms move by less than they are apart, but some of them across the border of the domains.
        system = rattled(system, 0.05 * spacing, random);
        system.positions.front()[0] -= 0.3 * spacing;
        // The sum may be wrong for other reasons: that is for the check of domains to say.
        auto domains = decompose(system, grids[step], range, instance->requests(), 100 + step);
        domains.erase(std::remove_if(domains.begin(), domains.end(), [](const auto& d) { return d.n_local == 0; }),
                      domains.end());
        const auto reference = evaluate_by_fresh(context, domains, system.size());
        comparison.properties(
            evaluate_domains(*instance, domains, system.size()), reference,
            budget(Agreement::repeat, capabilities, system, reference, 1.0 + summation_roundings(system.size())),
            system.name + " after step " + std::to_string(step + 1)
        );
    }
    auto result = judged(name, comparison, "", "a model that has seen one decomposition gives wrong results for the next: "
                         "something about local and ghost atoms is remembered");
    result.systems = {system.name};
    return {result};
}

const Registered check({
    "DD", "again", "Four decompositions of moving atoms, by one instance, each give what fresh ones give for the same domains.",
    "'repeat' of the tolerance table, plus one rounding of the energy per domain",
    {"after re-decomposition"}, run, Level::full, uses_with(&Use::decomposes),
});

}  // namespace

}  // namespace mtt
