#include "plain_model.hpp"

#include <algorithm>
#include <cmath>

namespace testing {

using namespace mtt;

namespace {

constexpr double offset = -20.0;

struct Function {
    double value;
    double slope_over_r;
};

/// exp(-r^2/4) (1 - r^2/rc^2)^3 and its derivative divided by r; `sharp` leaves the cutoff function out.
Function radial(double r2, double cutoff, bool sharp) {
    const double u = 1.0 - r2 / (cutoff * cutoff);
    const double e = std::exp(-0.25 * r2);
    if (sharp) {
        return {e, -0.5 * e};
    }
    return {e * u * u * u, e * (-0.5 * u * u * u - 6.0 * u * u / (cutoff * cutoff))};
}

}  // namespace

void PlainModel::evaluate_system(const mtt::Call& call, size_t index, mtt::Answer& answer) {
    const auto& system = call.systems[index];
    const size_t n = system.size();
    auto pairs = call.pairs.empty() ? build_pairs(system, requests_[0]) : call.pairs[index][0];
    if (!requests_[0].full) {
        const auto half = pairs;
        for (const auto& pair : half) {
            pairs.push_back({pair.second, pair.first,
                             {-pair.shift[0], -pair.shift[1], -pair.shift[2]}, -1.0 * pair.vector});
        }
    }
    std::vector<double> selected(n, call.select == mtt::Select::listed && !breakage_.ignore_selection ? 0.0 : 1.0);
    if (call.select == mtt::Select::listed && !breakage_.ignore_selection) {
        for (const auto& [s, i] : call.selected) {
            if (size_t(s) == index) {
                selected[size_t(i)] = 1.0;
            }
        }
    }
    const auto weight = [&](const mtt::Pair& pair) {
        const double types = system.types[size_t(pair.first)] == system.types[size_t(pair.second)] ? 1.0 : 1.3;
        return breakage_.order_matters ? types * (1 + 0.01 * pair.first) : types;
    };
    std::vector<double> density(n, 0.0);
    for (const auto& pair : pairs) {
        density[size_t(pair.first)] +=
            weight(pair) * radial(dot(pair.vector, pair.vector), cutoff, breakage_.sharp_cutoff).value;
    }
    std::vector<double> energies(n, offset);
    for (const auto& pair : pairs) {
        energies[size_t(pair.first)] += breakage_.step_at_cutoff;
    }
    std::vector<double> pull(n, 0.0);  // derivative of the selected energies by the density of an atom
    for (size_t i = 0; i < n; ++i) {
        energies[i] += density[i];
        pull[i] += selected[i];
    }
    if (layers_ == 2) {
        for (const auto& pair : pairs) {
            const double g =
                weight(pair) * radial(dot(pair.vector, pair.vector), cutoff, breakage_.sharp_cutoff).value;
            energies[size_t(pair.first)] += g * density[size_t(pair.second)];
            pull[size_t(pair.second)] += selected[size_t(pair.first)] * g;
        }
    }
    if (breakage_.drift_after >= 0 && calls_ > breakage_.drift_after) {
        for (double& e : energies) {
            e += 1e-6;
        }
    }
    if (call.gradients) {
        std::vector<Vec3> forces(n);
        mtt::Mat3 virial{};
        for (const auto& pair : pairs) {
            const auto a = size_t(pair.first);
            const auto b = size_t(pair.second);
            double factor = pull[a];
            if (layers_ == 2) {
                factor += selected[a] * density[b];
            }
            const double slope =
                radial(dot(pair.vector, pair.vector), cutoff, breakage_.sharp_cutoff).slope_over_r;
            const Vec3 gradient = (breakage_.force_factor * factor * weight(pair) * slope) * pair.vector;
            forces[a] = forces[a] + gradient;
            forces[b] = forces[b] - gradient;
            for (int p = 0; p < 3; ++p) {
                virial[p] = virial[p] - pair.vector[p] * gradient;
            }
        }
        if (breakage_.swap_virial) {
            std::swap(virial[0][1], virial[1][2]);
        }
        answer.forces.push_back(forces);
        answer.virials.push_back(virial);
    }
    if (call.kind == mtt::Kind::atom) {
        for (size_t i = 0; i < n; ++i) {
            if (selected[i] != 0.0) {
                answer.values.push_back(energies[i]);
                answer.samples.push_back({int32_t(index), int32_t(i)});
            }
        }
        return;
    }
    double total = 0.0;
    double count = 0.0;
    for (size_t i = 0; i < n; ++i) {
        total += selected[i] * energies[i];
        count += selected[i];
    }
    if (count > 0 || !breakage_.no_row_without_atoms) {
        answer.values.push_back(total);
        answer.samples.push_back({int32_t(index)});
    }
}

/// 0.1 eV for each selected atom.
mtt::Block PlainModel::uncertainty(const mtt::Call& call) const {
    const auto& system = call.systems.front();
    std::vector<std::pair<int32_t, int32_t>> rows = call.selected;
    const bool empty = call.select == mtt::Select::listed && rows.empty();
    if (empty && breakage_.uncertainty_stops_from >= 0) {
        const auto pairs = call.pairs.empty() ? build_pairs(system, requests_[0]) : call.pairs.front()[0];
        if (pairs.size() >= size_t(breakage_.uncertainty_stops_from)) {
            throw std::runtime_error("mat1 and mat2 shapes cannot be multiplied (0x0 and 3x3)");
        }
    }
    if (call.select != mtt::Select::listed || (empty && breakage_.uncertainty_of_ghosts)) {
        for (size_t i = 0; i < system.size(); ++i) {
            rows.emplace_back(0, int32_t(i));
        }
    }
    mtt::Block out;
    out.values.assign(rows.size(), 0.1);
    out.shape = {int64_t(rows.size()), 1};
    out.sample_names = {"system", "atom"};
    for (const auto& [index, atom] : rows) {
        out.samples.push_back({index, atom});
    }
    return out;
}

mtt::Answer PlainModel::evaluate(const mtt::Call& call) {
    ++calls_;
    mtt::Answer answer;
    for (size_t index = 0; index < call.systems.size(); ++index) {
        for (const int32_t type : call.systems[index].types) {
            if (type != 1 && type != 6) {
                throw mtt::EngineError("this model does not support the atomic type");
            }
        }
        evaluate_system(call, index, answer);
    }
    answer.blocks = 1;
    answer.dtype = "float64";
    answer.key_names = {"_"};
    answer.property_names = {"energy"};
    answer.sample_names = call.kind == mtt::Kind::atom ? std::vector<std::string>{"system", "atom"}
                                                       : std::vector<std::string>{"system"};
    answer.shape = {int64_t(answer.values.size()), 1};
    for (const auto& extra : call.extra) {
        answer.extra[extra.name] = uncertainty(call);
    }
    return answer;
}

}  // namespace testing
