// ENGINE: the calls of PLUMED, which asks for features and knows no energy.
#include <algorithm>
#include <cmath>

#include "mtt/checks/engine_calls.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

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
        for (const auto& as_checked : engine_systems(context)) {
            // PLUMED has neither to give.
            const auto system = as_given(as_checked, {"charge", "spin_multiplicity"});
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

const Registered plumed_check({
    "ENGINE", plumed, "The calls that PLUMED makes for collective variables give what a plain call gives.",
    "1e-9 of the largest feature in float64, 2e-5 in float32; finite differences of their sum", {plumed}, run_plumed, Level::quick,
    {plumed},
}, About::file);

}  // namespace

}  // namespace mtt
