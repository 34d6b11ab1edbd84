// SCHEMA of what a model says of its own values: uncertainties, and the members of an ensemble.
#include <algorithm>
#include <cmath>
#include <optional>

#include "mtt/checks/values.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

constexpr const char* name = "uncertainty";

/// Values of systems and atoms of one check system, in one list.
std::vector<double> all_of(const Values& values) {
    auto out = values.atoms;
    out.insert(out.end(), values.total.begin(), values.total.end());
    return out;
}

Result uncertainties(Context& context) {
    const ValueReader reader(context);
    double least = 0.0;
    double largest = 0.0;
    std::string where;
    for (const auto& system : reader.systems()) {
        for (const double value : all_of(reader.values(context.model(), system))) {
            if (value < least) {
                least = value;
                where = system.name;
            }
            largest = std::max(largest, value);
        }
    }
    const auto& unit = context.capabilities().energy_unit;
    const std::string words = unit.empty() ? "" : " " + unit;
    if (least < 0) {
        return failed(name, "it is " + short_number(least) + words + " (" + where + "): an uncertainty is never negative, and "
                      "engines that compare it with a threshold never warn");
    }
    if (!(largest > 0)) {
        return failed(name, "it is zero for all atoms of all check systems: engines that compare it with a threshold never warn");
    }
    auto out = passed(name, "up to " + short_number(largest) + words + ", never negative");
    out.measured = largest;
    out.unit = unit;
    return out;
}

/// The target that the members of an ensemble predict.
std::optional<Target> predicted(Context& context) {
    const auto wanted = context.target();
    for (const auto& target : context.targets()) {
        if (target.ensemble_name() == wanted.name) {
            return target;
        }
    }
    return std::nullopt;
}

/// Of each check system: the totals of a target per system, else the values of atoms.
std::vector<std::vector<double>> rows(Context& context, const std::vector<System>& systems) {
    const ValueReader reader(context);
    std::vector<std::vector<double>> out;
    for (const auto& system : systems) {
        const auto values = reader.values(context.model(), system);
        out.push_back(context.target().per_system ? values.total : values.atoms);
    }
    return out;
}

Result members(Context& context) {
    const auto ensemble = context.target();
    const auto systems = ValueReader(context).systems();
    const auto numbers = ValueReader(context).numbers();
    const auto all = rows(context, systems);
    Values means;
    double spread = 0.0;
    double scale = 0.0;
    for (const auto& values : all) {
        for (size_t first = 0; numbers > 0 && first + numbers <= values.size(); first += numbers) {
            const auto begin = values.begin() + std::ptrdiff_t(first);
            const auto end = begin + std::ptrdiff_t(numbers);
            double sum = 0.0;
            std::for_each(begin, end, [&](double value) { sum += value; });
            means.atoms.push_back(sum / double(numbers));
            spread = std::max(spread, *std::max_element(begin, end) - *std::min_element(begin, end));
            scale = std::max(scale, std::abs(means.atoms.back()));
        }
    }
    if (!(spread > 0)) {
        return failed(name, "all members predict the same: they say nothing of how uncertain it is");
    }
    const auto base = predicted(context);
    if (!ensemble.described || !base) {
        return passed(name, std::to_string(numbers) + " members, which differ by up to " + short_number(spread));
    }
    context.use(*base);
    std::vector<double> values;
    for (const auto& part : rows(context, systems)) {
        values.insert(values.end(), part.begin(), part.end());
    }
    context.use(ensemble);
    // Each is one rounding away from what it is made of; members are no nearer to each other than their spread.
    const double tolerance = 1e-3 * spread + 8 * context.capabilities().ulp(scale);
    Comparison comparison;
    for (size_t k = 0; k < means.atoms.size() && k < values.size(); ++k) {
        comparison.add(means.atoms[k] - values[k], tolerance, "mean of the members");
    }
    return judged(name, comparison, context.capabilities().energy_unit,
                  "the mean of the members is not what the model predicts: whoever reweights by them corrects something else");
}

std::vector<Result> run(Context& context) {
    return {context.target().is_ensemble() ? members(context) : uncertainties(context)};
}

const Registered check({
    "SCHEMA", "uncertainty",
    "Uncertainties are not negative, and not zero everywhere; the members of an ensemble differ, and their mean is the prediction.",
    "a thousandth of the spread of the members", {name}, about_values(run, {name}), Level::quick, {},
}, About::uncertainty);

}  // namespace

}  // namespace mtt
