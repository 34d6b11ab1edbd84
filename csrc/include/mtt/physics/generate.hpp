// Systems made from nothing but atomic types, for models that bring no golden pack and for geometries that no pack
// holds. All are deterministic: a report must be the same tomorrow.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "mtt/physics/system.hpp"

namespace mtt {

/// Sum-of-covalent-radii distance between two atoms of the largest of these types, in angstrom; atomic types that
/// are no atomic numbers count as 1.5 angstrom.
double typical_distance(const std::vector<int32_t>& types);

/// A jittered block of a simple cubic lattice, nowhere periodic.
System cluster(const std::vector<int32_t>& types, const std::array<int, 3>& counts, double spacing,
               std::mt19937_64& random);

/// The same, periodic in all directions; the second cell vector leans along the first by `tilt` times its length,
/// the third along both.
System crystal(const std::vector<int32_t>& types, const std::array<int, 3>& counts, double spacing, double tilt,
               std::mt19937_64& random);

/// Atoms per cubic angstrom to try: a gas under pressure, molecular and covalent solids, water, dense metals. How far some
/// models see depends on it.
inline constexpr std::array<double, 5> usual_densities = {0.02, 0.035, 0.05, 0.07, 0.1};

/// As many atoms at random places of a box, none very close to another; a box that is cut off where it is not periodic.
/// @param edges of the box, along the Cartesian axes
/// @param apart how close atoms may come, if so many fit
System scattered(const std::vector<int32_t>& types, size_t count, const Vec3& edges, const std::array<bool, 3>& pbc,
                 double apart, std::mt19937_64& random);

/// Distance of two atoms, or of the images closest to each other, in a cell along the Cartesian axes.
double closest_distance(const System& system, size_t i, size_t j);

/// One atom without a cell.
System single_atom(int32_t type);

}  // namespace mtt
