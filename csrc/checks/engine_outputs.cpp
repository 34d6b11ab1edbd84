// ENGINE: the calls of those that ask for other outputs than the energy: PLUMED for features, LAMMPS' `fix metatomic` for
// positions and momenta, `compute metatomic` for whatever its user names.
#include <algorithm>
#include <cmath>

#include "mtt/checks/engine_calls.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

/// Answers of the same output to several calls, and by how much they may differ.
double rounding_of(const Capabilities& capabilities, const std::vector<double>& values) {
    double size = 0.0;
    for (const double value : values) {
        size = std::max(size, std::isfinite(value) ? std::abs(value) : 0.0);
    }
    return (capabilities.dtype == "float32" ? 2e-5 : 1e-9) * size;
}

bool all_finite(const std::vector<double>& values) {
    return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

std::vector<std::string> input_names(const Capabilities& capabilities) {
    std::vector<std::string> out;
    for (const auto& input : capabilities.requested_inputs) {
        out.push_back(input.name);
    }
    return out;
}

Call without_gradients(const System& system, Kind kind) {
    Call call;
    call.systems = {system};
    call.gradients = false;
    call.kind = kind;
    return call;
}

/// Values of per-atom rows in the order of the atoms; as they are otherwise.
std::vector<double> in_order(const Answer& answer, Kind kind, size_t atoms) {
    const size_t columns = answer.samples.empty() ? 1 : answer.values.size() / answer.samples.size();
    return kind == Kind::atom ? rows_by_atom(answer, 0, atoms, columns) : answer.values;
}

// PLUMED

const std::string plumed = "plumed";

/// @param name "features" or a variant of it
class Features {
public:
    Features(Context& context, std::string name):
        name_(std::move(name)), capabilities_(context.capabilities()), instance_(context.fresh()) {
        instance_->ask_for(name_);
        kind_ = instance_->capabilities().per_atom() ? Kind::atom : Kind::system;
    }

    Result judge(Context& context) {
        start_empty();
        Comparison comparison;
        for (const auto& system : engine_systems(context)) {
            comparison.in(system);
            const auto plain = in_order(instance_->evaluate(without_gradients(system, kind_)), kind_, system.size());
            for (const std::string unit : {"nm", "A"}) {
                compare(system, plain, unit, comparison);
            }
            comparison.add(slope_error(system), 1.0, "derivative of the features of " + system.name);
            if (kind_ == Kind::atom) {
                selection(system);
            }
        }
        return judged(plumed, comparison, "", "the calls of PLUMED give other features or derivatives");
    }

private:
    /// The first call has no atoms. It says how many columns there are; rows do not matter.
    void start_empty() {
        auto call = without_gradients({.name = "0 atoms"}, kind_);
        call.withheld = input_names(capabilities_);
        call.select = Select::none;
        const auto answer = instance_->evaluate(call);
        if (answer.blocks != 1 || answer.shape.size() != 2) {
            throw EngineError("'" + name_ + "' of no atoms is not one block without components");
        }
        columns_ = answer.shape[1];
    }

    Answer ask(const System& system, const std::string& unit) {
        Call call;
        call.systems = {system};
        call.select = Select::none;
        call.kind = kind_;
        call.leaf_in_model_dtype = true;
        call.withheld = input_names(capabilities_);
        if (!capabilities_.length_unit.empty()) {
            call.length_unit = unit;
        }
        const auto answer = instance_->evaluate(call);
        const auto rows = kind_ == Kind::atom ? int64_t(system.size()) : 1;
        if (answer.blocks != 1 || answer.shape != std::vector<int64_t>{rows, columns_}) {
            throw EngineError("'" + name_ + "' of " + system.name + " is no block of " + std::to_string(rows) + " rows and " +
                              std::to_string(columns_) + " columns, as many as without atoms");
        }
        return answer;
    }

    void compare(const System& system, const std::vector<double>& plain, const std::string& unit, Comparison& comparison) {
        const auto answer = ask(system, unit);
        const std::string where = system.name + " in " + unit;
        comparison.add(largest_difference(in_order(answer, kind_, system.size()), plain), rounding_of(capabilities_, plain),
                       "features of " + where);
        // Twice the same, for what the second call of TorchScript does.
        const auto again = ask(system, unit);
        comparison.add(largest_difference(again.values, answer.values), rounding_of(capabilities_, plain), "features of " + where);
    }

    double sum_of(System system, double step, const std::vector<Vec3>& direction) {
        for (size_t i = 0; i < system.size(); ++i) {
            system.positions[i] = system.positions[i] + step * direction[i];
        }
        double out = 0.0;
        for (const double value : instance_->evaluate(without_gradients(system, kind_)).values) {
            out += value;
        }
        return out;
    }

    /// Of the derivative of the sum of all features along one direction, in units of what rounding allows.
    double slope_error(const System& system) {
        const bool single = capabilities_.dtype == "float32";
        const double step = (single ? 1e-2 : 1e-4) * capabilities_.angstrom;
        std::mt19937_64 random(7);
        std::vector<Vec3> direction(system.size());
        for (auto& part : direction) {
            part = {normal(random), normal(random), normal(random)};
        }
        Call call;
        call.systems = {system};
        call.kind = kind_;
        const auto answer = instance_->evaluate(call);
        double slope = 0.0;
        double size = 0.0;
        for (size_t i = 0; i < system.size(); ++i) {
            for (int k = 0; k < 3; ++k) {
                slope -= answer.forces.at(0)[i][k] * direction[i][k];
                size += std::abs(answer.forces.at(0)[i][k] * direction[i][k]);
            }
        }
        double values = 0.0;
        for (const double value : answer.values) {
            values += std::abs(value);
        }
        const double measured = (sum_of(system, step, direction) - sum_of(system, -step, direction)) / (2 * step);
        const double allowed = 16 * capabilities_.epsilon() * values / step + (single ? 2e-2 : 1e-4) * size;
        return std::abs(measured - slope) / std::max(allowed, 1e-300);
    }

    void selection(const System& system) {
        auto call = without_gradients(system, kind_);
        call.select = Select::listed;
        const auto last = int32_t(system.size()) - 1;
        call.selected = {{0, last}};
        if (last > 0) {
            call.selected.emplace_back(0, 0);
        }
        const auto samples = instance_->evaluate(call).samples;
        const auto wanted = [&](const auto& sample) { return sample.size() == 2 && (sample[1] == last || sample[1] == 0); };
        if (samples.size() != call.selected.size() || !std::all_of(samples.begin(), samples.end(), wanted)) {
            throw EngineError("'" + name_ + "' has rows of atoms that SELECTED_ATOMS does not name, or none of others");
        }
    }

    std::string name_;
    Capabilities capabilities_;
    std::unique_ptr<Model> instance_;
    Kind kind_ = Kind::system;
    int64_t columns_ = 0;
};

std::vector<Result> run_plumed(Context& context) {
    const auto& capabilities = context.capabilities();
    std::vector<std::string> variants;
    for (const auto& output : capabilities.outputs) {
        if (output.name == "features") {
            variants = {output.name};
            break;
        }
        if (output.name.rfind("features/", 0) == 0) {
            variants.push_back(output.name);
        }
    }
    if (variants.empty()) {
        return {failed(plumed, "the model has no output 'features', which PLUMED asks for").as(Severity::refuses)};
    }
    try {
        auto result = Features(context, variants.front()).judge(context);
        if (result.status == Status::pass && capabilities.length_unit.empty()) {
            result.message += "; the model declares no length unit, and features are what they are in its own only";
        }
        return {result};
    } catch (const std::exception& error) {
        auto result = failed(plumed, "the calls of PLUMED fail", error).as(Severity::stops);
        result.cause = capabilities.requested_inputs.empty() ? "" : "inputs";
        return {result};
    }
}

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
    for (const auto& input : capabilities.requested_inputs) {
        if (input.name != "mass" && input.name != "momentum" && input.name != "velocity") {
            return {failed(fix, "fix metatomic has no '" + input.name + "' to give").as(Severity::refuses).because("inputs")};
        }
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
    for (const auto& input : capabilities.requested_inputs) {
        if (input.name != "mass" && input.name != "momentum" && input.name != "velocity") {
            return {failed(compute, "compute metatomic has no '" + input.name + "' to give").as(Severity::refuses).because("inputs")};
        }
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

const Registered plumed_check({
    "ENGINE", plumed, "The calls that PLUMED makes for collective variables give what a plain call gives.",
    "1e-9 of the largest feature in float64, 2e-5 in float32; finite differences of their sum", {plumed}, run_plumed, Level::quick,
    {plumed},
}, About::file);

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
