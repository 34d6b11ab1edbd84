// LIMITS: time of the first calls, of calls with sizes that are new, and growth with the number of atoms.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "mtt/checks/limits.hpp"
#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/clock.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

double seconds_of(const Question& question, Model& model, const System& system) {
    const auto start = Clock::now();
    question.ask(model, system);
    return seconds_since(start);
}

double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + std::ptrdiff_t(values.size() / 2), values.end());
    return values[values.size() / 2];
}

/// What looks too slow is measured as often as this before it fails: another program's burst of work must not refuse
/// a model, and a model that is slow is slow each time.
constexpr int attempts = 5;
/// Seconds after which no attempt begins.
constexpr double patience = 20.0;

/// Waits before attempt `k`, each time for twice as long: a burst may last a second.
void let_others_finish(int k) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100 << k));
}

/// Each size twice: what only the first of the two costs is the price of a new size. `offset` moves all sizes, so
/// that those of a later attempt are new as well.
Result new_sizes(Context& context, const Question& question, Model& instance, int offset) {
    constexpr int sizes = 15;
    constexpr int settled = 7;
    std::mt19937_64 random(61);
    std::vector<double> fresh_size;
    std::vector<double> same_size;
    Result out;
    out.name = "time per call";
    for (int k = 0; k < sizes; ++k) {
        const int length = offset + 3 + (7 * k) % sizes;
        const auto system = cluster(context.types(), {length, 2, 1}, context.spacing(), random);
        const double first = seconds_of(question, instance, system);
        const double second = seconds_of(question, instance, system);
        out.series.push_back({2.0 * k + 1, first, std::to_string(system.size()) + " atoms, new"});
        out.series.push_back({2.0 * k + 2, second, std::to_string(system.size()) + " atoms, again"});
        if (k >= settled) {
            fresh_size.push_back(first);
            same_size.push_back(second);
        }
    }
    const double slow = median(fresh_size);
    const double typical = median(same_size);
    out.measured = slow / typical;
    out.tolerance = 8.0;
    out.unit = "times";
    // Below a few milliseconds the machine's other work decides.
    out.status = slow > 8.0 * typical && slow - typical > 0.01 ? Status::fail : Status::pass;
    const double slowest = std::max_element(out.series.begin(), out.series.end(), [](const auto& a, const auto& b) {
        return a.y < b.y;
    })->y;
    if (out.status == Status::pass) {
        out.measured = std::min(*out.measured, 8.0);
        out.message = "typical call " + short_number(typical) + " s, slowest of the first " +
                      std::to_string(2 * sizes) + " " + short_number(slowest) + " s";
    } else {
        out.message = "calls with a new number of atoms stay slow (" + short_number(slow) + " s instead of " +
                      short_number(typical) + " s): something is compiled or built again, and in MD the number of ghost "
                      "atoms is new in every step";
    }
    return out;
}

Result time_per_call(Context& context, const Question& question) {
    const auto instance = context.fresh();
    const auto start = Clock::now();
    Result out = new_sizes(context, question, *instance, 0);
    for (int k = 1; k < attempts && out.status == Status::fail && seconds_since(start) < patience; ++k) {
        let_others_finish(k);
        out = new_sizes(context, question, *instance, 15 * k);
    }
    return out;
}

struct Cost {
    System system;
    double seconds;
    double bytes;
};

std::vector<Cost> costs(Context& context, const Question& question, Model& instance) {
    const int largest = context.level() == Level::quick ? 4 : (context.level() == Level::full ? 5 : 7);
    // With few neighbors, whose pairs are what most calls take time for: how time grows with atoms shows all the more.
    const double apart = context.sparse_spacing();
    std::mt19937_64 random(62);
    std::vector<Cost> out;
    for (int doublings = 2; doublings <= largest; ++doublings) {
        std::array<int, 3> counts = {2, 2, 2};
        for (int k = 0; k < doublings; ++k) {
            counts[size_t(k % 3)] *= 2;
        }
        const auto system = crystal(context.types(), counts, apart, 0.1, random);
        double best = seconds_of(question, instance, system);
        context.host().reset_peak_memory();
        const double before = double(context.host().memory().resident);
        best = std::min(best, seconds_of(question, instance, system));
        best = best < 0.3 ? std::min(best, seconds_of(question, instance, system)) : best;
        out.push_back({system, best, std::max(0.0, double(context.host().memory().peak) - before)});
        // Three sizes, of which the last takes so long, show how it grows; the next ones would take minutes.
        if (best > (out.size() < 3 ? 4.0 : 0.5)) {
            break;
        }
    }
    return out;
}

/// Exponent of the time between the two largest sizes.
double growth(const Cost& before, const Cost& last) {
    return std::log(last.seconds / before.seconds) /
           std::log(double(last.system.size()) / double(before.system.size()));
}

Result scaling(Context& context, const Question& question) {
    const auto instance = context.fresh();
    auto measured = costs(context, question, *instance);
    constexpr double steepest = 2.5;
    const auto explodes = [&] {
        return measured.size() > 1 && growth(measured[measured.size() - 2], measured.back()) > steepest &&
               measured.back().seconds > 0.05;
    };
    const auto start = Clock::now();
    for (int k = 1; k < attempts && explodes() && seconds_since(start) < patience; ++k) {
        let_others_finish(k);
        for (size_t size = measured.size() - 2; size < measured.size(); ++size) {
            auto& cost = measured[size];
            cost.seconds = std::min(cost.seconds, seconds_of(question, *instance, cost.system));
        }
    }
    Result out;
    out.name = "scaling";
    for (const auto& cost : measured) {
        out.series.push_back({double(cost.system.size()), cost.seconds, std::to_string(cost.system.size()) + " atoms"});
    }
    const auto& last = measured.back();
    const size_t atoms = last.system.size();
    out.message = short_number(1e6 * last.seconds / double(atoms)) + " us and " +
                  short_number(last.bytes / 1e3 / double(atoms)) + " kB per atom at " +
                  std::to_string(atoms) + " atoms";
    out.unit = "power of the number of atoms";
    out.tolerance = steepest;
    if (measured.size() < 2) {
        return out;
    }
    const auto& before = measured[measured.size() - 2];
    const double power = growth(before, last);
    out.measured = std::max(0.0, power);
    if (explodes()) {
        out.status = Status::fail;
        out.message = "twice as many atoms take " + short_number(last.seconds / before.seconds) + " times as long: " +
                      out.message;
    } else if (power > 1.4) {
        out.message += "; grows faster than the number of atoms";
    }
    if (out.status == Status::pass) {
        out.measured = std::min(*out.measured, steepest);
    }
    return out;
}

std::vector<Result> run(Context& context, const Question& question) {
    return {
        guarded("time per call", [&] { return time_per_call(context, question); }),
        guarded("scaling", [&] { return scaling(context, question); }),
    };
}

const std::vector<std::string> names = {"time per call", "scaling"};

const Registered check({
    "LIMITS", "time",
    "Times of calls 1 to 30 with changing sizes; time and memory per atom, and how time grows with their number.",
    "new sizes: 8 times a call with a known one, if that is 10 ms more; growth: power 2.5, if a call takes 50 ms. "
    "What looks slow is measured five times: a machine that is busy with other work must not fail a model",
    names, asking(run, names), Level::full, {}, About::picked, Severity::costs,
    Turn::alone,
}, About::picked);

}  // namespace

}  // namespace mtt
