#include "mtt/checks/limits.hpp"

#include "mtt/runner/check.hpp"

namespace mtt {

Question::Question(Context& context):
    capabilities_(context.capabilities()),
    systems_(context.target().gradients ? context.systems() : facts_of(context).systems) {
    if (!context.target().gradients && !systems_.empty()) {
        reader_.emplace(context);
        kind_ = kinds_of(context).back();
    }
}

Call Question::call(const System& system) const {
    Call out;
    out.systems = {system};
    out.kind = kind_;
    out.gradients = out.strain = !reader_.has_value();
    return out;
}

Question::Found Question::found(const System& system, const Answer& answer) const {
    if (!reader_.has_value()) {
        return {properties_of(answer), {}};
    }
    if (kind_ == Kind::system) {
        return {{}, {{}, answer.values}};
    }
    return {{}, {rows_by_atom(answer, 0, system.size(), reader_->numbers()), {}}};
}

void Question::compare(
    Comparison& comparison, const System& system, const Found& got, const Found& expected, const std::string& where
) const {
    comparison.in(system);
    if (reader_.has_value()) {
        reader_->compare(comparison, got.values, expected.values, Agreement::repeat, where);
        return;
    }
    const auto allowed = budget(Agreement::repeat, capabilities_, system, expected.properties,
                                summation_roundings(system.size()));
    comparison.properties(got.properties, expected.properties, allowed, where);
}

std::function<std::vector<Result>(Context&)> asking(
    std::vector<Result> (*run)(Context&, const Question&), std::vector<std::string> names
) {
    return [run, names](Context& context) {
        const Question question(context);
        if (!question.systems().empty()) {
            return run(context, question);
        }
        std::vector<Result> out;
        for (const auto& name : names) {
            out.push_back(skipped(name, "the model gives no values, see SCHEMA/values"));
        }
        return out;
    };
}

}  // namespace mtt
