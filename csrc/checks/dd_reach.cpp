// DD: how far an atom really sees. The energy of one atom must not depend on anything beyond the interaction range.
#include <cmath>

#include "mtt/engines/uses.hpp"
#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

/// Smaller gradients are lost in the rounding of the larger ones. They exist: attention that keeps a weight of 1e-15 for
/// what it masks connects atoms at any distance, and no engine can notice.
double noticeable(Context& context, double biggest) {
    return 64.0 * context.precise().capabilities().epsilon() * std::max(biggest, 1e-30);
}

/// What the gradients of single atoms' energies show.
struct Reach {
    /// Largest distance with an influence that can be noticed.
    double reach = 0.0;
    /// Largest gradient beyond the declared range.
    double beyond = 0.0;
    double biggest = 0.0;
    size_t outside = 0;

    void look(Context& context, const System& system, size_t atom) {
        Call call;
        call.systems = {system};
        call.select = Select::listed;
        call.selected = {{0, int32_t(atom)}};
        const auto answer = context.precise().evaluate(call);
        biggest = std::max(biggest, largest(answer.forces.at(0)));
        const double limit = noticeable(context, largest(answer.forces.at(0)));
        for (size_t j = 0; j < system.size(); ++j) {
            const double distance = norm(system.positions[j] - system.positions[atom]);
            const double gradient = largest(std::vector<Vec3>{answer.forces.at(0)[j]});
            if (distance > context.capabilities().interaction_range) {
                ++outside;
                beyond = std::isnan(gradient) ? gradient : std::max(beyond, gradient);
            }
            if (!(gradient <= limit)) {
                reach = std::max(reach, distance);
            }
        }
    }
};

/// True if the first atom of a straight chain feels the last one.
bool felt_along(Context& context, int steps, double length) {
    const auto types = context.types();
    Call call;
    call.systems.emplace_back();
    for (int k = 0; k <= steps; ++k) {
        call.systems[0].types.push_back(types[size_t(k) % types.size()]);
        call.systems[0].positions.push_back({k * length / steps, 0, 0});
    }
    call.select = Select::listed;
    call.selected = {{0, 0}};
    const auto forces = context.precise().evaluate(call).forces.at(0);
    return norm(forces.back()) > noticeable(context, largest(forces));
}

/// How far messages travel: the longest chain of any number of steps whose ends know of each other, by bisection.
double receptive_field(Context& context) {
    double out = 0.0;
    for (int steps = 1; steps <= 8 && context.cutoff() > 0; ++steps) {
        double near = 0.9 * steps * context.cutoff();
        double far = 1.0001 * steps * context.cutoff();
        if (near < out || !felt_along(context, steps, near)) {
            break;
        }
        for (int k = 0; k < 10; ++k) {
            const double middle = 0.5 * (near + far);
            (felt_along(context, steps, middle) ? near : far) = middle;
        }
        out = near;
    }
    return out;
}

/// Atoms on a line whose ends are just beyond the range, with as many steps as the model may pass messages. A range
/// that is a little short shows here only: elsewhere no atom sits in the gap.
void look_along_chains(Context& context, Reach& reach) {
    const double range = context.capabilities().interaction_range;
    if (!(context.cutoff() > 0) || !(range > 0)) {
        return;
    }
    const auto types = context.types();
    const int layers = int(std::ceil(range / context.cutoff() - 1e-9));
    for (const int steps : {layers, layers + 1}) {
        for (const double excess : {0.001, 0.003, 0.01, 0.03, 0.1}) {
            System chain;
            for (int k = 0; k <= steps; ++k) {
                chain.types.push_back(types[size_t(k) % types.size()]);
                chain.positions.push_back({k * range * (1 + excess) / steps, 0, 0});
            }
            reach.look(context, chain, 0);
        }
    }
}

std::vector<Result> run(Context& context) {
    const std::string name = "receptive field";
    const auto& capabilities = context.capabilities();
    const double range = capabilities.interaction_range;
    const double spacing = context.spacing();
    if (!std::isfinite(range) || !(range >= 0)) {
        return {skipped(name, "the declared interaction range is not finite")};
    }
    const int layers = int(std::ceil(3.0 * range / spacing)) + 3;
    if (layers > 80) {
        return {skipped(name, "the interaction range is too long for a small system")};
    }
    std::mt19937_64 random(13);
    const auto system = cluster(context.types(), {layers, 2, 1}, spacing, random);
    Reach reach;
    reach.look(context, system, 0);
    reach.look(context, system, system.size() / 2);
    look_along_chains(context, reach);
    if (reach.outside == 0) {
        return {skipped(name, "no atom lies beyond the interaction range")};
    }
    Comparison comparison;
    comparison.add(reach.beyond, noticeable(context, reach.biggest), "atoms farther away than the range");
    const double field = std::max(receptive_field(context), reach.reach);
    context.set_receptive_field(field);
    auto result = judged(
        name, comparison, capabilities.energy_unit + "/" + capabilities.length_unit,
        "the energy of an atom depends on atoms up to " + short_number(field) + " " + capabilities.length_unit +
        " away, the declared interaction range is " + short_number(range) +
        ": on several MPI ranks these are missing and energies and forces are silently wrong"
    );
    if (result.status == Status::pass) {
        result.message = "declared " + short_number(range) + ", influence seen up to " + short_number(field) + " " +
                         capabilities.length_unit;
        if (range > 1.1 * field && field > 0) {
            result.message += ": ranks exchange and evaluate ghost atoms in a layer " + short_number(range / field) +
                              " times as thick as needed";
        }
    }
    result.systems = {system.name};
    return {result};
}

const Registered check({
    "DD", "reach", "The gradient of one atom's energy vanishes beyond the declared interaction range.",
    "64 times the machine epsilon, of float64 where the model runs in it, times the largest gradient: less is lost in rounding",
    {"receptive field"}, run, Level::quick, uses_with(&Use::decomposes),
});

}  // namespace

}  // namespace mtt
