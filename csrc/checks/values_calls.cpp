// PARITY, NTH and DTYPE of targets without gradients, such as charges.
#include <algorithm>
#include <cmath>

#include "mtt/checks/values.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

constexpr const char* name = "values";

std::string unit_problem(const std::string& declared, const std::string& trained) {
    if (declared == trained) {
        return "";
    }
    double factor = 0.0;
    try {
        factor = declared.empty() || trained.empty() ? 0.0 : unit_factor(declared, trained);
    } catch (const std::exception&) {
        // Not even of the same dimension.
    }
    return std::abs(factor - 1.0) <= 1e-12 ? "" : "the model declares the unit '" + declared +
        "', but its numbers are in '" + trained + "'";
}

std::vector<Result> parity(Context& context) {
    const auto* target = context.golden_target();
    if (target == nullptr) {
        return {skipped(name, "the golden pack has no values of '" + context.target().name + "'")};
    }
    const auto problem = unit_problem(context.capabilities().energy_unit, target->target.unit);
    if (!problem.empty()) {
        return {failed(name, problem + ": whoever uses them converts them to something wrong")};
    }
    const ValueReader reader(context);
    const double length = context.golden_length_factor();
    const auto& pack = *context.golden();
    Comparison comparison;
    Result points;
    for (size_t k = 0; k < pack.systems.size(); ++k) {
        if (target->target.per_volume && !fully_periodic(pack.systems[k])) {
            continue;
        }
        const auto system = deformed(pack.systems[k], {{{length, 0, 0}, {0, length, 0}, {0, 0, length}}});
        auto values = reader.values(context.model(), system);
        const auto& golden = target->values[k];
        // A model without values of atoms has NaN for them in its pack; a pack may lack those of very many members.
        if (golden.atoms.empty()) {
            values.atoms.clear();
        }
        const Values reference{values.atoms.empty() ? values.atoms : golden.atoms, golden.total};
        comparison.in(system);
        reader.compare(comparison, values, reference, Agreement::parity, system.name);
        for (size_t i = 0; i < values.atoms.size() && i < reference.atoms.size() && points.series.size() < 1000; ++i) {
            points.series.push_back({reference.atoms[i], values.atoms[i], system.name});
        }
        points.systems.push_back(system.name);
    }
    auto out = judged(name, comparison, target->target.unit,
                      "the exported file does not compute what the trained model computed");
    out.systems = points.systems;
    out.series = points.series;
    return {out};
}

std::vector<System> two_systems(const ValueReader& reader) {
    std::vector<System> out;
    for (const auto& system : reader.systems()) {
        if (out.size() < 2 && system.size() <= 40) {
            out.push_back(system);
        }
    }
    return out;
}

/// Loading takes longer than calls: at the level quick, outputs that no pack describes are compared with what the shared
/// instance says after all its calls.
bool saves_loads(Context& context) { return context.level() == Level::quick && !context.target().described; }

std::vector<Result> later_calls(Context& context) {
    const ValueReader reader(context);
    const auto systems = two_systems(reader);
    if (systems.empty()) {
        return {skipped(name, "no check system is small enough")};
    }
    const int rounds = saves_loads(context) ? 6 : 10;
    std::vector<Values> first;
    for (const auto& system : systems) {
        first.push_back(saves_loads(context) ? reader.values(context.model(), system)
                                             : reader.values(*context.fresh(), system));
    }
    const auto instance = context.fresh();
    Comparison comparison;
    for (int n = 0; n < rounds; ++n) {
        const size_t k = size_t(n / 2) % systems.size();
        reader.compare(comparison, reader.values(*instance, systems[k]), first[k], Agreement::repeat,
                       systems[k].name + " in call " + std::to_string(n + 1));
    }
    return {judged(name, comparison, context.capabilities().energy_unit,
                   saves_loads(context) ? "the first calls of an instance give other values than its later calls"
                                        : "later calls give other values than the first call of a fresh instance")};
}

std::vector<Result> layouts(Context& context) {
    const ValueReader reader(context);
    const auto made = saves_loads(context) ? nullptr : context.fresh();
    auto& instance = made != nullptr ? *made : context.model();
    Comparison comparison;
    for (const auto& system : two_systems(reader)) {
        const auto reference = reader.values(instance, system);
        auto call = ValueReader::call_of(system);
        call.strided = true;
        comparison.in(system);
        reader.compare(comparison, reader.values(instance, call), reference, Agreement::repeat,
                       system.name + " in memory that is not contiguous");
        instance.move_again();
        reader.compare(comparison, reader.values(instance, system), reference, Agreement::repeat,
                       system.name + " after Module::to");
    }
    return {judged(name, comparison, context.capabilities().energy_unit,
                   "inputs in another layout, or a model that was moved, give other values")};
}

const Registered golden({
    "PARITY", "values", "Values of a target without gradients, and its unit, equal those of the eager float64 model.",
    "'parity' of the tolerance table, relative to the spread of the values of one atomic type", {name},
    about_values(parity), Level::quick, {"all"},
}, About::values);

const Registered calls({
    "NTH", "values", "Calls with changing systems give the values that the first call of an instance gives.",
    "'repeat' of the tolerance table, relative to the spread of the values of one atomic type", {name},
    about_values(later_calls), Level::quick, {"all"},
}, About::values);

const Registered dtype({
    "DTYPE", "values", "Strided inputs and Module::to change no value of a target without gradients.",
    "'repeat' of the tolerance table, relative to the spread of the values of one atomic type", {name},
    about_values(layouts), Level::quick, {"all"},
}, About::values);

}  // namespace

}  // namespace mtt
