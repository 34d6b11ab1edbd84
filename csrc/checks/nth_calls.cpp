// NTH: the first calls of a TorchScript module profile, the third runs optimized code, and modules can keep state.
// Twenty calls must give what fresh instances give, and must not touch their inputs.
#include <algorithm>
#include <numeric>

#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

constexpr int repeats = 10;
constexpr int rounds = 20;

/// What a fresh instance says about a system in its first call, with the budget to compare by.
struct Expected {
    System system;
    Properties properties;
    Budget budget;
};

Expected expect(Context& context, const System& system) {
    const auto session = context.without_compiling();
    auto fresh = context.fresh();
    Expected out{system, evaluate(*fresh, system), {}};
    out.budget = budget(
        Agreement::repeat, context.capabilities(), system, out.properties, summation_roundings(system.size())
    );
    return out;
}

/// Things seen on the way, over both sequences of calls.
struct Observed {
    std::string changed_input;
    bool random_numbers = false;
    size_t identical = 0;
};

void call_and_compare(Model& model, const Expected& expected, int n, Comparison& comparison, Observed& observed) {
    Call call;
    call.systems = {expected.system};
    call.strain = n % 3 != 2;  // every third step of an engine does not need the virial
    comparison.in(expected.system);
    const auto answer = model.evaluate(call);
    const Properties got{single_row(answer), {}, answer.forces.at(0), call.strain ? answer.virials.at(0) : Mat3{}};
    comparison.properties(
        got, expected.properties, expected.budget, "call " + std::to_string(n + 1) + " (" + expected.system.name + ")",
        call.strain
    );
    observed.identical += got.energy == expected.properties.energy && got.forces == expected.properties.forces ? 1 : 0;
    observed.random_numbers = observed.random_numbers || answer.random_numbers_used;
    if (!answer.changed_inputs.empty()) {
        observed.changed_input = answer.changed_inputs.front();
    }
}

/// Different sizes; the same size in another order and in another cell, for caches that look at shapes only.
std::vector<System> varied(Context& context) {
    std::vector<System> out;
    for (const auto& system : context.systems()) {
        if (out.size() < 2 && system.size() <= 40) {
            out.push_back(system);
        }
    }
    if (out.empty()) {
        out.push_back(context.systems().front());
    }
    std::mt19937_64 random(51);
    // In a crystal all atoms may have equally many neighbors; in a molecule they have not.
    std::vector<System> sources = {context.small_cell()};
    if (context.level() != Level::quick) {
        sources.push_back(out.front());
    }
    for (const auto& source : sources) {
        std::vector<size_t> order(source.size());
        std::iota(order.begin(), order.end(), 0);
        for (size_t k = order.size(); k > 1; --k) {
            std::swap(order[k - 1], order[uniform_index(random, k)]);
        }
        out.push_back(source);
        out.push_back(permuted(source, order));
        out.back().name += " (permuted)";
        out.push_back(deformed(source, {{{1.03, 0, 0}, {0.02, 0.98, 0}, {0, 0.01, 1.01}}}));
        out.back().name += " (deformed)";
    }
    return out;
}

std::vector<Result> run(Context& context) {
    std::vector<Expected> expected;
    std::vector<std::string> names;
    for (const auto& system : varied(context)) {
        const auto known = std::find_if(expected.begin(), expected.end(), [&](const Expected& other) {
            return other.system.name == system.name && other.system.positions == system.positions;
        });
        const auto item = known == expected.end() ? expect(context, system) : *known;
        expected.push_back(item);
        names.push_back(system.name);
    }
    // Sizes go up and down again.
    std::vector<size_t> way(expected.size());
    std::iota(way.begin(), way.end(), 0);
    std::stable_sort(way.begin(), way.end(), [&](size_t a, size_t b) {
        return expected[a].system.size() < expected[b].system.size();
    });
    for (size_t k = expected.size() - 1; k-- > 1;) {
        way.push_back(way[k]);
    }
    Observed observed;
    Comparison repeated;
    auto first = context.fresh();
    for (int n = 0; n < repeats; ++n) {
        call_and_compare(*first, expected.front(), n, repeated, observed);
    }
    Comparison varying;
    auto second = context.fresh();
    for (int n = 0; n < rounds; ++n) {
        // Twice the same, then the next: caches of the last call get a chance.
        call_and_compare(*second, expected[way[size_t(n / 2) % way.size()]], n, varying, observed);
    }
    std::vector<Result> out = {
        judged("repeated calls", repeated, "",
               "later calls with the same system give other results than the first: the model keeps state, or its "
               "optimized code is wrong"),
        judged("varying systems", varying, "",
               "a model that has seen other systems gives other results than a fresh one: something is remembered"),
        observed.changed_input.empty()
            ? passed("inputs unchanged")
            : failed("inputs unchanged", "a call changed the " + observed.changed_input + " it was given: engines reuse "
                     "these arrays"),
        observed.random_numbers
            ? failed("random numbers", "a call draws random numbers or sets their seed: runs can not be "
                     "reproduced, and the engine's own random numbers are not random")
            : passed("random numbers", "none drawn")
    };
    if (out[0].status == Status::pass) {
        out[0].message = std::to_string(observed.identical) + " of " + std::to_string(repeats + rounds) +
                         " calls bitwise equal to a first call; " + out[0].message;
    }
    out[0].systems = {names.front()};
    out[1].systems = names;
    return out;
}

const Registered check({
    "NTH", "calls",
    "Ten calls with one system and twenty with changing ones, with and without strain, give what a fresh instance gives.",
    "'repeat' of the tolerance table",
    {"repeated calls", "varying systems", "inputs unchanged", "random numbers"}, run,
});

}  // namespace

}  // namespace mtt
