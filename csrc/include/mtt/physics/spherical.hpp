// How the components of a spherical tensor turn with the system.
#pragma once

#include <vector>

#include "mtt/physics/math.hpp"

namespace mtt {

/// Real spherical harmonics of degree l at a unit vector, for m = -l to l; those of degree 1 are y, z, x.
std::vector<double> spherical_harmonics(int l, const Vec3& direction);

/// [m][n]: what component n of a tensor of degree l adds to component m when the system is rotated, x' = x R.
std::vector<std::vector<double>> spherical_rotation(int l, const Mat3& rotation);

}  // namespace mtt
