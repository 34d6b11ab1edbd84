// SCHEMA of targets without gradients: there are values, in the blocks and the unit that were declared, and rows belong
// to the selected atoms.
#include <algorithm>
#include <cmath>

#include "mtt/checks/values.hpp"
#include "mtt/joined.hpp"
#include "mtt/model/outputs.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

constexpr const char* name = "values";
constexpr const char* selected = "values of selected atoms";
constexpr const char* unit = "unit of values";

std::string names_of(const std::vector<std::string>& words) {
    return words.empty() ? "none" : joined(words);
}

/// One block with the key '_', as engines read the outputs that they know.
std::string plain_block_problem(const Answer& answer, const std::vector<std::string>& components) {
    if (answer.blocks != 1 || answer.key_names != std::vector<std::string>{"_"}) {
        return "it has " + std::to_string(answer.blocks) + " blocks instead of one with the key '_'";
    }
    return answer.layout.at(0).components != components
        ? "the axes of its components are " + names_of(answer.layout[0].components) + " instead of " + names_of(components)
        : "";
}

/// The blocks that the golden pack describes.
std::string described_problem(const Answer& answer, const Target& target) {
    if (answer.key_names != target.key_names) {
        return "its keys are named " + names_of(answer.key_names) + " instead of " + names_of(target.key_names);
    }
    if (answer.layout.size() != target.blocks.size()) {
        return "it has " + std::to_string(answer.layout.size()) + " blocks instead of " + std::to_string(target.blocks.size());
    }
    for (size_t k = 0; k < answer.layout.size(); ++k) {
        const auto& block = answer.layout[k];
        const auto& expected = target.blocks[k];
        if (block.key != expected.key) {
            return "block " + std::to_string(k) + " has another key than the golden pack says";
        }
        if (block.components != expected.components) {
            return "the axes of its components are " + names_of(block.components) + " instead of " +
                   names_of(expected.components);
        }
        if (block.labels != expected.labels) {
            return "the components of its axes are not those that the golden pack says, in their order";
        }
        if (block.properties != expected.properties) {
            return "it does not have " + std::to_string(expected.properties) + " properties";
        }
    }
    return "";
}

/// Labels of components that mean something to everybody.
std::string labels_problem(const BlockLayout& block) {
    for (size_t k = 0; k < block.components.size(); ++k) {
        const bool spherical = block.components[k] == "o3_mu";
        if (!spherical && block.components[k].compare(0, 3, "xyz") != 0) {
            continue;
        }
        const auto& labels = block.labels[k];
        const auto lambda = int32_t(labels.size() / 2);
        if (spherical ? labels.size() % 2 == 0 : labels.size() != 3) {
            return "the axis " + block.components[k] + " has " + std::to_string(labels.size()) + " components";
        }
        for (size_t m = 0; m < labels.size(); ++m) {
            if (labels[m] != int32_t(m) - (spherical ? lambda : 0)) {
                return "the components of the axis " + block.components[k] + " are not in order";
            }
        }
    }
    return "";
}

/// Empty if blocks, labels and dtype are those of the target in use.
std::string layout_problem(Context& context, const Answer& answer, Kind kind) {
    const auto& target = context.target();
    const auto& declared = context.capabilities().dtype;
    const auto* standard = standard_quantity(target.name);
    std::string problem;
    if (standard != nullptr) {
        problem = plain_block_problem(answer, standard->components);
    }
    if (problem.empty() && target.described) {
        problem = described_problem(answer, target);
    }
    for (const auto& block : answer.layout) {
        problem = problem.empty() ? labels_problem(block) : problem;
    }
    if (!problem.empty()) {
        return problem;
    }
    if (answer.dtype != declared) {
        return "it is " + answer.dtype + ", but the model declares " + declared;
    }
    if (answer.sample_names !=
        (kind == Kind::atom ? std::vector<std::string>{"system", "atom"} : std::vector<std::string>{"system"})) {
        return "its samples are named " + names_of(answer.sample_names) + " instead of " +
               (kind == Kind::atom ? "system, atom" : "system");
    }
    if (kind == Kind::system && answer.samples != std::vector<std::vector<int32_t>>{{0}}) {
        return "the row of a call with one system is not labeled system 0";
    }
    return answer.explicit_gradients.empty() ? "" : "it carries gradients that nobody asked for";
}

/// What the model failed for while values were read.
Result without_values(const ValueFacts& facts) {
    auto out = failed(name, facts.problems.front().second).as(facts.throws ? Severity::stops : Severity::wrong);
    for (const auto& [system, problem] : facts.problems) {
        out.failing.push_back(system);
    }
    if (facts.throws) {
        out.message = "the model fails: " + out.message;
        out.error = facts.problems.front().second;
    }
    out.message += " (" + out.failing.front() +
                   (out.failing.size() > 1 ? " and " + std::to_string(out.failing.size() - 1) + " more" : "") + ")";
    return out;
}

Result consistency(Context& context, Kind kind) {
    auto call = ValueReader::call_of(facts_of(context).systems.front());
    call.kind = kind;
    call.check_consistency = true;
    try {
        context.model().evaluate(call);
    } catch (const std::exception& error) {
        return failed(name, "metatomic's own check refuses it", error).as(Severity::refuses)
            .when("check_consistency is on");
    }
    return passed(name);
}

Result layout(Context& context) {
    const auto kinds = kinds_of(context);
    if (kinds.empty()) {
        return failed(name, "a target per atom, of which the model declares to have none per atom");
    }
    const auto& facts = facts_of(context);
    if (!facts.problems.empty()) {
        return without_values(facts);
    }
    for (const auto& system : facts.systems) {
        for (const auto kind : kinds) {
            auto call = ValueReader::call_of(system);
            call.kind = kind;
            const auto problem = layout_problem(context, context.model().evaluate(call), kind);
            if (!problem.empty()) {
                return failed(name, problem + " (" + system.name + ")");
            }
        }
    }
    for (const auto kind : kinds) {
        auto result = consistency(context, kind);
        if (result.status == Status::fail) {
            return result;
        }
    }
    return passed(name, std::to_string(facts.systems.size()) + " systems, " + std::to_string(facts.numbers) +
                  (facts.numbers == 1 ? " number" : " numbers") + " in each row");
}

/// Every second atom of two systems in one call, in an order of its own.
Call half_of_two(const ValueReader& reader) {
    auto call = ValueReader::call_of(reader.systems().front());
    call.systems.push_back(reader.systems().back());
    call.kind = Kind::atom;
    call.select = Select::listed;
    for (size_t s = 0; s < 2; ++s) {
        for (size_t i = call.systems[s].size(); i-- > 0;) {
            if (i % 2 == 0) {
                call.selected.emplace_back(int32_t(s), int32_t(i));
            }
        }
    }
    return call;
}

Result selection(Context& context) {
    if (!context.capabilities().per_atom()) {
        return skipped(selected, "the model declares to have none per atom");
    }
    const ValueReader reader(context);
    auto call = half_of_two(reader);
    const auto answer = context.model().evaluate(call);
    std::vector<std::pair<int32_t, int32_t>> labels;
    for (const auto& sample : answer.samples) {
        labels.emplace_back(sample.at(0), sample.at(1));
    }
    auto expected = call.selected;
    std::sort(expected.begin(), expected.end());
    auto sorted = labels;
    std::sort(sorted.begin(), sorted.end());
    if (sorted != expected) {
        return among_selected(context, failed(
            selected, "of " + std::to_string(expected.size()) + " selected atoms it has " + std::to_string(labels.size()) +
            " rows, or rows of other atoms: on several MPI ranks values of ghost atoms are taken for others"
        ));
    }
    Comparison comparison;
    for (size_t s = 0; s < 2; ++s) {
        const auto whole = reader.values(context.model(), call.systems[s]).atoms;
        Values rows;
        Values reference;
        for (size_t row = 0; row < labels.size(); ++row) {
            if (labels[row].first == int32_t(s)) {
                const auto at = std::ptrdiff_t(row * reader.numbers());
                const auto from = std::ptrdiff_t(size_t(labels[row].second) * reader.numbers());
                const auto n = std::ptrdiff_t(reader.numbers());
                rows.atoms.insert(rows.atoms.end(), answer.values.begin() + at, answer.values.begin() + at + n);
                reference.atoms.insert(reference.atoms.end(), whole.begin() + from, whole.begin() + from + n);
            }
        }
        reader.compare(comparison, rows, reference, Agreement::repeat, call.systems[s].name);
    }
    auto out = judged(selected, comparison, context.capabilities().energy_unit,
                      "the values of selected atoms are not those that the same atoms have among all");
    call.selected.clear();
    const auto rows = context.model().evaluate(call).samples.size();
    if (out.status == Status::pass && rows != 0) {
        out = failed(selected, "without selected atoms it has " + std::to_string(rows) + " rows").when("a rank has no atoms");
    }
    return among_selected(context, std::move(out));
}

/// Who asks for a unit gets its numbers converted, or an error.
Result units(Context& context) {
    const auto& capabilities = context.capabilities();
    const auto& declared = capabilities.energy_unit;
    const auto* standard = standard_quantity(context.target().name);
    const std::string dimension = standard == nullptr ? "" : standard->unit;
    if (declared.empty() || capabilities.energy_unit_assumed) {
        return standard == nullptr || dimension.empty()
            ? passed(unit, "it has none")
            : failed(unit, "it has no unit: who asks for another than its own gets it as it is").when("its unit is another");
    }
    try {
        const double factor = unit_factor(declared, dimension.empty() ? declared : dimension);
        if (!std::isfinite(factor) || factor <= 0) {
            return failed(unit, "the unit '" + declared + "' converts with the factor " + short_number(factor));
        }
    } catch (const std::exception& error) {
        return failed(unit, "the unit '" + declared + "' is none" +
                      (dimension.empty() ? "" : ", or does not convert to " + dimension), error).as(Severity::refuses);
    }
    return passed(unit, declared);
}

std::vector<Result> run(Context& context) {
    std::vector<Result> out = {guarded(name, [&] { return layout(context); })};
    if (facts_of(context).systems.empty()) {
        out.push_back(skipped(selected, "the model gives no values of this output"));
    } else {
        out.push_back(among_selected(context, guarded(selected, [&] { return selection(context); })));
    }
    out.push_back(units(context));
    return out;
}

const Registered check({
    "SCHEMA", "values",
    "A target without gradients has the right blocks, dtype and labels, finite values, a unit of its dimension, and rows "
    "of selected atoms only.",
    "exact; values of selected atoms: 'repeat' of the tolerance table", {name, selected, unit}, about_values(run, {}),
    Level::quick, {"all"},
}, About::values);

}  // namespace

}  // namespace mtt
