#include "mtt/physics/compare.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <set>

namespace mtt {

namespace {

/// "TTF" of "pbc TTF, tilted".
std::string flags_of(const std::string& kind) { return kind.substr(4, 3); }

bool is_tilted(const std::string& kind) { return kind.size() > 7; }

}  // namespace

void Comparison::in(const System& system) {
    for (part_ = 0; part_ < parts_.size() && parts_[part_].name != system.name; ++part_) {
    }
    if (part_ == parts_.size()) {
        parts_.push_back({system.name, kind_of(system), false});
    }
}

void Comparison::fails(const std::string& error, const std::string& details) {
    if (error_.empty()) {
        error_ = error;
        details_ = details;
    }
    add(std::numeric_limits<double>::infinity(), 1.0, part_ < parts_.size() ? parts_[part_].name : "a system");
}

std::vector<std::string> Comparison::failing() const {
    std::vector<std::string> out;
    for (const auto& part : parts_) {
        if (part.failed) {
            out.push_back(part.name);
        }
    }
    return out;
}

std::vector<std::string> Comparison::failing_kinds() const {
    std::vector<std::string> out;
    for (const auto& part : parts_) {
        if (part.failed && std::find(out.begin(), out.end(), part.kind) == out.end()) {
            out.push_back(part.kind);
        }
    }
    return unnamed_failure_ ? std::vector<std::string>{} : out;
}

bool Comparison::others_pass() const {
    return !unnamed_failure_ && std::any_of(parts_.begin(), parts_.end(), [](const Part& part) { return !part.failed; });
}

std::string Comparison::circumstances() const {
    const auto apart = [&](const auto& property) {
        return std::all_of(parts_.begin(), parts_.end(), [&](const Part& part) { return property(part) == part.failed; });
    };
    if (passed() || !others_pass()) {
        return "";
    }
    if (apart([](const Part& part) { return is_tilted(part.kind); })) {
        return "tilted cells";
    }
    std::set<std::string> flags;
    for (const auto& part : parts_) {
        if (part.failed) {
            flags.insert(flags_of(part.kind));
        }
    }
    if (!apart([&](const Part& part) { return flags.count(flags_of(part.kind)) > 0; })) {
        return "";
    }
    // By the number of periodic directions.
    std::array<std::string, 4> kinds;
    for (const auto& flag : flags) {
        auto& kind = kinds[size_t(std::count(flag.begin(), flag.end(), 'T'))];
        kind += (kind.empty() ? "" : ", ") + flag;
    }
    const char* const names[] = {"molecules", "wires", "slabs", "bulk"};
    std::string out;
    for (size_t k = 0; k < kinds.size(); ++k) {
        if (!kinds[k].empty()) {
            out += (out.empty() ? "" : " and ") + std::string(names[k]) + " (pbc " + kinds[k] + ")";
        }
    }
    return out;
}

void Comparison::add(double measured, double tolerance, const std::string& where) {
    ++count_;
    not_finite_ = not_finite_ || std::isnan(measured);
    const double size = std::abs(measured);
    double ratio = tolerance > 0 ? size / tolerance : (size == 0 ? 0.0 : std::numeric_limits<double>::infinity());
    if (!std::isfinite(ratio)) {
        ratio = std::numeric_limits<double>::infinity();
    }
    if (ratio > 1.0) {
        if (part_ < parts_.size()) {
            parts_[part_].failed = true;
        } else {
            unnamed_failure_ = true;
        }
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
        add(std::numeric_limits<double>::infinity(), budget.atomic_energy, "number of atoms of " + where);
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
        add(std::numeric_limits<double>::infinity(), budget.force, "number of forces of " + where);
        return;
    }
    for (size_t i = 0; i < a.size(); ++i) {
        for (int k = 0; k < 3; ++k) {
            const double difference = a[i][k] - b[i][k];
            // The text is only built when it is needed: systems have many components.
            if (count_ == 0 || !(std::abs(difference) <= std::min(ratio_, 1.0) * budget.force)) {
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
