// LIMITS: memory that a simulation of a million steps, or a workflow that loads the model again and again, would lose.
#include <algorithm>
#include <cmath>

#include "mtt/checks/limits.hpp"
#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

/// Bytes per step, from the smallest values in the middle third and in the last: one odd value does not matter.
double growth(const std::vector<double>& bytes) {
    const size_t third = bytes.size() / 3;
    const auto lowest = [&](size_t begin) {
        const auto first = bytes.begin() + std::ptrdiff_t(begin);
        return *std::min_element(first, first + std::ptrdiff_t(third));
    };
    return (lowest(bytes.size() - third) - lowest(bytes.size() - 2 * third)) / double(third);
}

Result judged_growth(std::string name, const std::vector<double>& bytes, double tolerance, const std::string& per,
                     const std::string& consequence) {
    Result out;
    out.name = std::move(name);
    out.measured = std::max(0.0, growth(bytes));
    out.tolerance = tolerance;
    out.unit = "bytes/" + per;
    out.status = *out.measured <= tolerance ? Status::pass : Status::fail;
    out.message = out.status == Status::pass ? std::to_string(bytes.size()) + " times" : consequence;
    for (size_t k = 0; k < bytes.size(); k += 1 + bytes.size() / 200) {
        out.series.push_back({double(k), bytes[k] - bytes.front(), ""});
    }
    return out;
}

Result per_call(Context& context, const Question& question) {
    const size_t calls = context.level() == Level::soak ? 1000 : (context.level() == Level::full ? 36 : 24);
    const auto instance = context.fresh();
    // Of two sizes, and small: what a call keeps shows in any system.
    std::mt19937_64 random(63);
    const std::vector<System> systems = {cluster(context.types(), {2, 2, 1}, context.spacing(), random),
                                         cluster(context.types(), {3, 1, 1}, context.spacing(), random)};
    const size_t kinds = systems.size();
    std::vector<double> bytes;
    bytes.reserve(2000);
    // The first calls compile.
    for (size_t k = 0; k < calls + 12; ++k) {
        for (size_t s = 0; s < kinds; ++s) {
            question.ask(*instance, systems[s]);
        }
        if (k >= 12) {
            bytes.push_back(double(context.host().memory().allocated));
        }
    }
    const double tolerance = context.level() == Level::soak ? 96.0 : 256.0;
    return judged_growth(
        "memory per call", bytes, tolerance * double(kinds), std::to_string(kinds) + " calls",
        "each call keeps memory: a long simulation ends when there is none left"
    );
}

Result per_load(Context& context, const Question& question) {
    const size_t loads = context.level() == Level::soak ? 50 : 6;
    std::vector<double> bytes;
    bytes.reserve(2000);
    auto call = question.call(question.systems().front());
    call.gradients = call.strain = false;
    const auto session = context.without_compiling();
    for (size_t k = 0; k < loads + 2; ++k) {
        context.fresh()->evaluate(call);
        if (k >= 2) {
            bytes.push_back(double(context.host().memory().allocated));
        }
    }
    const double file = context.archive() == nullptr ? 0.0 : double(context.archive()->bytes());
    return judged_growth(
        "memory per reload", bytes, std::max(0.1 * file, 100e3), "load",
        "memory of a model that was unloaded is not given back: programs that load models again and again end"
    );
}

std::vector<Result> run(Context& context, const Question& question) {
    return {
        guarded("memory per call", [&] { return per_call(context, question); }),
        guarded("memory per reload", [&] { return per_load(context, question); }),
    };
}

const std::vector<std::string> names = {"memory per call", "memory per reload"};

const Registered check({
    "LIMITS", "memory", "Memory does not grow from call to call, nor when the model is loaded and unloaded.",
    "256 bytes per call (96 in soak), of which a million make 256 MB: libtorch itself keeps some ten; per reload a tenth of the file, or 100 kB, which libtorch itself may keep",
    names, asking(run, names), Level::full, {}, About::picked,
    Severity::stops,
}, About::picked);

}  // namespace

}  // namespace mtt
