// Systems with no more pairs than a check needs, and of the usual densities for checks of domains: how far a model sees can
// depend on how many neighbors atoms have.
#pragma once

#include "mtt/physics/generate.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

/// The first of the check systems that is a crystal, in which atoms have many neighbors; null if there is none.
const System* crowded_crystal(Context& context);

/// Random places in a box, or in a cluster of that form, of the given length and as wide as the number of atoms allows, so
/// that most have as many neighbors as in a large one. Wider than 2.5 cutoffs it need not be.
/// @param density in atoms per cubic angstrom
/// @param atoms at most so many; fewer, but 18, where they have many neighbors
System scattered_system(Context& context, double density, bool periodic, double length, size_t atoms, std::mt19937_64& random);

/// One box or cluster for each of the usual densities, long enough that a domain of a half does not see all of it.
/// @param at_most so many of them, drawn; a box comes first
std::vector<System> systems_to_divide(Context& context, size_t at_most, std::mt19937_64& random);

}  // namespace mtt
