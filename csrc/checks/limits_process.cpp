// LIMITS: a model shares its process with the engine, with other models and with other threads.
#include <limits>

#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

struct Expected {
    System system;
    Properties properties;
    Budget budget;
};

/// A system without any pairs says least, and comes last.
size_t cost_of(Context& context, const System& system) {
    const size_t pairs = context.pairs_of(system);
    return pairs > 0 ? pairs : std::numeric_limits<size_t>::max();
}

/// A small and a periodic system, of each kind the one with fewest pairs, with what an instance that is alone says about
/// them. What instances share shows in any system.
std::vector<Expected> expectations(Context& context) {
    std::vector<Expected> out;
    for (const bool periodic : {false, true}) {
        const System* chosen = nullptr;
        for (const auto& system : context.systems()) {
            const bool fits = system.periodic() == periodic && system.size() <= 40;
            if (fits && (chosen == nullptr || cost_of(context, system) < cost_of(context, *chosen))) {
                chosen = &system;
            }
        }
        if (chosen != nullptr) {
            const auto& properties = context.reference(*chosen);
            auto limit = budget(Agreement::repeat, context.capabilities(), *chosen, properties,
                                summation_roundings(chosen->size()));
            out.push_back({*chosen, properties, limit});
        }
    }
    return out;
}

void compare(Model& model, const std::vector<Expected>& expected, Comparison& comparison, const std::string& where) {
    for (const auto& item : expected) {
        comparison.in(item.system);
        comparison.properties(evaluate(model, item.system), item.properties, item.budget,
                              item.system.name + ", " + where);
    }
}

/// Two instances side by side, the first unloaded in between; then the other way round.
Result several(Context& context, const std::vector<Expected>& expected) {
    const auto session = context.without_compiling();
    Comparison comparison;
    for (const bool first_goes : {true, false}) {
        auto first = context.fresh();
        auto second = context.fresh();
        compare(*first, expected, comparison, "first instance");
        compare(*second, expected, comparison, "second instance");
        (first_goes ? first : second).reset();
        compare(first_goes ? *second : *first, expected, comparison, "after the other one was unloaded");
    }
    return judged("several instances", comparison, "", "a model that is loaded twice in one process gives other results: "
                  "instances share something");
}

Result concurrent(Context& context, const std::vector<Expected>& expected) {
    const std::string name = "concurrent instances";
    const int rounds = context.level() == Level::soak ? 100 : (context.level() == Level::full ? 12 : 5);
    const auto first = context.fresh();
    const auto second = context.fresh();
    std::vector<Call> calls(expected.size());
    for (size_t k = 0; k < expected.size(); ++k) {
        calls[k].systems = {expected[k].system};
    }
    Comparison comparison;
    for (const auto& given : context.host().side_by_side({first.get(), second.get()}, calls, rounds)) {
        if (!given.problem.empty()) {
            return failed(name, "two instances that are called at the same time fail: " + given.problem);
        }
        for (size_t k = 0; k < given.answers.size(); ++k) {
            const auto& item = expected[k % expected.size()];
            comparison.properties(properties_of(given.answers[k]), item.properties, item.budget, item.system.name +
                                  ", concurrent call " + std::to_string(k / expected.size() + 1));
        }
    }
    return judged(name, comparison, "", "two instances that are called at the same time from two threads disturb each "
                  "other");
}

Result threads(Context& context, const std::vector<Expected>& expected) {
    const auto session = context.without_compiling();
    auto& host = context.host();
    const int before = host.threads();
    Comparison comparison;
    try {
        for (const int n : {1, 2}) {
            host.set_threads(n);
            compare(*context.fresh(), expected, comparison, std::to_string(n) + " threads");
        }
    } catch (const std::exception&) {
        host.set_threads(before);
        throw;
    }
    host.set_threads(before);
    return judged("threads", comparison, "", "results depend on the number of threads by more than rounding");
}

Result global_state(Context& context) {
    const auto& before = context.state_before_loading();
    std::string problem;
    try {
        evaluate(context.model(), context.systems().front());
    } catch (const std::exception&) {
        // What changed may be the reason.
    }
    const auto after = context.host().state();
    for (const auto& [key, value] : after) {
        const auto old = before.find(key);
        if (old == before.end() || old->second != value) {
            problem = key + ": " + (old == before.end() ? "not set" : old->second) + " before, " + value + " now";
            break;
        }
    }
    for (const auto& [key, value] : before) {
        if (problem.empty() && after.count(key) == 0) {
            problem = key + ": was " + value + ", is gone";
        }
    }
    if (problem.empty()) {
        return passed("global state", std::to_string(after.size()) + " settings unchanged");
    }
    return failed("global state", "loading or calling the model changed a setting of the whole process, which the engine "
                  "and other models share (" + problem.substr(0, 120) + ")");
}

Result float_exceptions(Context& context) {
    const std::string name = "floating-point exceptions";
    for (const auto& system : context.systems()) {
        Call call;
        call.systems = {system};
        call.pairs.emplace_back();
        for (const auto& request : context.model().requests()) {
            call.pairs[0].push_back(build_pairs(system, request));
        }
        const auto raised = context.model().evaluate(call).float_exceptions;
        if (!raised.empty()) {
            return failed(name, "evaluating " + system.name + " raises " + raised + ": an engine that traps these (eOn, "
                          "LAMMPS built to) is killed although the results may be finite")
                .as(Severity::stops).only({"eon", "lammps"}).when("the program traps floating-point exceptions");
        }
    }
    return passed(name, std::to_string(context.systems().size()) + " systems raise none");
}

std::vector<Result> run(Context& context) {
    std::vector<Expected> expected;
    auto ready = guarded("several instances", [&] {
        expected = expectations(context);
        return several(context, expected);
    });
    return {
        std::move(ready),
        guarded("concurrent instances", [&] { return concurrent(context, expected); }),
        guarded("threads", [&] { return threads(context, expected); }),
    };
}

/// What calls have left behind in the instance that made them: an empty rank, or ghosts, that it remembers.
Result spoiled(Context& context) {
    const auto session = context.without_compiling();
    const auto fresh = context.fresh();
    Comparison comparison;
    for (const auto& system : {context.small_cell(), context.systems().front()}) {
        const auto expected = evaluate(*fresh, system);
        comparison.in(system);
        comparison.properties(evaluate(context.model(), system), expected,
                              budget(Agreement::repeat, context.capabilities(), system, expected,
                                     summation_roundings(system.size())), system.name + ", after all calls");
    }
    return judged("spoiled instance", comparison, "", "after the calls of all checks the model gives other results than one "
                  "that was just loaded: some call has changed it, and a simulation goes on with that");
}

std::vector<Result> run_traces(Context& context) {
    return {
        guarded("spoiled instance", [&] { return spoiled(context); }),
        global_state(context),
        guarded("floating-point exceptions", [&] { return float_exceptions(context); }),
    };
}

const Registered check({
    "LIMITS", "process",
    "Several instances in one process, two threads, one or two threads of libtorch: the same results.",
    "'repeat' of the tolerance table",
    {"several instances", "concurrent instances", "threads"}, run, Level::full, {}, About::picked_energy, Severity::wrong,
    Turn::alone,
}, About::picked_energy);

const Registered traces({
    "LIMITS", "traces",
    "Loading and calling the model changes no setting that the whole process shares, raises no floating-point exception, "
    "and leaves the model as it was.",
    "exact; results 'repeat' of the tolerance table",
    {"spoiled instance", "global state", "floating-point exceptions"}, run_traces, Level::quick, {}, About::picked_energy, Severity::wrong,
    Turn::last,
}, About::picked_energy);

}  // namespace

}  // namespace mtt
