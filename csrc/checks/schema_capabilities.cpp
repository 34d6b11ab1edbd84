// SCHEMA: what the model declares about itself can be true, and engines can act on it.
#include <algorithm>
#include <cmath>

#include "mtt/engines/profiles.hpp"
#include "mtt/engines/uses.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

Result range_result(const Capabilities& capabilities, double cutoff) {
    const std::string name = "interaction range";
    const double range = capabilities.interaction_range;
    if (std::isnan(range) || range < 0) {
        return failed(name, "the declared interaction range is " + short_number(range) + ": engines refuse the model")
            .as(Severity::refuses);
    }
    if (std::isinf(range)) {
        return failed(name, "the declared interaction range is infinite: LAMMPS and GROMACS refuse the model on more than "
                      "one MPI rank").as(Severity::refuses).only({"lammps:ranks=several", "gromacs:ranks=several"});
    }
    if (cutoff > range) {
        return failed(name, "a requested neighbor list has a cutoff of " + short_number(cutoff) +
                      ", larger than the declared interaction range " + short_number(range) + ": LAMMPS stops with "
                      "\"Invalid metatomic model\"").as(Severity::refuses).only({"lammps"});
    }
    return passed(name, short_number(range) + " " + capabilities.length_unit);
}

/// Uses of engines that never, or not always, work in the units that the caller named.
std::vector<std::string> uses_of_other_units(const Capabilities& capabilities, bool never) {
    std::vector<std::string> out;
    for (const auto& use : uses()) {
        for (const auto& profile : engine_profiles()) {
            if (use.engine != std::string(profile.name)) {
                continue;
            }
            const auto same = [&](const auto& units) {
                return std::abs(unit_factor(units.first, capabilities.length_unit) - 1.0) < 1e-9 &&
                       std::abs(unit_factor(units.second, capabilities.energy_unit) - 1.0) < 1e-9;
            };
            const auto fitting = std::count_if(profile.units.begin(), profile.units.end(), same);
            if (never ? fitting == 0 : fitting > 0 && size_t(fitting) < profile.units.size()) {
                out.emplace_back(use.id);
            }
        }
    }
    return out;
}

/// The caller knows the units, and engines do not.
std::vector<Result> assumed_units_results(const Capabilities& capabilities) {
    const std::string named = capabilities.length_unit + " and " + capabilities.energy_unit;
    const std::string text = "the file does not declare its units, so engines convert nothing; it is taken to be in " + named;
    std::vector<Result> out;
    const auto wrong = uses_of_other_units(capabilities, true);
    const auto sometimes = uses_of_other_units(capabilities, false);
    if (!wrong.empty()) {
        out.push_back(failed("units", text + ", in which these engines do not work").only(wrong));
    }
    if (!sometimes.empty()) {
        out.push_back(failed("units", text).only(sometimes).when("it works in other units than " + named));
    }
    return out.empty() ? std::vector<Result>{passed("units", text)} : out;
}

Result units_result(const Capabilities& capabilities) {
    const std::pair<std::string, std::string> expected[] = {
        {capabilities.length_unit, "angstrom"}, {capabilities.energy_unit, "eV"}
    };
    for (const auto& [unit, like] : expected) {
        const std::string what = like == "eV" ? "energy" : "length";
        if (unit.empty()) {
            return failed("units", "the " + what + " unit is empty: engines then convert nothing and silently use "
                          "the numbers in their own unit (say what it is by --" + what + "-unit)")
                .when("its " + what + "s are in another unit than the engine's");
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

/// Every declared type must work. Engines find out only when the first such atom appears.
Result types_result(Context& context) {
    const std::string name = "atomic types";
    const auto& capabilities = context.capabilities();
    auto sorted = capabilities.atomic_types;
    std::sort(sorted.begin(), sorted.end());
    if (sorted.empty()) {
        return failed(name, "the model declares no atomic types: engines reject every atom").as(Severity::refuses);
    }
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
        return failed(name, "an atomic type is declared twice").as(Severity::cosmetic);
    }
    for (const auto type : sorted) {
        const std::string which = "type " + std::to_string(type) + " is declared, but the model ";
        try {
            const auto got = evaluate(context.model(), single_atom(int32_t(type)));
            if (!std::isfinite(got.energy)) {
                return failed(name, which + "gives no finite energy for it");
            }
        } catch (const std::exception& error) {
            return failed(name, which + "fails for an atom of it, in the middle of a run", error).as(Severity::stops);
        }
    }
    return passed(name, std::to_string(sorted.size()) + " types, each evaluated");
}

Result devices_result(const Capabilities& capabilities) {
    const auto& devices = capabilities.devices;
    if (std::find(devices.begin(), devices.end(), "cpu") == devices.end()) {
        return failed("devices", "'cpu' is not among the supported devices: the model can not run on CPU nodes")
            .as(Severity::refuses);
    }
    return passed("devices");
}

Result energy_result(const Capabilities& capabilities) {
    if (capabilities.energy_kind != "atom" && capabilities.energy_kind != "system") {
        return failed("energy", "sample kind '" + capabilities.energy_kind + "' is neither 'atom' nor 'system'")
            .as(Severity::refuses);
    }
    return passed("energy", "'" + capabilities.energy_output + "' per " + capabilities.energy_kind);
}

Result mode_result(Model& model) {
    const auto training = model.modules_in_training_mode();
    if (training.empty()) {
        return passed("evaluation mode");
    }
    return failed(
        "evaluation mode", "module '" + training.front() + "' was exported in training mode (" +
        std::to_string(training.size()) + " in all): dropout and batch statistics would be active in simulations"
    );
}

std::vector<Result> run(Context& context) {
    const auto& capabilities = context.capabilities();
    return {
        devices_result(capabilities), range_result(capabilities, context.cutoff()),
        mode_result(context.model())
    };
}

std::vector<Result> run_energy(Context& context) {
    const auto& capabilities = context.capabilities();
    std::vector<Result> out = {energy_result(capabilities), types_result(context)};
    std::vector<Result> units = {units_result(capabilities)};
    if (units.front().status == Status::pass && (capabilities.length_unit_assumed || capabilities.energy_unit_assumed)) {
        units = assumed_units_results(capabilities);
    }
    out.insert(out.end(), units.begin(), units.end());
    return out;
}

const Registered check({
    "SCHEMA", "capabilities",
    "Devices and interaction range are declared and consistent; no module is in training mode.", "exact",
    {"devices", "interaction range", "evaluation mode"}, run,
}, About::file);

const Registered energy_check({
    "SCHEMA", "energy", "An energy is declared with its kind of samples and units, and gives a number for every atomic type.",
    "exact", {"energy", "atomic types", "units"}, run_energy,
});

}  // namespace

}  // namespace mtt
