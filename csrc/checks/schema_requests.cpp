// SCHEMA: requests that engines make or must be refused: unknown atomic types, other units, no selection, metatomic's
// own consistency checks, leaves in the dtype of the model.
#include <algorithm>

#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

Result unknown_type(Context& context) {
    const std::string name = "unknown atomic type";
    const auto& declared = context.capabilities().atomic_types;
    int32_t unknown = 1;
    while (std::find(declared.begin(), declared.end(), unknown) != declared.end()) {
        ++unknown;
    }
    auto system = context.systems().front();
    system.types.back() = unknown;
    try {
        const double value = energy(context.model(), system);
        return failed(name, "an atom of the undeclared type " + std::to_string(unknown) + " gave an energy (" +
                      short_number(value) + ") instead of an error: simulations would run with a wrong element");
    } catch (const std::exception&) {
        return passed(name, "type " + std::to_string(unknown) + " is rejected");
    }
}

/// The same physics for engines that think in other units.
Result other_units(Context& context) {
    const auto& capabilities = context.capabilities();
    const std::string name = "engine units";
    if (capabilities.length_unit.empty() || capabilities.energy_unit.empty()) {
        return skipped(name, "the model does not declare its units");
    }
    if (capabilities.length_unit_assumed || capabilities.energy_unit_assumed) {
        return skipped(name, "the file does not declare its units, see SCHEMA/units");
    }
    const std::pair<const char*, const char*> engines[] = {
        {"angstrom", "eV"}, {"angstrom", "kcal/mol"}, {"nm", "kJ/mol"}, {"Bohr", "Hartree"}
    };
    const auto& system = context.systems().front();
    const auto reference = evaluate(context.model(), system);
    const auto limit = budget(Agreement::geometry, capabilities, system, reference, 4.0);
    Comparison comparison;
    for (const auto& [length_unit, energy_unit] : engines) {
        Call call;
        call.systems = {system};
        call.length_unit = length_unit;
        call.energy_unit = energy_unit;
        auto answer = context.model().evaluate(call);
        const double energy_factor = unit_factor(energy_unit, capabilities.energy_unit);
        const double force_factor = energy_factor * unit_factor(capabilities.length_unit, length_unit);
        Properties got;
        got.energy = energy_factor * single_row(answer);
        for (const auto& force : answer.forces.at(0)) {
            got.forces.push_back(force_factor * force);
        }
        const Mat3& virial = answer.virials.at(0);
        got.virial = {energy_factor * virial[0], energy_factor * virial[1], energy_factor * virial[2]};
        comparison.properties(got, reference, limit, std::string("units ") + length_unit + ", " + energy_unit);
    }
    return judged(name, comparison, "", "an engine with other units gets other physics");
}

Result call_styles(Context& context) {
    auto& model = context.model();
    const auto& system = context.systems().front();
    const auto reference = evaluate(model, system);
    const auto limit = budget(Agreement::repeat, model.capabilities(), system, reference, 2.0);
    Comparison comparison;
    const std::pair<const char*, void (*)(Call&)> styles[] = {
        {"no selected_atoms (ASE, i-PI, torch-sim)", [](Call& call) { call.select = Select::none; }},
        {"positions in the dtype of the model (ASE)", [](Call& call) { call.leaf_in_model_dtype = true; }},
        {"check_consistency on", [](Call& call) { call.check_consistency = true; }},
    };
    for (const auto& [style, change] : styles) {
        Call call;
        call.systems = {system};
        change(call);
        try {
            const auto answer = model.evaluate(call);
            comparison.properties(
                {single_row(answer), {}, answer.forces.at(0), answer.virials.at(0)}, reference, limit, style
            );
        } catch (const std::exception& error) {
            return failed("call styles", std::string("calls with ") + style + " fail", error).as(Severity::stops);
        }
    }
    return judged("call styles", comparison, "", "engines that call differently get different results");
}

std::vector<Result> run(Context& context) {
    return {
        guarded("call styles", [&] { return call_styles(context); }),
        guarded("engine units", [&] { return other_units(context); }),
        unknown_type(context),
    };
}

const Registered check({
    "SCHEMA", "requests",
    "Every way in which engines call gives the same; undeclared atomic types are refused.",
    "'repeat' and 'geometry' of the tolerance table",
    {"call styles", "engine units", "unknown atomic type"}, run,
});

}  // namespace

}  // namespace mtt
