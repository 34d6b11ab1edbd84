// LIMITS: a model shares its process with the engine, with other models and with other threads.
#include <limits>

#include "mtt/checks/limits.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

struct Expected {
    System system;
    Question::Found found;
};

/// A system without any pairs says least, and comes last.
size_t cost_of(Context& context, const System& system) {
    const size_t pairs = context.pairs_of(system);
    return pairs > 0 ? pairs : std::numeric_limits<size_t>::max();
}

/// A small and a periodic system, of each kind the one with fewest pairs, with what an instance that is alone says about
/// them. What instances share shows in any system.
std::vector<Expected> expectations(Context& context, const Question& question) {
    std::vector<Expected> out;
    for (const bool periodic : {false, true}) {
        const System* chosen = nullptr;
        for (const auto& system : question.systems()) {
            const bool fits = system.periodic() == periodic && system.size() <= 40;
            if (fits && (chosen == nullptr || cost_of(context, system) < cost_of(context, *chosen))) {
                chosen = &system;
            }
        }
        if (chosen != nullptr) {
            out.push_back({*chosen, question.known(context, *chosen)});
        }
    }
    return out;
}

void compare(const Question& question, Model& model, const std::vector<Expected>& expected, Comparison& comparison,
             const std::string& where) {
    for (const auto& [system, found] : expected) {
        question.compare(comparison, system, question.ask(model, system), found, system.name + ", " + where);
    }
}

/// Two instances side by side, the first unloaded in between; then the other way round.
Result several(Context& context, const Question& question, const std::vector<Expected>& expected) {
    const auto session = context.without_compiling();
    Comparison comparison;
    for (const bool first_goes : {true, false}) {
        auto first = context.fresh();
        auto second = context.fresh();
        compare(question, *first, expected, comparison, "first instance");
        compare(question, *second, expected, comparison, "second instance");
        (first_goes ? first : second).reset();
        compare(question, first_goes ? *second : *first, expected, comparison, "after the other one was unloaded");
    }
    return judged("several instances", comparison, "", "a model that is loaded twice in one process gives other results: "
                  "instances share something");
}

Result concurrent(Context& context, const Question& question, const std::vector<Expected>& expected) {
    const std::string name = "concurrent instances";
    const int rounds = context.level() == Level::soak ? 100 : (context.level() == Level::full ? 12 : 5);
    const auto first = context.fresh();
    const auto second = context.fresh();
    std::vector<Call> calls;
    for (const auto& item : expected) {
        calls.push_back(question.call(item.system));
    }
    Comparison comparison;
    for (const auto& given : context.host().side_by_side({first.get(), second.get()}, calls, rounds)) {
        if (!given.problem.empty()) {
            return failed(name, "two instances that are called at the same time fail: " + given.problem);
        }
        for (size_t k = 0; k < given.answers.size(); ++k) {
            const auto& item = expected[k % expected.size()];
            question.compare(comparison, item.system, question.found(item.system, given.answers[k]), item.found,
                             item.system.name + ", concurrent call " + std::to_string(k / expected.size() + 1));
        }
    }
    return judged(name, comparison, "", "two instances that are called at the same time from two threads disturb each "
                  "other");
}

Result threads(Context& context, const Question& question, const std::vector<Expected>& expected) {
    const auto session = context.without_compiling();
    auto& host = context.host();
    const int before = host.threads();
    Comparison comparison;
    try {
        for (const int n : {1, 2}) {
            host.set_threads(n);
            compare(question, *context.fresh(), expected, comparison, std::to_string(n) + " threads");
        }
    } catch (const std::exception&) {
        host.set_threads(before);
        throw;
    }
    host.set_threads(before);
    return judged("threads", comparison, "", "results depend on the number of threads by more than rounding");
}

Result global_state(Context& context, const Question& question) {
    const auto& before = context.state_before_loading();
    std::string problem;
    try {
        question.ask(context.model(), question.systems().front());
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

Result float_exceptions(Context& context, const Question& question) {
    const std::string name = "floating-point exceptions";
    for (const auto& system : question.systems()) {
        auto call = question.call(system);
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
    return passed(name, std::to_string(question.systems().size()) + " systems raise none");
}

std::vector<Result> run(Context& context, const Question& question) {
    std::vector<Expected> expected;
    auto ready = guarded("several instances", [&] {
        expected = expectations(context, question);
        return several(context, question, expected);
    });
    return {
        std::move(ready),
        guarded("concurrent instances", [&] { return concurrent(context, question, expected); }),
        guarded("threads", [&] { return threads(context, question, expected); }),
    };
}

/// What calls have left behind in the instance that made them: an empty rank, or ghosts, that it remembers.
Result spoiled(Context& context, const Question& question) {
    const auto session = context.without_compiling();
    const auto fresh = context.fresh();
    Comparison comparison;
    std::vector<System> systems = {question.systems().front()};
    if (context.target().gradients) {
        systems.insert(systems.begin(), context.small_cell());
    }
    for (const auto& system : systems) {
        const auto expected = question.ask(*fresh, system);
        question.compare(comparison, system, question.ask(context.model(), system), expected, system.name + ", after all calls");
    }
    return judged("spoiled instance", comparison, "", "after the calls of all checks the model gives other results than one "
                  "that was just loaded: some call has changed it, and a simulation goes on with that");
}

std::vector<Result> run_traces(Context& context, const Question& question) {
    return {
        guarded("spoiled instance", [&] { return spoiled(context, question); }),
        global_state(context, question),
        guarded("floating-point exceptions", [&] { return float_exceptions(context, question); }),
    };
}

const std::vector<std::string> names = {"several instances", "concurrent instances", "threads"};
const std::vector<std::string> names_of_traces = {"spoiled instance", "global state", "floating-point exceptions"};

const Registered check({
    "LIMITS", "process",
    "Several instances in one process, two threads, one or two threads of libtorch: the same results.",
    "'repeat' of the tolerance table",
    names, asking(run, names), Level::full, {}, About::picked, Severity::wrong,
    Turn::alone,
}, About::picked);

const Registered traces({
    "LIMITS", "traces",
    "Loading and calling the model changes no setting that the whole process shares, raises no floating-point exception, "
    "and leaves the model as it was.",
    "exact; results 'repeat' of the tolerance table",
    names_of_traces, asking(run_traces, names_of_traces), Level::quick, {}, About::picked, Severity::wrong,
    Turn::last,
}, About::picked);

}  // namespace

}  // namespace mtt
