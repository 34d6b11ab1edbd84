// ENGINE: the calls of LAMMPS beside its pair style: `fix metatomic` for positions and momenta, `compute metatomic` for
// whatever its user names.
#include <algorithm>
#include <cmath>

#include "mtt/checks/engine_calls.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

// LAMMPS' fix metatomic

const std::string fix = "lammps:fix";

/// Positions and momenta in one call, as numbers by atom.
struct Step {
    std::vector<double> positions;
    std::vector<double> momenta;
};

Step step_of(Model& instance, const Call& call) {
    const auto answer = instance.evaluate(call);
    const auto& system = call.systems.front();
    const std::vector<int64_t> shape = {int64_t(system.size()), 3, 1};
    const auto& momenta = answer.extra.at(call.extra.front().name);
    if (answer.blocks != 1 || answer.shape != shape || momenta.shape != shape) {
        throw EngineError("positions or momenta of " + system.name + " are no three numbers for each atom");
    }
    if (!all_finite(answer.values) || !all_finite(momenta.values)) {
        throw EngineError("positions or momenta of " + system.name + " are not finite");
    }
    Answer labeled = answer;
    labeled.values = momenta.values;  // LAMMPS takes the labels of the positions for those of the momenta
    return {in_order(answer, Kind::atom, system.size()), in_order(labeled, Kind::atom, system.size())};
}

std::vector<Result> run_fix(Context& context) {
    const auto& capabilities = context.capabilities();
    const auto* positions = declared_output(capabilities, "positions");
    const auto* momenta = declared_output(capabilities, "momenta");
    if (positions == nullptr || momenta == nullptr) {
        return {failed(fix, std::string("the model has no output '") + (positions == nullptr ? "positions" : "momenta") +
                       "', which fix metatomic asks for").as(Severity::refuses)};
    }
    if (!capabilities.timestep.has_value()) {
        return {failed(fix, "the model has no tensor 'timestep' of one number, which fix metatomic compares with its own")
                    .as(Severity::refuses)};
    }
    if (const auto missing = missing_inputs(engine_profile("lammps"), capabilities); !missing.empty()) {
        return {failed(fix, "fix metatomic has no '" + missing.front() + "' to give").as(Severity::refuses).because("inputs")};
    }
    const std::string momentum_unit = "(eV*u)^(1/2)";
    Comparison comparison;
    try {
        const auto instance = context.fresh();
        instance->ask_for("positions");
        for (const auto& system : engine_systems(context)) {
            // What it takes for its own unit, of an output without one.
            const double length = positions->unit.empty() || capabilities.length_unit.empty() ? 1.0 : unit_factor("A", positions->unit);
            const double momentum = momenta->unit.empty() ? 1.0 : unit_factor(momentum_unit, momenta->unit);
            auto plain = without_gradients(system, Kind::atom);
            plain.energy_unit = positions->unit;
            plain.extra = {{"momenta", momenta->unit, "atom", ""}};
            add_velocities(plain, 17);
            auto call = plain;
            call.energy_unit = positions->unit.empty() ? "" : "A";
            call.length_unit = capabilities.length_unit.empty() ? "" : "A";
            call.extra = {{"momenta", momenta->unit.empty() ? "" : momentum_unit, "atom", ""}};
            add_pairs(call, instance->requests(), false, 90);
            const auto expected = step_of(*instance, plain);
            for (int n = 0; n < 2; ++n) {
                const auto got = step_of(*instance, call);
                comparison.in(system);
                comparison.add(largest_difference(got.positions, expected.positions, length),
                               rounding_of(capabilities, expected.positions), "positions of " + system.name);
                comparison.add(largest_difference(got.momenta, expected.momenta, momentum),
                               rounding_of(capabilities, expected.momenta), "momenta of " + system.name);
            }
        }
    } catch (const std::exception& error) {
        return {failed(fix, "the calls of fix metatomic fail", error).as(Severity::stops)};
    }
    auto result = judged(fix, comparison, "", "the calls of fix metatomic give other positions or momenta");
    if (result.status == Status::pass) {
        result.message += "; on one rank, with a timestep of " + short_number(*capabilities.timestep) + " fs";
    }
    return {result};
}

// LAMMPS' compute metatomic

const std::string compute = "lammps:compute";

/// Unit in which it asks for a quantity under `units metal`; null if it knows none of that name.
const char* metal_unit(const std::string& quantity) {
    static const std::pair<const char*, const char*> known[] = {
        {"energy", "eV"}, {"force", "eV/A"}, {"non_conservative_force", "eV/A"}, {"heat_flux", "eV*A/ps"}, {"mass", "g/mol"},
        {"position", "A"}, {"velocity", "A/ps"}, {"charge", "e"}, {"momentum", "g/mol*A/ps"}, {"feature", ""},
    };
    for (const auto& [name, unit] : known) {
        if (quantity == name) {
            return unit;
        }
    }
    return nullptr;
}

/// Why it can not be asked for this output; empty if it can.
std::string compute_refuses(const OutputInfo& output) {
    if (output.sample_kind != "atom" && output.sample_kind != "system") {
        return "its samples are neither atoms nor systems";
    }
    const bool own = output.name.find("::") != std::string::npos;
    return own || metal_unit(output.name.substr(0, output.name.find('/'))) != nullptr ? "" : "compute metatomic does not know it";
}

/// Empty if it can read the answer.
std::string compute_problem(const Answer& answer, Kind kind, size_t atoms) {
    if (answer.shape.size() > 3) {
        return "it has more than one component";
    }
    if (answer.shape.empty() || answer.shape.back() != 1) {
        return "it has more than one property";
    }
    if (answer.samples.size() != (kind == Kind::atom ? atoms : 1)) {
        return "it has " + std::to_string(answer.samples.size()) + " rows instead of " + std::to_string(kind == Kind::atom ? atoms : 1);
    }
    return "";
}

/// @return why the output can not be read; empty if `comparison` has what it gives
std::string compare_output(Context& context, Model& instance, const OutputInfo& output, Comparison& comparison) {
    const auto& capabilities = context.capabilities();
    const Kind kind = output.sample_kind == "atom" ? Kind::atom : Kind::system;
    instance.ask_for(output.name);
    const auto* metal = metal_unit(output.name.substr(0, output.name.find('/')));
    const std::string unit = metal == nullptr || output.unit.empty() ? output.unit : metal;
    const double factor = unit.empty() ? 1.0 : unit_factor(unit, output.unit);
    for (const auto& system : engine_systems(context)) {
        auto plain = without_gradients(system, kind);
        plain.select = Select::none;
        plain.energy_unit = output.unit;
        const auto expected = instance.evaluate(plain);
        auto call = plain;
        call.select = Select::all;
        call.energy_unit = unit;
        call.length_unit = capabilities.length_unit.empty() ? "" : "A";
        add_pairs(call, instance.requests(), false, 91);
        const auto answer = instance.evaluate(call);
        const auto problem = compute_problem(answer, kind, system.size());
        if (!problem.empty()) {
            return problem;
        }
        const auto reference = in_order(expected, kind, system.size());
        comparison.in(system);
        comparison.add(largest_difference(in_order(answer, kind, system.size()), reference, factor),
                       rounding_of(capabilities, reference), "'" + output.name + "' of " + system.name);
    }
    return "";
}

std::vector<Result> run_compute(Context& context) {
    const auto& capabilities = context.capabilities();
    if (const auto missing = missing_inputs(engine_profile("lammps"), capabilities); !missing.empty()) {
        return {failed(compute, "compute metatomic has no '" + missing.front() + "' to give").as(Severity::refuses).because("inputs")};
    }
    Comparison comparison;
    std::vector<std::string> read;
    std::string why = "the model has no outputs";
    // No call asks for derivatives: one that has would have made TorchScript expect them.
    std::unique_ptr<Model> instance;
    for (const auto& output : capabilities.outputs) {
        auto problem = compute_refuses(output);
        if (problem.empty()) {
            try {
                if (instance == nullptr) {
                    instance = context.fresh();
                }
                problem = compare_output(context, *instance, output, comparison);
            } catch (const std::exception& error) {
                return {failed(compute, "the calls of compute metatomic for '" + output.name + "' fail", error).as(Severity::stops)};
            }
        }
        if (problem.empty()) {
            read.push_back("'" + output.name + "'");
        } else {
            why = "'" + output.name + "': " + problem;
        }
    }
    if (read.empty()) {
        return {failed(compute, "compute metatomic can read none of the outputs: " + why).as(Severity::refuses)};
    }
    auto result = judged(compute, comparison, "", "the calls of compute metatomic give other results");
    if (result.status == Status::pass) {
        result.message = "can be asked for " + listed(read) + "; " + result.message;
    }
    return {result};
}

const Registered fix_check({
    "ENGINE", fix, "The calls that LAMMPS' fix metatomic makes for positions and momenta give what a plain call gives.",
    "1e-9 of the largest number in float64, 2e-5 in float32", {fix}, run_fix, Level::quick, {fix},
}, About::file);

const Registered compute_check({
    "ENGINE", compute, "The calls that LAMMPS' compute metatomic makes for each output that it can read give what a plain call gives.",
    "1e-9 of the largest number in float64, 2e-5 in float32", {compute}, run_compute, Level::quick, {compute},
}, About::file);

}  // namespace

}  // namespace mtt
