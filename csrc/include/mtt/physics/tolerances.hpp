// How much two numbers may differ, and why. Every check takes its tolerance from here and nowhere else.
#pragma once

#include <string>
#include <vector>

#include "mtt/model/model.hpp"

namespace mtt {

/// Kinds of comparison, from the tightest to the loosest.
enum class Agreement {
    repeat,     ///< the same call again, or the same sum in another order
    geometry,   ///< the same physics written differently: supercell, other lattice vectors, translation by little
    floor,      ///< what is left of parity when the rounding of float32 has been measured and is added
    parity,     ///< TorchScript in the dtype of the model against the eager float64 model
    difference  ///< analytic derivative against finite differences of the energy
};

struct ToleranceRow {
    Agreement agreement;
    const char* name;
    /// Relative to max(1 eV/angstrom, largest force); energies use the same number per sqrt(atom) and angstrom.
    double float64;
    double float32;
    const char* reason;
};

/// The table, for documentation and for the Python catalogue.
const std::vector<ToleranceRow>& tolerance_table();

/// The number of the table for a dtype.
double relative_tolerance(Agreement agreement, const std::string& dtype);

/// Allowed absolute differences for one system.
struct Budget {
    double energy = 0.0;
    double atomic_energy = 0.0;
    double force = 0.0;
    double virial = 0.0;
};

/// @param reference properties of the system, which set the scale
/// @param roundings number of roundings of the total energy to the dtype that a correct engine may see
Budget budget(
    Agreement agreement, const Capabilities& model, const System& system, const Properties& reference,
    double roundings = 1.0
);

/// Roundings to allow where the model itself may add up its atoms in its own dtype.
double summation_roundings(size_t atoms);

}  // namespace mtt
