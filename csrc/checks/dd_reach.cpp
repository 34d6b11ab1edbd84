// DD: how far an atom really sees. The energy of one atom must not depend on anything beyond the interaction range.
#include <cmath>

#include "mtt/check.hpp"
#include "mtt/context.hpp"
#include "mtt/generate.hpp"

namespace mtt {

namespace {

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
    double reach = 0.0;
    double beyond = 0.0;
    double biggest = 0.0;
    size_t outside = 0;
    for (const size_t atom : {size_t(0), system.size() / 2}) {
        Call call;
        call.systems = {system};
        call.select = Select::given;
        call.selected = {{0, int32_t(atom)}};
        const auto answer = context.model().evaluate(call);
        biggest = std::max(biggest, largest(answer.forces.at(0)));
        for (size_t j = 0; j < system.size(); ++j) {
            const double distance = norm(system.positions[j] - system.positions[atom]);
            const double gradient = largest(std::vector<Vec3>{answer.forces.at(0)[j]});
            if (distance > range) {
                ++outside;
                beyond = std::isnan(gradient) ? gradient : std::max(beyond, gradient);
            }
            if (!(gradient == 0.0)) {
                reach = std::max(reach, distance);
            }
        }
    }
    if (outside == 0) {
        return {skipped(name, "no atom lies beyond the interaction range")};
    }
    Comparison comparison;
    comparison.add(beyond, capabilities.epsilon() * std::max(biggest, 1e-30), "atoms farther away than the range");
    auto result = judged(
        name, comparison, capabilities.energy_unit + "/" + capabilities.length_unit,
        "the energy of an atom depends on atoms up to " + short_number(reach) + " " + capabilities.length_unit +
        " away, the declared interaction range is " + short_number(range) +
        ": on several MPI ranks these are missing and energies and forces are silently wrong"
    );
    if (result.status == Status::pass) {
        result.message = "declared " + short_number(range) + ", influence seen up to " + short_number(reach) + " " +
                         capabilities.length_unit;
    }
    result.systems = {system.name};
    return {result};
}

const Registered check({
    "DD", "reach", "The gradient of one atom's energy vanishes beyond the declared interaction range.",
    "machine epsilon times the largest gradient: what is not connected is exactly zero", run,
});

}  // namespace

}  // namespace mtt
