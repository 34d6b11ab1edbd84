// SCHEMA: what the model wants to be given beside atoms, cell and neighbor lists, and who has it. ASE has most of it.
// LAMMPS and torch-sim do not start with a model that wants what they have not; the others call it all the same, and then
// it is up to the model.
#include <algorithm>
#include <cmath>
#include <functional>

#include "mtt/checks/engine_calls.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

const std::string name = "inputs";

std::string quoted(const std::vector<std::string>& words) {
    std::vector<std::string> out;
    for (const auto& word : words) {
        out.push_back("'" + word + "'");
    }
    return listed(out);
}

/// What stands for an input that nobody gives.
std::string default_of(const std::string& input) {
    return input == "charge" ? "charge 0" : (input == "spin_multiplicity" ? "spin multiplicity 1" : "no " + input);
}

std::string circumstances(const std::vector<std::string>& missing) {
    std::string out;
    for (const auto& input : missing) {
        const std::string one = input == "charge" ? "the charge is not 0"
            : (input == "spin_multiplicity" ? "the spin multiplicity is not 1" : "'" + input + "' matters");
        out += (out.empty() ? "" : " or ") + one;
    }
    return out;
}

/// What a model does that is called without some inputs.
struct Without {
    bool stops = false;
    /// Whatever they are, the numbers are the same.
    bool indifferent = false;
    /// In words, after "the model".
    std::string does = {};
    /// What the exception says.
    std::string error = {};
    /// Numbers are wrong under these circumstances only.
    std::string unless = {};
};

/// Whether the numbers are the same for another charge and multiplicity. A model that refuses those knows the difference.
bool same_for_others(Context& context, Call call, const std::function<bool(const Answer&)>& same) {
    call.systems.front().charge = 1.0;
    call.systems.front().spin_multiplicity = 3.0;
    try {
        return same(context.model().evaluate(call));
    } catch (const std::exception&) {
        return false;
    }
}

Without try_without(Context& context, const std::vector<std::string>& missing) {
    Call call;
    call.systems = {context.systems().front()};
    auto& system = call.systems.front();
    // What stands for inputs that nobody gives.
    system.charge = 0.0;
    system.spin_multiplicity = 1.0;
    call.gradients = false;
    call.select = Select::none;
    call.kind = context.capabilities().per_atom() ? Kind::atom : Kind::system;
    const auto with = context.model().evaluate(call);
    call.withheld = missing;
    std::vector<std::string> defaults;
    for (const auto& input : missing) {
        defaults.push_back(default_of(input));
    }
    try {
        const auto without = context.model().evaluate(call);
        double size = 0.0;
        for (const double value : with.values) {
            size = std::max(size, std::abs(value));
        }
        const auto same = [&](const Answer& answer) {
            return largest_difference(answer.values, with.values) <= 8 * context.capabilities().ulp(size);
        };
        if (!same(without)) {
            return {.does = "gives other numbers than for " + listed(defaults)};
        }
        call.withheld.clear();
        add_velocities(call, 31);
        return {.indifferent = same_for_others(context, call, same),
                .does = "takes " + listed(defaults) + ", whatever the system is", .unless = circumstances(missing)};
    } catch (const std::exception& error) {
        return {.stops = true, .does = "stops in the first step: " + explain(error), .error = explain(error)};
    }
}

/// Of engines that call the model without what it wants.
Result goes_without(Context& context, const std::vector<std::string>& missing, const std::vector<std::string>& uses,
                    const std::string& whom) {
    const auto trial = try_without(context, missing);
    if (trial.indifferent) {
        return passed(name, whom + " give no " + quoted(missing) + ", and the energy does not depend on it").only(uses);
    }
    auto out = failed(name, whom + " give no " + quoted(missing) + " and do not say so: the model " + trial.does);
    out.error = trial.error;
    out.unless = trial.unless;
    return std::move(out).as(trial.stops ? Severity::refuses : Severity::wrong).only(uses).because("inputs");
}

std::vector<std::string> unknown_inputs(const Capabilities& capabilities, const std::vector<std::string>& names) {
    std::vector<std::string> out;
    for (const auto& input : capabilities.requested_inputs) {
        if (std::find(names.begin(), names.end(), input.name) == names.end()) {
            out.push_back(input.name);
        }
    }
    return out;
}

std::vector<Result> run(Context& context) {
    const auto& capabilities = context.capabilities();
    if (capabilities.requested_inputs.empty()) {
        return {passed(name, "types, positions, cell and neighbor lists only")};
    }
    std::vector<std::string> all;
    for (const auto& input : capabilities.requested_inputs) {
        all.push_back(input.name);
    }
    if (capabilities.energy_output.empty()) {
        return {skipped(name, "the model has no energy that engines could ask for with " + quoted(all))};
    }
    std::vector<Result> out;
    std::vector<std::string> goers;
    std::vector<std::string> titles;
    std::vector<std::string> missed;
    for (const auto& profile : engine_profiles()) {
        const auto missing = missing_inputs(profile, capabilities);
        const std::string title = profile.title;
        const std::vector<std::string> uses = {profile.name};
        if (missing.empty()) {
            out.push_back(passed(name, title + " gives " + quoted(all)).only(uses));
        } else if (title == "LAMMPS") {
            const auto old = try_without(context, missing);
            out.push_back(failed(name, "LAMMPS has no " + quoted(missing) + " to give and stops in the first step (\"unsupported "
                                 "additional input\"); versions that know of no inputs say nothing, and the model " + old.does)
                              .as(Severity::refuses).only(uses).because("inputs"));
        } else if (!profile.goes_without) {
            out.push_back(failed(name, title + " has no " + quoted(missing) + " to give: it stops").as(Severity::refuses)
                              .only(uses).because("inputs"));
        } else if (missed.empty() || missed == missing) {
            missed = missing;
            goers.insert(goers.end(), uses.begin(), uses.end());
            titles.push_back(title);
        } else {
            out.push_back(goes_without(context, missing, uses, title));
        }
    }
    if (!goers.empty()) {
        const bool plumed = unknown_inputs(capabilities, missed).empty();
        if (plumed) {
            goers.emplace_back("plumed");
            titles.emplace_back("PLUMED");
        }
        out.push_back(goes_without(context, missed, goers, listed(titles)));
    }
    return out;
}

const Registered check({
    "SCHEMA", "inputs", "What the model requests beside atoms, cell and neighbor lists is what the engine has.",
    "8 roundings of the energy, for the defaults of a model that is called without", {name}, run,
}, About::file);

}  // namespace

}  // namespace mtt
