// Energies, forces and virials of several systems against references: the worst case of each, and points to plot.
#pragma once

#include <string>
#include <vector>

#include "mtt/model/model.hpp"
#include "mtt/physics/compare.hpp"
#include "mtt/result.hpp"

namespace mtt {

class Parity {
public:
    void compare(const System& system, const Properties& got, const Properties& reference, const Budget& limit);

    /// Results named `prefix` + "energy", "atomic energies", "forces" and "virial"; the second is skipped if neither
    /// side has energies of atoms.
    [[nodiscard]] std::vector<Result> results(const std::string& prefix, const std::string& energy_unit,
                                              const std::string& length_unit, const std::string& consequence) const;

private:
    struct Part {
        Comparison comparison;
        std::vector<Point> points;
    };
    Part energies_;
    Part atoms_;
    Part forces_;
    Part virials_;
    std::vector<std::string> systems_;
};

}  // namespace mtt
