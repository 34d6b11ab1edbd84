// What the checks of the family ENGINE have in common.
#pragma once

#include <string>
#include <vector>

#include "mtt/engines/profiles.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

/// A molecule, a system that is periodic in all directions and, if wanted, a slab.
std::vector<System> engine_systems(Context& context, bool slabs = true);

/// The system as an engine calculates it that gives the model no charge, or no spin: neutral, or a singlet.
System as_given(System system, const std::vector<std::string>& missing);

/// What passes through an engine that keeps coordinates in float32 and in its own unit.
System through_single(System system, double to_engine);

/// Makes the pairs of the call, in the order of nothing at all if they are not `sorted`.
void add_pairs(Call& call, const std::vector<NeighborRequest>& requests, bool sorted, uint64_t seed);

/// Velocities as at some temperature, for models that request them.
void add_velocities(Call& call, uint64_t seed);

/// Largest absolute difference; NaN if one of them is none or there are not as many of both.
double largest_difference(const std::vector<double>& a, const std::vector<double>& b, double factor = 1.0);

/// The output of that name, or null.
const OutputInfo* declared_output(const Capabilities& capabilities, const std::string& name);

/// "a, b and c".
std::string listed(const std::vector<std::string>& words);

/// By how much answers of the same output to several calls may differ.
double rounding_of(const Capabilities& capabilities, const std::vector<double>& values);
bool all_finite(const std::vector<double>& values);

/// What the model requests beside atoms and neighbor lists.
std::vector<std::string> input_names(const Capabilities& capabilities);
Call without_gradients(const System& system, Kind kind);
/// Values of per-atom rows in the order of the atoms; as they are otherwise.
std::vector<double> in_order(const Answer& answer, Kind kind, size_t atoms);

}  // namespace mtt
