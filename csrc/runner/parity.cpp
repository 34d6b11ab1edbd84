#include "mtt/runner/parity.hpp"

#include <algorithm>

#include "mtt/runner/check.hpp"

namespace mtt {

namespace {

/// A plot with more is no clearer, and a report with more is long.
constexpr size_t most_points = 1000;

void plot(std::vector<Point>& points, double reference, double got, const std::string& label) {
    if (points.size() < most_points) {
        points.push_back({reference, got, label});
    }
}

}  // namespace

void Parity::compare(const System& system, const Properties& got, const Properties& reference, const Budget& limit) {
    const auto& where = system.name;
    for (auto* part : {&energies_, &atoms_, &forces_, &virials_}) {
        part->comparison.in(system);
    }
    systems_.push_back(where);
    energies_.comparison.energies(got.energy, reference.energy, limit, where);
    plot(energies_.points, reference.energy, got.energy, where);
    if (!reference.energies.empty() && !got.energies.empty()) {
        atoms_.comparison.atomic_energies(got.energies, reference.energies, limit, where);
        for (size_t i = 0; i < std::min(got.energies.size(), reference.energies.size()); ++i) {
            plot(atoms_.points, reference.energies[i], got.energies[i], where);
        }
    }
    forces_.comparison.forces(got.forces, reference.forces, limit, where);
    for (size_t i = 0; i < std::min(got.forces.size(), reference.forces.size()); ++i) {
        for (int k = 0; k < 3; ++k) {
            plot(forces_.points, reference.forces[i][k], got.forces[i][k], where);
        }
    }
    virials_.comparison.virials(got.virial, reference.virial, limit, where);
    for (int i = 0; i < 3; ++i) {
        for (int k = 0; k < 3; ++k) {
            plot(virials_.points, reference.virial[i][k], got.virial[i][k], where);
        }
    }
}

std::vector<Result> Parity::results(const std::string& prefix, const std::string& energy_unit,
                                    const std::string& length_unit, const std::string& consequence) const {
    const auto result = [&](const std::string& name, const Part& part, const std::string& unit) {
        auto out = judged(prefix + name, part.comparison, unit, consequence);
        out.systems = systems_;
        out.series = part.points;
        return out;
    };
    return {
        result("energy", energies_, energy_unit),
        atoms_.comparison.empty()
            ? skipped(prefix + "atomic energies", "the model declares its energy per system only")
            : result("atomic energies", atoms_, energy_unit),
        result("forces", forces_, energy_unit + "/" + length_unit),
        result("virial", virials_, energy_unit),
    };
}

}  // namespace mtt
