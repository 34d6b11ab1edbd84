// LIMITS: time of the first calls, of calls with sizes that are new, and growth with the number of atoms.
#include <algorithm>
#include <chrono>
#include <cmath>

#include "mtt/physics/generate.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

double seconds_of(Model& model, const System& system) {
    const auto start = std::chrono::steady_clock::now();
    evaluate(model, system);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + std::ptrdiff_t(values.size() / 2), values.end());
    return values[values.size() / 2];
}

/// Each size twice: what only the first of the two costs is the price of a new size.
Result new_sizes(Context& context) {
    const std::string name = "time per call";
    constexpr int sizes = 15;
    constexpr int settled = 7;
    const auto instance = context.fresh();
    std::mt19937_64 random(61);
    std::vector<double> fresh_size;
    std::vector<double> same_size;
    Result out;
    out.name = name;
    for (int k = 0; k < sizes; ++k) {
        const auto system = cluster(context.types(), {3 + (7 * k) % sizes, 2, 1}, context.spacing(), random);
        const double first = seconds_of(*instance, system);
        const double second = seconds_of(*instance, system);
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

struct Cost {
    size_t atoms;
    double seconds;
    double bytes;
};

std::vector<Cost> costs(Context& context) {
    const int largest = context.level() == Level::quick ? 4 : (context.level() == Level::full ? 5 : 7);
    const auto instance = context.fresh();
    std::mt19937_64 random(62);
    std::vector<Cost> out;
    for (int doublings = 2; doublings <= largest; ++doublings) {
        std::array<int, 3> counts = {2, 2, 2};
        for (int k = 0; k < doublings; ++k) {
            counts[size_t(k % 3)] *= 2;
        }
        const auto system = crystal(context.types(), counts, context.spacing(), 0.1, random);
        double best = seconds_of(*instance, system);
        context.host().reset_peak_memory();
        const double before = double(context.host().memory().resident);
        best = std::min(best, seconds_of(*instance, system));
        best = best < 0.3 ? std::min(best, seconds_of(*instance, system)) : best;
        out.push_back({system.size(), best, std::max(0.0, double(context.host().memory().peak) - before)});
        // Three sizes, of which the last takes so long, show how it grows; the next ones would take minutes.
        if (best > (out.size() < 3 ? 4.0 : 0.5)) {
            break;
        }
    }
    return out;
}

Result scaling(Context& context) {
    const auto measured = costs(context);
    Result out;
    out.name = "scaling";
    for (const auto& cost : measured) {
        out.series.push_back({double(cost.atoms), cost.seconds, std::to_string(cost.atoms) + " atoms"});
    }
    const auto& last = measured.back();
    out.message = short_number(1e6 * last.seconds / double(last.atoms)) + " us and " +
                  short_number(last.bytes / 1e3 / double(last.atoms)) + " kB per atom at " +
                  std::to_string(last.atoms) + " atoms";
    out.unit = "power of the number of atoms";
    out.tolerance = 2.5;
    if (measured.size() < 2) {
        return out;
    }
    const auto& before = measured[measured.size() - 2];
    const double power = std::log(last.seconds / before.seconds) / std::log(double(last.atoms) / double(before.atoms));
    out.measured = std::max(0.0, power);
    if (power > 2.5 && last.seconds > 0.05) {
        out.status = Status::fail;
        out.message = "twice as many atoms take " + short_number(last.seconds / before.seconds) + " times as long: " +
                      out.message;
    } else if (power > 1.4) {
        out.message += "; grows faster than the number of atoms";
    }
    if (out.status == Status::pass) {
        out.measured = std::min(*out.measured, 2.5);
    }
    return out;
}

std::vector<Result> run(Context& context) {
    return {
        guarded("time per call", [&] { return new_sizes(context); }),
        guarded("scaling", [&] { return scaling(context); }),
    };
}

const Registered check({
    "LIMITS", "time",
    "Times of calls 1 to 30 with changing sizes; time and memory per atom, and how time grows with their number.",
    "new sizes: 8 times a call with a known one, if that is 10 ms more; growth: power 2.5, if a call takes 50 ms. "
    "A machine that is busy with other work must not fail a model",
    {"time per call", "scaling"}, run, Level::full, {}, About::picked_energy, Severity::costs,
}, About::picked_energy);

}  // namespace

}  // namespace mtt
