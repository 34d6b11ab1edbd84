// ENGINE: the calls of each engine as its source makes them: units, selection, leaves, strain, order of pairs, batches,
// further outputs, switches of TorchScript. Every one must give what a plain call gives.
#include <algorithm>
#include <cmath>

#include "mtt/checks/engine_calls.hpp"
#include "mtt/model/outputs.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

/// How one engine asks, in one of its units.
struct Asking {
    const EngineProfile& profile;
    std::string length_unit;
    std::string energy_unit;
    /// From the engine's units to those of the model.
    double length = 1.0;
    double energy = 1.0;
    /// Name of the uncertainty that it asks for in every step; empty: none.
    std::string uncertainty;
    /// Requested inputs that it does not give.
    std::vector<std::string> withheld;

    [[nodiscard]] std::string units() const { return length_unit + " and " + energy_unit; }
};

Call call_of(const Asking& asking, const Capabilities& capabilities, const std::vector<NeighborRequest>& requests,
             const std::vector<System>& systems, uint64_t step) {
    const auto& profile = asking.profile;
    Call call;
    call.systems = systems;
    call.select = profile.select;
    call.leaf_in_model_dtype = profile.leaf_in_model_dtype;
    call.strain = profile.strain == Strain::always || (profile.strain == Strain::sometimes && step % 2 == 0);
    call.kind = profile.as_declared && capabilities.per_atom() ? Kind::atom : Kind::system;
    call.length_unit = asking.length_unit;
    call.energy_unit = asking.energy_unit;
    call.withheld = asking.withheld;
    if (!asking.uncertainty.empty()) {
        call.extra.push_back({asking.uncertainty, asking.energy_unit, "atom", ""});
    }
    add_pairs(call, requests, profile.sorted_pairs, 80 + step);
    return call;
}

/// System `index` of an answer, in the units of the model.
Properties properties_of(const Answer& answer, size_t index, bool strain, const Asking& asking) {
    Properties out;
    for (size_t row = 0; row < answer.values.size(); ++row) {
        if (row < answer.samples.size() && answer.samples[row].at(0) == int32_t(index)) {
            out.energy += asking.energy * answer.values[row];
        }
    }
    for (const auto& force : answer.forces.at(index)) {
        out.forces.push_back((asking.energy / asking.length) * force);
    }
    if (strain) {
        for (int k = 0; k < 3; ++k) {
            out.virial[k] = asking.energy * answer.virials.at(index)[k];
        }
    }
    return out;
}

struct Expected {
    System system;
    Properties properties;
    Budget budget;
};

std::vector<Expected> expectations(Context& context, const Asking& asking) {
    const auto& profile = asking.profile;
    const auto& capabilities = context.capabilities();
    std::vector<Expected> out;
    const auto missing = missing_inputs(profile, capabilities);
    for (auto system : engine_systems(context, profile.slabs)) {
        system = as_given(std::move(system), missing);
        if (profile.single_precision) {
            system = through_single(system, 1.0 / asking.length);
        }
        auto properties = context.reference(system);
        if ((profile.as_declared || profile.atomic_energies) && capabilities.per_atom()) {
            properties.energies = atomic_energies(context.model(), system);
        }
        auto limit = budget(Agreement::geometry, capabilities, system, properties, 2.0 + summation_roundings(system.size()));
        // Rows of atoms are rounded one by one where an engine adds them up itself.
        limit.energy += profile.as_declared ? limit.atomic_energy * std::sqrt(double(system.size())) : 0.0;
        out.push_back({std::move(system), std::move(properties), limit});
    }
    return out;
}

/// The systems of each call, as places in `expected`; the second one of a place is its replica.
std::vector<std::vector<size_t>> calls_of(Batch batch, const std::vector<Expected>& expected) {
    std::vector<std::vector<size_t>> out;
    for (size_t k = 0; k < expected.size(); ++k) {
        out.push_back({k});
    }
    for (size_t k = 0; k < expected.size() && batch == Batch::replicas; ++k) {
        out.push_back({k, k});
    }
    return out;
}

/// The systems of one batch with atoms of their own, of one periodicity.
std::vector<Expected> different_systems(Context& context, const EngineProfile& profile) {
    std::vector<Expected> out;
    const auto missing = missing_inputs(profile, context.capabilities());
    for (const auto& as_checked : context.systems()) {
        const auto system = as_given(as_checked, missing);
        if (system.size() <= 40 && (out.empty() || system.pbc == out.front().system.pbc) && out.size() < 3) {
            auto properties = context.reference(system);
            const auto limit = budget(Agreement::geometry, context.capabilities(), system, properties,
                                      2.0 + summation_roundings(system.size()));
            out.push_back({system, std::move(properties), limit});
        }
    }
    return out;
}

/// Empty if the engine can read the answer.
std::string layout_problem(const Answer& answer, const Call& call, const Asking& asking) {
    size_t atoms = 0;
    for (const auto& system : call.systems) {
        atoms += system.size();
    }
    const size_t rows = call.kind == Kind::atom ? atoms : call.systems.size();
    if (answer.values.size() != rows || answer.samples.size() != rows) {
        return "the energy has " + std::to_string(answer.values.size()) + " numbers instead of " + std::to_string(rows);
    }
    if (asking.uncertainty.empty()) {
        return "";
    }
    const auto& block = answer.extra.at(asking.uncertainty);
    if (block.shape != std::vector<int64_t>{int64_t(atoms), 1}) {
        return "'" + asking.uncertainty + "' has " + std::to_string(block.values.size()) + " numbers instead of one for each of " +
               std::to_string(atoms) + " atoms";
    }
    const bool sound = std::all_of(block.values.begin(), block.values.end(), [](double x) { return std::isfinite(x); });
    return sound ? "" : "'" + asking.uncertainty + "' is not finite";
}

void compare(Context& context, Model& instance, const Asking& asking, const std::vector<const Expected*>& members,
             uint64_t step, Comparison& comparison) {
    std::vector<System> systems;
    for (const auto* item : members) {
        systems.push_back(item->system);
    }
    const auto call = call_of(asking, context.capabilities(), instance.requests(), systems, step);
    const auto answer = instance.evaluate(call);
    const auto problem = layout_problem(answer, call, asking);
    if (!problem.empty()) {
        throw EngineError(problem);
    }
    for (size_t k = 0; k < members.size(); ++k) {
        comparison.in(members[k]->system);
        comparison.properties(
            properties_of(answer, k, call.strain, asking), members[k]->properties, members[k]->budget,
            members[k]->system.name + (members.size() > 1 ? " in a batch" : "") + " in " + asking.units(), call.strain
        );
    }
}

/// Energies of atoms, for those who want to see or to average them.
void compare_atoms(Context& context, Model& instance, const Asking& asking, const Expected& expected, Comparison& comparison) {
    auto call = call_of(asking, context.capabilities(), instance.requests(), {expected.system}, 0);
    call.kind = Kind::atom;
    auto energies = rows_by_atom(instance.evaluate(call), 0, expected.system.size());
    auto limit = expected.budget;
    double largest_value = 0.0;
    for (auto& value : energies) {
        largest_value = std::max(largest_value, std::abs(value));
        value *= asking.energy;
    }
    // metatomic converts in the dtype of the model, which rounds once more.
    limit.atomic_energy += asking.energy * context.capabilities().ulp(largest_value);
    comparison.in(expected.system);
    comparison.atomic_energies(energies, expected.properties.energies, limit,
                               expected.system.name + " in " + asking.units());
}

/// Other units are other numbers for the same code, which needs no instance of its own and no second step.
void run_units(Context& context, const Asking& asking, bool others, Comparison& comparison) {
    const auto& profile = asking.profile;
    const auto expected = expectations(context, asking);
    // An executor other than the usual one shows in instances that have made no call.
    const bool own = !others && (context.level() != Level::quick || profile.select == Select::all || !profile.executor.profiling);
    const auto fresh = own ? context.fresh() : nullptr;
    auto& instance = own ? *fresh : context.model();
    for (uint64_t step = 0; step < (others ? 1 : 2); ++step) {
        for (const auto& places : calls_of(profile.batch, expected)) {
            std::vector<const Expected*> members;
            for (const size_t k : places) {
                members.push_back(&expected[k]);
            }
            compare(context, instance, asking, members, step, comparison);
        }
    }
    if (profile.batch == Batch::any) {
        const auto different = different_systems(context, asking.profile);
        std::vector<const Expected*> members;
        for (size_t k = different.size(); k-- > 0;) {
            members.push_back(&different[k]);
        }
        compare(context, instance, asking, members, 0, comparison);
    }
    if (profile.atomic_energies && context.capabilities().per_atom()) {
        compare_atoms(context, instance, asking, expected.back(), comparison);
    }
}

/// An output beside the energy that an engine asks for.
struct Part {
    std::string name;
    /// Of the same output in a plain call.
    std::string current;
    /// From the engine's unit to that of the model.
    double factor;
    std::vector<int64_t> shape;
};

/// Forces and stress that the model gives by itself, under the names that the engine knows: it asks for no derivatives then.
void run_direct(Context& context, const Asking& asking, Comparison& comparison) {
    const auto& profile = asking.profile;
    const auto& capabilities = context.capabilities();
    // No call asks for derivatives: one that has would have made TorchScript expect them.
    const auto instance = context.fresh();
    for (const auto& as_checked : engine_systems(context, profile.slabs)) {
        const auto system = as_given(as_checked, missing_inputs(profile, capabilities));
        Call plain;
        plain.systems = {system};
        plain.select = Select::none;
        plain.gradients = false;
        auto call = call_of(asking, capabilities, instance->requests(), {system}, 0);
        call.gradients = false;
        call.extra.clear();
        std::vector<Part> parts;
        const auto ask = [&](const std::string& name, const std::string& unit, const char* kind, std::vector<int64_t> shape) {
            // The current name is what a plain call uses; engines may know the old one only.
            const auto* current = declared_output(capabilities, current_name(name));
            const auto* declared = current != nullptr ? current : declared_output(capabilities, name);
            parts.push_back({name, declared->name, declared->unit.empty() ? 1.0 : unit_factor(unit, declared->unit), std::move(shape)});
            call.extra.push_back({name, unit, kind, ""});
            plain.extra.push_back({declared->name, declared->unit, kind, ""});
        };
        const auto per_length = asking.energy_unit + "/" + asking.length_unit;
        ask(output_beside(capabilities, profile.direct_forces), per_length, "atom", {int64_t(system.size()), 3, 1});
        const auto stress = profile.direct_stress == nullptr ? "" : output_beside(capabilities, profile.direct_stress);
        if (!stress.empty() && system.pbc[0] && system.pbc[1] && system.pbc[2]) {
            ask(stress, per_length + "^3", "system", {1, 3, 3, 1});
        }
        const auto expected = instance->evaluate(plain);
        const auto answer = instance->evaluate(call);
        const auto limit = budget(Agreement::geometry, capabilities, system, context.reference(system), 4.0);
        comparison.in(system);
        for (const auto& part : parts) {
            const auto& got = answer.extra.at(part.name);
            const auto& reference = expected.extra.at(part.current);
            if (got.shape != part.shape) {
                throw EngineError("'" + part.name + "' does not have the shape that " + profile.title + " reads");
            }
            double size = 0.0;
            for (const double value : reference.values) {
                size = std::max(size, std::abs(value));
            }
            comparison.add(largest_difference(got.values, reference.values, part.factor),
                           limit.force + 16 * capabilities.epsilon() * size, "'" + part.name + "' of " + system.name);
        }
    }
    if (profile.select == Select::all) {
        Call call;
        call.systems = {context.systems().front()};
        call.select = Select::listed;
        call.selected = {{0, 0}};
        call.gradients = false;
        const auto name = output_beside(capabilities, profile.direct_forces);
        call.extra.push_back({name, declared_output(capabilities, name)->unit, "atom", ""});
        const auto answer = instance->evaluate(call);
        const auto& block = answer.extra.at(name);
        if (block.shape.empty() || block.shape[0] != 1) {
            throw EngineError("'" + name + "' has rows of atoms that were not selected");
        }
    }
}

/// Results beside that of the energy: failures under circumstances.
std::vector<Result> direct_results(Context& context, const Asking& asking) {
    const auto& profile = asking.profile;
    if (profile.direct_forces == nullptr || output_beside(context.capabilities(), profile.direct_forces).empty()) {
        return {};
    }
    const std::string when = "non-conservative forces are asked for";
    Comparison comparison;
    try {
        run_direct(context, asking, comparison);
    } catch (const std::exception& error) {
        return {failed(profile.name, std::string("the calls of ") + profile.title + " for non-conservative forces fail", error)
                    .as(Severity::stops).when(when)};
    }
    auto result = judged(profile.name, comparison, "", std::string("the calls of ") + profile.title +
                         " for non-conservative forces give other results");
    if (result.status != Status::fail) {
        return {};
    }
    result.unless = when;
    return {result};
}

/// Empty, or why the engine does not even start.
std::vector<Result> refusals(Context& context, const EngineProfile& profile) {
    const auto& capabilities = context.capabilities();
    if (!profile.variants && capabilities.energy_output != "energy") {
        if (declared_output(capabilities, "energy") != nullptr) {
            return {skipped(profile.name, std::string(profile.title) + " reads 'energy' only, not its variants")};
        }
        return {failed(profile.name, std::string(profile.title) + " reads the output 'energy' only, and the model has none")
                    .as(Severity::refuses).because("no energy")};
    }
    const auto missing = missing_inputs(profile, capabilities);
    if (!missing.empty() && !profile.goes_without) {
        return {skipped(profile.name, std::string(profile.title) + " has no '" + missing.front() + "' to give")};
    }
    const bool uncertain = std::any_of(capabilities.outputs.begin(), capabilities.outputs.end(), [](const auto& output) {
        return output.name.rfind("energy_uncertainty", 0) == 0;
    });
    if (profile.uncertainty && uncertain && output_beside(capabilities, "energy_uncertainty").empty()) {
        return {failed(profile.name, std::string(profile.title) + " refuses a model that has uncertainties, but none of '" +
                       capabilities.energy_output + "', unless its user turns them off").as(Severity::refuses)
                    .when("uncertainties are not turned off")};
    }
    return {};
}

std::vector<Result> run(Context& context, const EngineProfile& profile) {
    const auto& capabilities = context.capabilities();
    if (capabilities.length_unit.empty() || capabilities.energy_unit.empty()) {
        return {skipped(profile.name, "the model does not declare its units")};
    }
    if (auto refused = refusals(context, profile); !refused.empty()) {
        return refused;
    }
    const auto session = context.host().with_executor(profile.executor);
    Comparison comparison;
    std::vector<Result> out;
    const size_t units = context.level() == Level::quick ? 1 : profile.units.size();
    try {
        for (size_t k = 0; k < units; ++k) {
            const auto& [length_unit, energy_unit] = profile.units[k];
            // Where the file declares none, SCHEMA/units says what other units of the same engine mean.
            if (k > 0 && (capabilities.length_unit_assumed || capabilities.energy_unit_assumed)) {
                continue;
            }
            Asking asking{profile, length_unit, energy_unit, unit_factor(length_unit, capabilities.length_unit),
                          unit_factor(energy_unit, capabilities.energy_unit), "", missing_inputs(profile, capabilities)};
            const auto* uncertainty = uncertainty_of_atoms(capabilities);
            if (profile.uncertainty && uncertainty != nullptr) {
                asking.uncertainty = uncertainty->name;
            }
            run_units(context, asking, k > 0, comparison);
            if (k == 0) {
                out = direct_results(context, asking);
            }
        }
    } catch (const std::exception& error) {
        auto result = failed(profile.name, std::string("the calls of ") + profile.title + " fail", error).as(Severity::stops);
        result.cause = missing_inputs(profile, capabilities).empty() ? "" : "inputs";
        return {result};
    }
    out.insert(out.begin(), judged(profile.name, comparison, "",
                                   std::string("the calls of ") + profile.title + " give other results"));
    return out;
}

Check check_of(const EngineProfile& profile) {
    return {
        "ENGINE", profile.name, std::string("The calls that ") + profile.title + " makes give what a plain call gives.",
        "'geometry' of the tolerance table, plus the rounding of per-atom energies that an engine adds up",
        {profile.name}, [&profile](Context& context) { return run(context, profile); }, Level::quick, {profile.name},
    };
}

const std::vector<Registered> checks = [] {
    std::vector<Registered> out;
    for (const auto& profile : engine_profiles()) {
        out.emplace_back(check_of(profile), About::engine_energy);
    }
    return out;
}();

}  // namespace

}  // namespace mtt
