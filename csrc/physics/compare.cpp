#include "mtt/physics/compare.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

namespace mtt {

void Comparison::add(double measured, double tolerance, const std::string& where) {
    ++count_;
    const double size = std::abs(measured);
    double ratio = tolerance > 0 ? size / tolerance : (size == 0 ? 0.0 : std::numeric_limits<double>::infinity());
    if (!std::isfinite(ratio)) {
        ratio = std::numeric_limits<double>::infinity();
    }
    if (ratio > ratio_) {
        ratio_ = ratio;
        measured_ = size;
        tolerance_ = tolerance;
        where_ = where;
    }
}

void Comparison::energies(double a, double b, const Budget& budget, const std::string& where) {
    add(a - b, budget.energy, "energy of " + where);
}

void Comparison::atomic_energies(
    const std::vector<double>& a, const std::vector<double>& b, const Budget& budget, const std::string& where
) {
    if (a.size() != b.size()) {
        add(std::nan(""), budget.atomic_energy, "number of atoms of " + where);
        return;
    }
    for (size_t i = 0; i < a.size(); ++i) {
        add(a[i] - b[i], budget.atomic_energy, "energy of atom " + std::to_string(i) + " of " + where);
    }
}

void Comparison::forces(
    const std::vector<Vec3>& a, const std::vector<Vec3>& b, const Budget& budget, const std::string& where
) {
    if (a.size() != b.size()) {
        add(std::nan(""), budget.force, "number of forces of " + where);
        return;
    }
    for (size_t i = 0; i < a.size(); ++i) {
        for (int k = 0; k < 3; ++k) {
            const double difference = a[i][k] - b[i][k];
            // The text is only built when it is needed: systems have many components.
            if (count_ == 0 || !(std::abs(difference) <= ratio_ * budget.force)) {
                add(difference, budget.force,
                    std::string("force ") + "xyz"[k] + " on atom " + std::to_string(i) + " of " + where);
            }
        }
    }
}

void Comparison::virials(const Mat3& a, const Mat3& b, const Budget& budget, const std::string& where) {
    for (int p = 0; p < 3; ++p) {
        for (int q = 0; q < 3; ++q) {
            add(a[p][q] - b[p][q], budget.virial, std::string("virial ") + "xyz"[p] + "xyz"[q] + " of " + where);
        }
    }
}

void Comparison::properties(
    const Properties& a, const Properties& b, const Budget& budget, const std::string& where, bool strain
) {
    energies(a.energy, b.energy, budget, where);
    forces(a.forces, b.forces, budget, where);
    if (strain) {
        virials(a.virial, b.virial, budget, where);
    }
}

std::string short_number(double value) {
    char buffer[32];
    std::snprintf(buffer, sizeof(buffer), "%.3g", value);
    return buffer;
}

}  // namespace mtt
