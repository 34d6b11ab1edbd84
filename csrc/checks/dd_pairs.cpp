// DD: a model that says it does not need strict lists gets pairs up to the skin and must filter them by itself.
#include <algorithm>

#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

std::vector<Result> run(Context& context) {
    const std::string name = "pairs beyond the cutoff";
    auto& model = context.model();
    const auto& requests = model.requests();
    if (std::all_of(requests.begin(), requests.end(), [](const auto& request) { return request.strict; })) {
        return {skipped(name, "the model asks for strict neighbor lists only, and engines obey")};
    }
    std::mt19937_64 random(32);
    Comparison comparison;
    std::vector<std::string> names;
    for (const auto& system : context.systems()) {
        if (names.size() >= 3) {
            break;
        }
        names.push_back(system.name);
        const auto& reference = context.reference(system);
        Call call;
        call.systems = {system};
        call.pairs.emplace_back();
        for (const auto& request : requests) {
            call.pairs[0].push_back(build_pairs(system, request, request.strict ? 0.0 : 0.4 * request.cutoff));
            shuffle(call.pairs[0].back(), random);
        }
        const auto answer = model.evaluate(call);
        comparison.properties(
            {single_row(answer), {}, answer.forces.at(0), answer.virials.at(0)}, reference,
            budget(Agreement::repeat, model.capabilities(), system, reference, summation_roundings(system.size())),
            system.name
        );
    }
    auto result = judged(name, comparison, "", "pairs in the skin of the engine's neighbor list change the result: it "
                         "depends on when the list was built");
    result.systems = names;
    return {result};
}

const Registered check({
    "DD", "pairs", "Pairs beyond the cutoff, in lists that need not be strict, change nothing.",
    "'repeat' of the tolerance table",
    {"pairs beyond the cutoff"}, run,
});

}  // namespace

}  // namespace mtt
