// SCHEMA: the energy that engines pick, its variants, what the model gives beside it, and the units that the caller names.
#include <algorithm>
#include <cmath>

#include "mtt/engines/uses.hpp"
#include "mtt/joined.hpp"
#include "mtt/model/outputs.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

constexpr const char* energy_name = "energy output";
constexpr const char* variants_name = "variants";
constexpr const char* units_name = "given units";

std::vector<std::string> names_of(const std::vector<OutputInfo>& outputs) {
    std::vector<std::string> out;
    for (const auto& output : outputs) {
        out.push_back(output.name);
    }
    return out;
}

Result energy_result(Context& context) {
    const auto& outputs = context.capabilities().outputs;
    const auto variants = energy_variants(outputs);
    const auto& wanted = context.mode().variant;
    const auto names = names_of(distinct_outputs(outputs));
    if (!wanted.empty() && std::find(variants.begin(), variants.end(), wanted) == variants.end()) {
        return failed(energy_name, "the model has no output 'energy/" + wanted + "'; it has: " +
                      (names.empty() ? "none" : joined(names)))
            .as(Severity::refuses).only(uses_with(&Use::runs_md)).because("no energy");
    }
    // Models of tests list no outputs.
    if (first_energy(outputs).empty() && (!outputs.empty() || !context.has_energy())) {
        return failed(energy_name, "the model has no output 'energy', which engines that run MD ask for; it has: " +
                      (names.empty() ? "none" : joined(names)))
            .as(Severity::refuses).only(uses_with(&Use::runs_md)).because("no energy");
    }
    if (!wanted.empty()) {
        return passed(energy_name, "'energy/" + wanted + "'");
    }
    if (outputs.empty() || first_energy(outputs) == "energy") {
        return passed(energy_name, "'energy'");
    }
    return passed(energy_name, "only variants (" + joined(variants) + "): engines must be told which, by 'variant' in LAMMPS "
                  "and eOn, 'variants' in ASE and torch-sim, 'energy_variant' in i-PI");
}

/// GROMACS asks for the variant that it is told and looks for 'energy' in the answer.
Result variants_result(Context& context) {
    const auto& outputs = context.capabilities().outputs;
    const auto& wanted = context.mode().variant;
    const bool plain = first_energy(outputs) == "energy";
    if (!plain || !wanted.empty()) {
        return failed(variants_name, "GROMACS cannot use a variant of the energy: it asks for it and reads 'energy'")
            .as(Severity::refuses).only({"gromacs"});
    }
    return passed(variants_name, "engines pick 'energy' unless they are told another: " + joined(energy_variants(outputs)));
}

/// What else is checked, and what is not.
std::string others_of(Context& context) {
    std::vector<std::string> checked;
    for (const auto& target : context.targets()) {
        if (!is_energy(target.name)) {
            checked.push_back(target.name);
        }
    }
    std::vector<std::string> left;
    for (const auto& [output, why] : context.left_out()) {
        left.push_back(output + " (" + why + ")");
    }
    return (checked.empty() || !context.has_energy() ? "" : "; beside it are checked: " + joined(checked)) +
           (left.empty() ? "" : "; not checked: " + joined(left));
}

/// Empty if the file declares no unit, or the same.
std::string contradiction(const std::string& declared, const std::string& given, const char* option) {
    if (declared.empty() || given.empty()) {
        return "";
    }
    try {
        if (std::abs(unit_factor(declared, given) - 1.0) < 1e-12) {
            return "";
        }
    } catch (const std::exception&) {
        // Of another dimension.
    }
    return std::string(option) + " says '" + given + "', and the file declares '" + declared + "', which is what engines use";
}

Result units_result(Context& context) {
    const auto& capabilities = context.capabilities();
    const auto& mode = context.mode();
    auto problem = contradiction(capabilities.length_unit_assumed ? "" : capabilities.length_unit, mode.length_unit,
                                 "--length-unit");
    for (const auto& output : capabilities.outputs) {
        problem = problem.empty() && is_energy_like(output.name)
            ? contradiction(output.unit, mode.energy_unit, "--energy-unit") : problem;
    }
    return problem.empty() ? passed(units_name, joined({mode.length_unit, mode.energy_unit})) : failed(units_name, problem);
}

std::vector<Result> run(Context& context) {
    std::vector<Result> out = {energy_result(context)};
    out.front().message += others_of(context);
    if (!energy_variants(context.capabilities().outputs).empty()) {
        out.push_back(variants_result(context));
    }
    if (!context.mode().length_unit.empty() || !context.mode().energy_unit.empty()) {
        out.push_back(units_result(context));
    }
    return out;
}

const Registered check({
    "SCHEMA", "outputs of the file",
    "There is an energy for engines to pick, all of them can name its variants, and units named by the caller are those of "
    "the file.",
    "exact", {energy_name, variants_name, units_name}, run, Level::quick, {}, About::file, Severity::wrong,
}, About::file);

}  // namespace

}  // namespace mtt
