// SCHEMA: what the model declares about itself can be true, and engines can act on it.
#include <algorithm>
#include <cmath>

#include "mtt/check.hpp"
#include "mtt/context.hpp"
#include "mtt/engine.hpp"

namespace mtt {

namespace {

Result range_result(const Capabilities& capabilities, double cutoff) {
    const double range = capabilities.interaction_range;
    if (std::isnan(range) || range < 0) {
        return failed("interaction range", "the declared interaction range is " + short_number(range) +
                      ": engines refuse the model");
    }
    if (std::isinf(range)) {
        return passed("interaction range", "infinite: engines run this model on one domain only");
    }
    if (cutoff > range) {
        return failed("interaction range", "a requested neighbor list has a cutoff of " + short_number(cutoff) +
                      ", larger than the declared interaction range " + short_number(range) + ": LAMMPS stops with "
                      "\"Invalid metatomic model\"");
    }
    return passed("interaction range", short_number(range) + " " + capabilities.length_unit);
}

Result units_result(const Capabilities& capabilities) {
    const std::pair<std::string, std::string> expected[] = {
        {capabilities.length_unit, "angstrom"}, {capabilities.energy_unit, "eV"}
    };
    for (const auto& [unit, like] : expected) {
        const std::string what = like == "eV" ? "energy" : "length";
        if (unit.empty()) {
            return failed("units", "the " + what + " unit is empty: engines then convert nothing and silently use "
                          "the numbers in their own unit");
        }
        try {
            const double factor = unit_factor(unit, like);
            if (!std::isfinite(factor) || factor <= 0) {
                return failed("units", "the " + what + " unit '" + unit + "' converts with factor " +
                              short_number(factor));
            }
        } catch (const std::exception& error) {
            return failed("units", "the " + what + " unit '" + unit + "' is not one of " + what + ": " +
                          explain(error));
        }
    }
    return passed("units", capabilities.length_unit + ", " + capabilities.energy_unit);
}

Result types_result(const Capabilities& capabilities) {
    auto sorted = capabilities.atomic_types;
    std::sort(sorted.begin(), sorted.end());
    if (sorted.empty()) {
        return failed("atomic types", "the model declares no atomic types: engines reject every atom");
    }
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
        return failed("atomic types", "an atomic type is declared twice");
    }
    return passed("atomic types", std::to_string(sorted.size()) + " types");
}

Result devices_result(const Capabilities& capabilities) {
    const auto& devices = capabilities.devices;
    if (std::find(devices.begin(), devices.end(), "cpu") == devices.end()) {
        return failed("devices", "'cpu' is not among the supported devices: the model can not run on CPU nodes");
    }
    return passed("devices");
}

Result energy_result(const Capabilities& capabilities) {
    if (capabilities.energy_kind != "atom" && capabilities.energy_kind != "system") {
        return failed("energy output", "sample kind '" + capabilities.energy_kind + "' is neither 'atom' nor 'system'");
    }
    if (!capabilities.requested_inputs.empty()) {
        return failed("energy output", "the model asks engines for the extra input '" +
                      capabilities.requested_inputs.front() + "', which this program does not know how to give");
    }
    return passed("energy output", "'" + capabilities.energy_output + "' per " + capabilities.energy_kind);
}

std::vector<Result> run(Context& context) {
    const auto& capabilities = context.capabilities();
    return {
        energy_result(capabilities), types_result(capabilities), devices_result(capabilities),
        units_result(capabilities), range_result(capabilities, context.cutoff())
    };
}

const Registered check({
    "SCHEMA", "capabilities",
    "Energy output, atomic types, devices, units and interaction range are declared and consistent.", "exact", run,
});

}  // namespace

}  // namespace mtt
