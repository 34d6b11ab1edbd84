#include "mtt/checks/engine_calls.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mtt {

std::vector<System> engine_systems(Context& context, bool slabs) {
    std::vector<System> out;
    for (const int periodic : {0, 3, 2}) {
        if (periodic == 3) {
            out.push_back(context.small_cell());
            continue;
        }
        for (const auto& system : context.systems()) {
            const bool fits = system.pbc[0] + system.pbc[1] + system.pbc[2] == periodic && system.size() <= 40;
            if (fits && (slabs || periodic != 2)) {
                out.push_back(system);
                break;
            }
        }
    }
    return out;
}

System as_given(System system, const std::vector<std::string>& missing) {
    for (const auto& input : missing) {
        if (input == "charge") {
            system.charge = 0.0;
        } else if (input == "spin_multiplicity") {
            system.spin_multiplicity = 1.0;
        }
    }
    return system;
}

System through_single(System system, double to_engine) {
    const auto round = [to_engine](double value) { return double(float(value * to_engine)) / to_engine; };
    for (auto& x : system.positions) {
        x = {round(x[0]), round(x[1]), round(x[2])};
    }
    for (auto& row : system.cell) {
        row = {round(row[0]), round(row[1]), round(row[2])};
    }
    return system;
}

void add_pairs(Call& call, const std::vector<NeighborRequest>& requests, bool sorted, uint64_t seed) {
    std::mt19937_64 random(seed);
    call.pairs.clear();
    for (const auto& system : call.systems) {
        call.pairs.emplace_back();
        for (const auto& request : requests) {
            call.pairs.back().push_back(build_pairs(system, request));
            if (!sorted) {
                shuffle(call.pairs.back().back(), random);
            }
        }
    }
}

void add_velocities(Call& call, uint64_t seed) {
    // That of hydrogen at room temperature, for all.
    constexpr double speed = 0.16;
    std::mt19937_64 random(seed);
    call.velocities.clear();
    for (const auto& system : call.systems) {
        call.velocities.emplace_back();
        for (size_t i = 0; i < system.size(); ++i) {
            call.velocities.back().push_back({speed * normal(random), speed * normal(random), speed * normal(random)});
        }
    }
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b, double factor) {
    if (a.size() != b.size()) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    double out = 0.0;
    for (size_t k = 0; k < a.size(); ++k) {
        const double difference = std::abs(factor * a[k] - b[k]);
        if (!std::isfinite(difference)) {
            return std::numeric_limits<double>::quiet_NaN();
        }
        out = std::max(out, difference);
    }
    return out;
}

const OutputInfo* declared_output(const Capabilities& capabilities, const std::string& name) {
    const auto& outputs = capabilities.outputs;
    const auto found = std::find_if(outputs.begin(), outputs.end(), [&](const auto& item) { return item.name == name; });
    return found == outputs.end() ? nullptr : &*found;
}

std::string listed(const std::vector<std::string>& words) {
    std::string out;
    for (size_t k = 0; k < words.size(); ++k) {
        out += (k == 0 ? "" : (k + 1 == words.size() ? " and " : ", ")) + words[k];
    }
    return out;
}

double rounding_of(const Capabilities& capabilities, const std::vector<double>& values) {
    double size = 0.0;
    for (const double value : values) {
        size = std::max(size, std::isfinite(value) ? std::abs(value) : 0.0);
    }
    return (capabilities.dtype == "float32" ? 2e-5 : 1e-9) * size;
}

bool all_finite(const std::vector<double>& values) {
    return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

std::vector<std::string> input_names(const Capabilities& capabilities) {
    std::vector<std::string> out;
    for (const auto& input : capabilities.requested_inputs) {
        out.push_back(input.name);
    }
    return out;
}

Call without_gradients(const System& system, Kind kind) {
    Call call;
    call.systems = {system};
    call.gradients = false;
    call.kind = kind;
    return call;
}

std::vector<double> in_order(const Answer& answer, Kind kind, size_t atoms) {
    const size_t columns = answer.samples.empty() ? 1 : answer.values.size() / answer.samples.size();
    return kind == Kind::atom ? rows_by_atom(answer, 0, atoms, columns) : answer.values;
}

}  // namespace mtt
