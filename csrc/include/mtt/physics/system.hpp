// A set of atoms as an engine knows it, and the transformations that the checks apply to it. No torch here.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "mtt/physics/math.hpp"

namespace mtt {

/// Atoms, cell and periodicity. Lengths are in the length unit of the model. Rows of the cell along
/// non-periodic axes are zero, which is what metatomic demands.
struct System {
    std::string name;
    std::vector<int32_t> types;
    std::vector<Vec3> positions;
    Mat3 cell{};
    std::array<bool, 3> pbc{false, false, false};
    /// In units of the elementary charge; only models that request them see these two.
    double charge = 0.0;
    double spin_multiplicity = 1.0;

    bool operator==(const System&) const = default;
    [[nodiscard]] size_t size() const { return types.size(); }
    [[nodiscard]] bool periodic() const { return pbc[0] || pbc[1] || pbc[2]; }
};

/// What matters to a model that treats some systems otherwise: "pbc TTF", "pbc TTT, tilted".
std::string kind_of(const System& system);

/// The cell, with non-periodic rows filled by unit vectors that complete it to a full-rank frame.
Mat3 full_frame(const System& system);
/// Distances between opposite faces of the full frame (meaningful along periodic axes).
Vec3 heights(const Mat3& frame);

/// Positions and cell times `deformation` from the right; used for strain and for rotation.
System deformed(const System& system, const Mat3& deformation);
System translated(const System& system, const Vec3& shift);
System permuted(const System& system, const std::vector<size_t>& order);
/// `repeats` copies along each axis; copy c of atom i is atom c * size + i, copies ordered a-slowest.
System replicated(const System& system, const std::array<int, 3>& repeats);
/// Gaussian displacements of standard deviation `amplitude` on every coordinate.
System rattled(const System& system, double amplitude, std::mt19937_64& random);
/// Every atom moved by lattice vectors into the cell along periodic axes.
System wrapped(const System& system);

/// Uniformly distributed rotation matrix (proper).
Mat3 random_rotation(std::mt19937_64& random);
/// Standard normal number. Our own Box-Muller, because std::normal_distribution differs between libraries.
double normal(std::mt19937_64& random);
/// Uniform number in [0, 1), the same with every standard library.
double uniform(std::mt19937_64& random);
/// Uniform integer in [0, n).
size_t uniform_index(std::mt19937_64& random, size_t n);

}  // namespace mtt
