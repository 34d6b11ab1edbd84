// What a model says about itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mtt {

struct OutputInfo {
    std::string name;
    std::string unit;
    std::string sample_kind;
    std::string description;
};

/// Of a model that declares none: what the caller says its numbers are in. Empty if nobody says.
struct AssumedUnits {
    std::string length;
    std::string energy;
};

/// What the model says about itself (metatomic's ModelCapabilities), plus which output is "the energy": the target that
/// is being checked, which engines pick by themselves where nobody says another.
struct Capabilities {
    std::string name;
    std::vector<int64_t> atomic_types;
    double interaction_range = -1.0;
    std::string length_unit;
    std::string dtype;
    std::vector<std::string> devices;
    std::vector<OutputInfo> outputs;
    /// What the model wants beside types, positions, cell and neighbor lists, by metatomic's current names.
    std::vector<OutputInfo> requested_inputs;
    /// In femtoseconds, of a model that predicts where atoms go; LAMMPS' `fix metatomic` reads it.
    std::optional<double> timestep;
    /// Empty for a model without an energy of which no other output is being checked.
    std::string energy_output;
    std::string energy_unit;
    std::string energy_kind;
    /// 1 angstrom and 1 eV in the units of the model; 1 where a unit is missing or unknown.
    double angstrom = 1.0;
    double electronvolt = 1.0;
    /// The file lacks the unit, and the caller said what it is.
    bool length_unit_assumed = false;
    bool energy_unit_assumed = false;

    [[nodiscard]] double epsilon() const { return dtype == "float32" ? 0x1p-23 : 0x1p-52; }
    /// Difference between a number of this size and the next one that the dtype can hold.
    [[nodiscard]] double ulp(double value) const;
    [[nodiscard]] bool per_atom() const { return energy_kind == "atom"; }
};

}  // namespace mtt
