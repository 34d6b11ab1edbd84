// ENGINE: the calls of each engine as its source makes them: units, selection, leaves, strain, order of pairs, batches,
// start-up calls, switches of TorchScript. Every one must give what a plain call gives.
#include <algorithm>
#include <cmath>

#include "mtt/check.hpp"
#include "mtt/context.hpp"
#include "mtt/engine.hpp"

namespace mtt {

namespace {

/// How one engine calls.
struct Habit {
    const char* engine;
    const char* title;
    /// Units that its users choose from.
    std::vector<std::pair<std::string, std::string>> units;
    Select select = Select::none;
    bool leaf_in_model_dtype = true;
    bool strain = true;
    /// Asks for the kind of samples that the model declares and adds the rows up, instead of one row per system.
    bool as_declared = false;
    bool sorted_pairs = true;
    /// Several systems in one call.
    bool batch = false;
    /// A system without atoms comes first, to learn the shape of the output.
    bool starts_empty = false;
    /// Coordinates pass through float32 in the engine itself.
    bool single_precision = false;
    Executor executor = {};
    /// Its other units, and the engine altogether, wait for the level `full`: the calls are much like these two.
    bool first = false;
};

const std::vector<Habit>& habits() {
    static const std::vector<Habit> all = {
        {.engine = "lammps", .title = "LAMMPS", .units = {{"A", "eV"}, {"A", "kcal/mol"}, {"Bohr", "Hartree"}},
         .select = Select::all, .leaf_in_model_dtype = false, .sorted_pairs = false, .first = true},
        {.engine = "ase", .title = "ASE", .units = {{"angstrom", "ev"}}, .first = true},
        {.engine = "ipi", .title = "i-PI", .units = {{"Angstrom", "eV"}}, .batch = true},
        {.engine = "torch-sim", .title = "torch-sim", .units = {{"angstrom", "eV"}}, .batch = true},
        {.engine = "gromacs", .title = "GROMACS", .units = {{"nm", "kJ/mol"}}, .as_declared = true,
         .sorted_pairs = false, .single_precision = true},
        {.engine = "plumed", .title = "PLUMED", .units = {{"nm", "kJ/mol"}, {"A", "kcal/mol"}}, .as_declared = true,
         .starts_empty = true},
        {.engine = "eon", .title = "eOn", .units = {{"angstrom", "eV"}}, .strain = false, .as_declared = true,
         .executor = {false, true, true}},
    };
    return all;
}

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

Call call_of(const Habit& habit, const Capabilities& capabilities, const std::vector<NeighborRequest>& requests,
             const std::vector<System>& systems, uint64_t seed) {
    Call call;
    call.systems = systems;
    call.select = habit.select;
    call.leaf_in_model_dtype = habit.leaf_in_model_dtype;
    call.strain = habit.strain;
    call.kind = habit.as_declared && capabilities.per_atom() ? Kind::atom : Kind::system;
    std::mt19937_64 random(seed);
    for (const auto& system : systems) {
        call.pairs.emplace_back();
        for (const auto& request : requests) {
            call.pairs.back().push_back(build_pairs(system, request));
            if (!habit.sorted_pairs) {
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

std::vector<Expected> expectations(Context& context, const Habit& habit, double to_engine) {
    std::vector<Expected> out;
    for (auto system : sample_of(context)) {
        if (habit.single_precision) {
            system = through_single(system, to_engine);
        }
        auto properties = evaluate(context.model(), system);
        // Rows of atoms are rounded one by one where an engine adds them up itself.
        if (habit.as_declared && context.capabilities().per_atom()) {
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
            call.select = Select::given;
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

void run_units(Context& context, const Habit& habit, const std::string& length_unit, const std::string& energy_unit,
               Comparison& comparison) {
    const auto& capabilities = context.capabilities();
    const double length = unit_factor(length_unit, capabilities.length_unit);
    const double energy = unit_factor(energy_unit, capabilities.energy_unit);
    const auto expected = expectations(context, habit, 1.0 / length);
    const auto instance = context.fresh();
    std::vector<std::vector<size_t>> calls;
    for (size_t k = 0; k < expected.size(); ++k) {
        calls.push_back({k});
    }
    if (habit.batch) {
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
            auto call = call_of(habit, capabilities, instance->requests(), systems, 80 + size_t(step));
            call.length_unit = length_unit;
            call.energy_unit = energy_unit;
            if (habit.starts_empty && step == 0) {
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

std::vector<Result> run(Context& context, const Habit& habit) {
    const auto& capabilities = context.capabilities();
    if (capabilities.length_unit.empty() || capabilities.energy_unit.empty()) {
        return {skipped(habit.engine, "the model does not declare its units")};
    }
    const auto session = with_executor(habit.executor);
    Comparison comparison;
    try {
        const size_t units = context.level() == Level::quick ? 1 : habit.units.size();
        for (size_t k = 0; k < units; ++k) {
            run_units(context, habit, habit.units[k].first, habit.units[k].second, comparison);
        }
        if (std::string(habit.engine) == "lammps") {
            const auto problem = optional_outputs_problem(context, context.systems().front());
            if (!problem.empty()) {
                return {failed(habit.engine, "LAMMPS asks for further outputs, and " + problem)};
            }
        }
    } catch (const std::exception& error) {
        return {failed(habit.engine, std::string("the calls of ") + habit.title + " fail: " + explain(error))};
    }
    return {judged(habit.engine, comparison, "", std::string("the calls of ") + habit.title + " give other results")};
}

Check check_of(const Habit& habit) {
    return {
        "ENGINE", habit.engine, std::string("The calls that ") + habit.title + " makes give what a plain call gives.",
        "'geometry' of the tolerance table, plus the rounding of per-atom energies that an engine adds up",
        {habit.engine}, [&habit](Context& context) { return run(context, habit); },
        habit.first ? Level::quick : Level::full, {habit.engine},
    };
}

const std::vector<Registered> checks = [] {
    std::vector<Registered> out;
    for (const auto& habit : habits()) {
        out.emplace_back(check_of(habit));
    }
    return out;
}();

}  // namespace

}  // namespace mtt
