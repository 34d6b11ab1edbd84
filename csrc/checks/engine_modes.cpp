// ENGINE: the calls of each engine as its source makes them: units, selection, leaves, strain, order of pairs, batches,
// start-up calls, switches of TorchScript. Every one must give what a plain call gives.
#include <algorithm>
#include <cmath>

#include "mtt/engines/profiles.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

/// A molecule, a fully periodic system and a slab.
std::vector<System> sample_of(Context& context) {
    std::vector<System> out;
    for (const int periodic : {0, 3, 2}) {
        for (const auto& system : context.systems()) {
            if (system.pbc[0] + system.pbc[1] + system.pbc[2] == periodic && system.size() <= 40) {
                out.push_back(system);
                break;
            }
        }
    }
    return out;
}

/// What passes through an engine that keeps coordinates in float32 and in its own unit.
System through_single(System system, double to_engine) {
    const auto round = [to_engine](double value) { return double(float(value * to_engine)) / to_engine; };
    for (auto& x : system.positions) {
        x = {round(x[0]), round(x[1]), round(x[2])};
    }
    for (auto& row : system.cell) {
        row = {round(row[0]), round(row[1]), round(row[2])};
    }
    return system;
}

Call call_of(const EngineProfile& profile, const Capabilities& capabilities, const std::vector<NeighborRequest>& requests,
             const std::vector<System>& systems, uint64_t seed) {
    Call call;
    call.systems = systems;
    call.select = profile.select;
    call.leaf_in_model_dtype = profile.leaf_in_model_dtype;
    call.strain = profile.strain;
    call.kind = profile.as_declared && capabilities.per_atom() ? Kind::atom : Kind::system;
    std::mt19937_64 random(seed);
    for (const auto& system : systems) {
        call.pairs.emplace_back();
        for (const auto& request : requests) {
            call.pairs.back().push_back(build_pairs(system, request));
            if (!profile.sorted_pairs) {
                shuffle(call.pairs.back().back(), random);
            }
        }
    }
    return call;
}

/// System `index` of an answer, in the units of the model.
Properties properties_of(const Answer& answer, size_t index, bool strain, double energy, double length) {
    Properties out;
    for (size_t row = 0; row < answer.values.size(); ++row) {
        if (row < answer.samples.size() && answer.samples[row].at(0) == int32_t(index)) {
            out.energy += energy * answer.values[row];
        }
    }
    for (const auto& force : answer.forces.at(index)) {
        out.forces.push_back((energy / length) * force);
    }
    if (strain) {
        for (int k = 0; k < 3; ++k) {
            out.virial[k] = energy * answer.virials.at(index)[k];
        }
    }
    return out;
}

struct Expected {
    System system;
    Properties properties;
    Budget budget;
};

std::vector<Expected> expectations(Context& context, const EngineProfile& profile, double to_engine) {
    std::vector<Expected> out;
    for (auto system : sample_of(context)) {
        if (profile.single_precision) {
            system = through_single(system, to_engine);
        }
        auto properties = evaluate(context.model(), system);
        // Rows of atoms are rounded one by one where an engine adds them up itself.
        if (profile.as_declared && context.capabilities().per_atom()) {
            properties.energies = atomic_energies(context.model(), system);
        }
        auto limit = budget(Agreement::geometry, context.capabilities(), system, properties,
                            2.0 + summation_roundings(system.size()));
        limit.energy += limit.atomic_energy * std::sqrt(double(system.size()));
        out.push_back({std::move(system), std::move(properties), limit});
    }
    return out;
}

void start_empty(Model& model, const Call& like, const std::vector<NeighborRequest>& requests) {
    Call call = like;
    call.systems.assign(1, System{});
    call.pairs.assign(1, std::vector<PairList>(requests.size()));
    call.gradients = false;
    model.evaluate(call);
}

/// LAMMPS asks for the uncertainty in every step if there is one, and for non-conservative outputs on request.
std::string optional_outputs_problem(Context& context, const System& system) {
    const auto& capabilities = context.capabilities();
    Call call;
    call.systems = {system};
    for (const auto& output : capabilities.outputs) {
        const bool uncertainty = output.name.rfind("energy_uncertainty", 0) == 0 && output.sample_kind == "atom";
        if (uncertainty || output.name.rfind("non_conservative", 0) == 0) {
            call.extra.push_back(output);
        }
    }
    if (call.extra.empty()) {
        return "";
    }
    for (const bool part : {false, true}) {
        if (part) {
            call.select = Select::listed;
            call.selected = {{0, 0}};
        }
        const auto answer = context.model().evaluate(call);
        for (const auto& output : call.extra) {
            const auto& block = answer.extra.at(output.name);
            const int64_t rows = output.sample_kind == "atom" ? (part ? 1 : int64_t(system.size())) : 1;
            if (block.shape.empty() || block.shape[0] != rows) {
                return "'" + output.name + "' has " + std::to_string(block.shape.empty() ? 0 : block.shape[0]) +
                       " rows instead of " + std::to_string(rows);
            }
            for (const double value : block.values) {
                if (!std::isfinite(value)) {
                    return "'" + output.name + "' is not finite";
                }
            }
        }
    }
    return "";
}

void run_units(Context& context, const EngineProfile& profile, const std::string& length_unit, const std::string& energy_unit,
               Comparison& comparison) {
    const auto& capabilities = context.capabilities();
    const double length = unit_factor(length_unit, capabilities.length_unit);
    const double energy = unit_factor(energy_unit, capabilities.energy_unit);
    const auto expected = expectations(context, profile, 1.0 / length);
    const auto instance = context.fresh();
    std::vector<std::vector<size_t>> calls;
    for (size_t k = 0; k < expected.size(); ++k) {
        calls.push_back({k});
    }
    if (profile.batch) {
        calls.emplace_back();
        for (size_t k = expected.size(); k-- > 0;) {
            calls.back().push_back(k);
        }
    }
    for (int step = 0; step < 2; ++step) {
        for (const auto& members : calls) {
            std::vector<System> systems;
            for (const size_t k : members) {
                systems.push_back(expected[k].system);
            }
            auto call = call_of(profile, capabilities, instance->requests(), systems, 80 + size_t(step));
            call.length_unit = length_unit;
            call.energy_unit = energy_unit;
            if (profile.starts_empty && step == 0) {
                start_empty(*instance, call, instance->requests());
            }
            const auto answer = instance->evaluate(call);
            for (size_t k = 0; k < members.size(); ++k) {
                const auto& item = expected[members[k]];
                comparison.properties(
                    properties_of(answer, k, call.strain, energy, length), item.properties, item.budget,
                    item.system.name + (members.size() > 1 ? " in a batch" : "") + " in " + length_unit + " and " +
                        energy_unit, call.strain
                );
            }
        }
    }
}

std::vector<Result> run(Context& context, const EngineProfile& profile) {
    const auto& capabilities = context.capabilities();
    if (capabilities.length_unit.empty() || capabilities.energy_unit.empty()) {
        return {skipped(profile.name, "the model does not declare its units")};
    }
    const auto session = context.host().with_executor(profile.executor);
    Comparison comparison;
    try {
        const size_t units = context.level() == Level::quick ? 1 : profile.units.size();
        for (size_t k = 0; k < units; ++k) {
            run_units(context, profile, profile.units[k].first, profile.units[k].second, comparison);
        }
        if (profile.optional_outputs) {
            const auto problem = optional_outputs_problem(context, context.systems().front());
            if (!problem.empty()) {
                return {failed(profile.name, std::string(profile.title) + " asks for further outputs, and " + problem)};
            }
        }
    } catch (const std::exception& error) {
        return {failed(profile.name, std::string("the calls of ") + profile.title + " fail: " + explain(error))};
    }
    return {judged(profile.name, comparison, "", std::string("the calls of ") + profile.title + " give other results")};
}

Check check_of(const EngineProfile& profile) {
    return {
        "ENGINE", profile.name, std::string("The calls that ") + profile.title + " makes give what a plain call gives.",
        "'geometry' of the tolerance table, plus the rounding of per-atom energies that an engine adds up",
        {profile.name}, [&profile](Context& context) { return run(context, profile); },
        Level::quick, {profile.name},
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
