// What a rank without atoms of its own asks a model beside the energy, and what it must be told.
#pragma once

#include <string>

#include "mtt/model/model.hpp"

namespace mtt {

/// When failures of these uncertainties matter.
inline constexpr const char* with_uncertainty = "a rank has no atoms, and uncertainties are not turned off";

/// Adds the uncertainty of each atom, which LAMMPS and GROMACS ask for beside the energy in every step.
/// @return its name; empty if the model has none for this energy
std::string add_uncertainty(Call& call, const Capabilities& capabilities);

/// @param output its name
/// @return what is wrong with the uncertainty in the answer to a call without selected atoms; empty if nothing
std::string uncertainty_problem(const Answer& answer, const std::string& output);

}  // namespace mtt
