// What the names of outputs mean to metatomic and to engines: standard quantities, their old names, variants.
#pragma once

#include <string>
#include <vector>

#include "mtt/capabilities.hpp"

namespace mtt {

/// A quantity that metatomic knows by name.
struct StandardQuantity {
    const char* name;
    /// A unit of its dimension; empty: it has none.
    const char* unit;
    /// Names of its axes between samples and properties.
    std::vector<std::string> components;
    /// The value of a system is the sum over atoms, which engines add up over MPI ranks.
    bool additive = false;
    /// A place in space: it moves with the system.
    bool place = false;
    /// Divides by the volume of the cell.
    bool per_volume = false;
};

/// Null for names of somebody's own.
const StandardQuantity* standard_quantity(const std::string& output);

/// "non_conservative_force" of "non_conservative_forces/pbe": without the variant, and by its current name.
std::string quantity_of(const std::string& output);
/// "pbe" of "energy/pbe"; empty if there is none.
std::string variant_of(const std::string& output);
/// The output that the model gives under an old name as well: "feature/x" of "features/x".
std::string current_name(const std::string& output);

/// "energy", or a variant of it.
bool is_energy(const std::string& output);
/// Has the unit of the energy: its uncertainty and its ensemble as well.
bool is_energy_like(const std::string& output);
/// The energy that engines pick by themselves, or else the first variant; empty if there is none.
std::string first_energy(const std::vector<OutputInfo>& outputs);
/// Variants of the energy, in the order of the alphabet.
std::vector<std::string> energy_variants(const std::vector<OutputInfo>& outputs);
/// Without the second name of those that metatomic lists under two, in the order of the alphabet.
std::vector<OutputInfo> distinct_outputs(const std::vector<OutputInfo>& outputs);

}  // namespace mtt
