// SCHEMA, PARITY, NTH and DTYPE of targets without gradients, such as charges.
#include <algorithm>
#include <cmath>

#include "mtt/checks/values.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

constexpr const char* name = "values";

/// Empty if rows, labels and dtype are those of `target`.
std::string layout_problem(const Answer& answer, Kind kind, const Target& target, const std::string& dtype) {
    const auto names = kind == Kind::atom ? std::vector<std::string>{"system", "atom"} : std::vector<std::string>{"system"};
    if (answer.blocks != 1 || answer.key_names != std::vector<std::string>{"_"}) {
        return "it has " + std::to_string(answer.blocks) + " blocks instead of one with the key '_'";
    }
    if (answer.dtype != dtype) {
        return "it is " + answer.dtype + ", but the model declares " + dtype;
    }
    if (answer.sample_names != names) {
        return "its samples do not have the right names";
    }
    if (answer.shape.size() != 2 || answer.shape[1] != int64_t(target.properties)) {
        return "it is not a matrix with " + std::to_string(target.properties) + " columns";
    }
    return answer.explicit_gradients.empty() ? "" : "it carries gradients that nobody asked for";
}

std::vector<Kind> kinds(Context& context) {
    std::vector<Kind> out;
    if (context.capabilities().per_atom()) {
        out.push_back(Kind::atom);
    }
    if (context.target().per_system) {
        out.push_back(Kind::system);
    }
    return out;
}

/// Every second atom of two systems in one call, in an order of its own; then none at all.
std::string selection_problem(Context& context) {
    const auto& systems = context.systems();
    auto call = ValueReader::call_of(systems.front());
    call.systems.push_back(systems.back());
    call.kind = Kind::atom;
    call.select = Select::listed;
    for (size_t s = 0; s < 2; ++s) {
        for (size_t i = call.systems[s].size(); i-- > 0;) {
            if (i % 2 == 0) {
                call.selected.emplace_back(int32_t(s), int32_t(i));
            }
        }
    }
    std::vector<std::pair<int32_t, int32_t>> labels;
    for (const auto& sample : context.model().evaluate(call).samples) {
        labels.emplace_back(sample.at(0), sample.at(1));
    }
    auto selected = call.selected;
    std::sort(selected.begin(), selected.end());
    std::sort(labels.begin(), labels.end());
    if (labels != selected) {
        return "of " + std::to_string(selected.size()) + " selected atoms it has " + std::to_string(labels.size()) +
               " rows, or rows of other atoms: on several MPI ranks values of ghost atoms are taken for others";
    }
    call.selected.clear();
    const auto rows = context.model().evaluate(call).samples.size();
    return rows == 0 ? "" : "without selected atoms it has " + std::to_string(rows) + " rows";
}

std::vector<Result> layout(Context& context) {
    if (kinds(context).empty()) {
        return {failed(name, "a target per atom, of which the model declares to have none per atom")};
    }
    for (const auto& system : context.systems()) {
        for (const auto kind : kinds(context)) {
            auto call = ValueReader::call_of(system);
            call.kind = kind;
            const auto answer = context.model().evaluate(call);
            const auto problem = layout_problem(answer, kind, context.target(), context.capabilities().dtype);
            if (!problem.empty()) {
                return {failed(name, problem + " (" + system.name + ")")};
            }
            if (kind == Kind::atom) {
                rows_by_atom(answer, 0, system.size(), context.target().properties);
            }
        }
    }
    const auto problem = context.capabilities().per_atom() ? selection_problem(context) : "";
    return {problem.empty() ? passed(name, std::to_string(context.systems().size()) + " systems") : failed(name, problem)};
}

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
        const auto system = deformed(pack.systems[k], {{{length, 0, 0}, {0, length, 0}, {0, 0, length}}});
        const auto values = reader.values(context.model(), system);
        const auto& golden = target->values[k];
        // A model without values of atoms has NaN for them in its pack.
        const Values reference{values.atoms.empty() ? values.atoms : golden.atoms, golden.total};
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

std::vector<System> two_systems(Context& context) {
    std::vector<System> out;
    for (const auto& system : context.systems()) {
        if (out.size() < 2 && system.size() <= 40) {
            out.push_back(system);
        }
    }
    return out;
}

std::vector<Result> later_calls(Context& context) {
    constexpr int rounds = 10;
    const ValueReader reader(context);
    const auto systems = two_systems(context);
    std::vector<Values> first;
    for (const auto& system : systems) {
        first.push_back(reader.values(*context.fresh(), system));
    }
    const auto instance = context.fresh();
    Comparison comparison;
    for (int n = 0; n < rounds; ++n) {
        const size_t k = size_t(n / 2) % systems.size();
        reader.compare(comparison, reader.values(*instance, systems[k]), first[k], Agreement::repeat,
                       systems[k].name + " in call " + std::to_string(n + 1));
    }
    return {judged(name, comparison, context.capabilities().energy_unit,
                   "later calls give other values than the first call of a fresh instance")};
}

std::vector<Result> layouts(Context& context) {
    const ValueReader reader(context);
    const auto instance = context.fresh();
    Comparison comparison;
    for (const auto& system : two_systems(context)) {
        const auto reference = reader.values(*instance, system);
        auto call = ValueReader::call_of(system);
        call.strided = true;
        reader.compare(comparison, reader.values(*instance, call), reference, Agreement::repeat,
                       system.name + " in memory that is not contiguous");
        instance->move_again();
        reader.compare(comparison, reader.values(*instance, system), reference, Agreement::repeat,
                       system.name + " after Module::to");
    }
    return {judged(name, comparison, context.capabilities().energy_unit,
                   "inputs in another layout, or a model that was moved, give other values")};
}

const Registered schema({
    "SCHEMA", "values",
    "A target without gradients has one block of the right shape, dtype and labels, and rows of selected atoms only.",
    "exact", {name}, layout,
}, About::values);

const Registered golden({
    "PARITY", "values", "Values of a target without gradients, and its unit, equal those of the eager float64 model.",
    "'parity' of the tolerance table, relative to the spread of the values of one atomic type", {name}, parity,
}, About::values);

const Registered calls({
    "NTH", "values", "Ten calls with changing systems give the values that a fresh instance gives.",
    "'repeat' of the tolerance table, relative to the spread of the values of one atomic type", {name}, later_calls,
}, About::values);

const Registered dtype({
    "DTYPE", "values", "Strided inputs and Module::to change no value of a target without gradients.",
    "'repeat' of the tolerance table, relative to the spread of the values of one atomic type", {name}, layouts,
}, About::values);

}  // namespace

}  // namespace mtt
