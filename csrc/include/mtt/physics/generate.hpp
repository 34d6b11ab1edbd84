// Systems made from nothing but atomic types, for models that bring no golden pack and for geometries that no pack
// holds. All are deterministic: a report must be the same tomorrow.
#pragma once

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

/// One atom without a cell.
System single_atom(int32_t type);

}  // namespace mtt
