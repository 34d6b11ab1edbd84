#include "mtt/engines/profiles.hpp"

#include <algorithm>

namespace mtt {

const std::vector<EngineProfile>& engine_profiles() {
    static const std::vector<EngineProfile> all = {
        {.name = "lammps", .title = "LAMMPS", .units = {{"A", "eV"}, {"A", "kcal/mol"}, {"Bohr", "Hartree"}},
         .select = Select::all, .leaf_in_model_dtype = false,
         .strain = Strain::sometimes, .atomic_energies = true, .sorted_pairs = false, .uncertainty = true,
         .direct_forces = "non_conservative_forces", .direct_stress = "non_conservative_stress",
         .inputs = {"mass", "momentum", "velocity"}},
        {.name = "ase", .title = "ASE", .units = {{"angstrom", "ev"}}, .atomic_energies = true,
         .uncertainty = true, .direct_forces = "non_conservative_force", .direct_stress = "non_conservative_stress",
         .inputs = {"mass", "momentum", "velocity", "charge", "spin_multiplicity", "ase::initial_magmoms",
                    "ase::initial_charges", "ase::tags"}},
        {.name = "ipi", .title = "i-PI", .units = {{"Angstrom", "eV"}}, .batch = Batch::replicas,
         .direct_forces = "non_conservative_forces", .direct_stress = "non_conservative_stress", .goes_without = true},
        {.name = "torch-sim", .title = "torch-sim", .units = {{"angstrom", "eV"}},
         .batch = Batch::any, .uncertainty = true, .direct_forces = "non_conservative_forces",
         .direct_stress = "non_conservative_stress"},
        {.name = "gromacs", .title = "GROMACS", .units = {{"nm", "kJ/mol"}}, .as_declared = true, .sorted_pairs = false,
         .single_precision = true, .slabs = false,
         .uncertainty = true, .direct_forces = "non_conservative_forces", .direct_stress = "non_conservative_stress",
         .goes_without = true, .variants = false},
        {.name = "eon", .title = "eOn", .units = {{"angstrom", "eV"}}, .strain = Strain::never,
         .as_declared = true, .direct_forces = "non_conservative_force", .goes_without = true,
         .executor = {.profiling = false, .optimize = true, .deterministic = true}},
    };
    return all;
}

const EngineProfile& engine_profile(const std::string& name) {
    const auto& all = engine_profiles();
    return *std::find_if(all.begin(), all.end(), [&](const auto& profile) { return name == profile.name; });
}

std::vector<std::string> missing_inputs(const EngineProfile& profile, const Capabilities& capabilities) {
    std::vector<std::string> out;
    for (const auto& input : capabilities.requested_inputs) {
        // GROMACS has charges of atoms, from its topology.
        const bool charges = std::string(profile.name) == "gromacs" && input.name == "charge" && input.sample_kind == "atom";
        if (!charges && std::find(profile.inputs.begin(), profile.inputs.end(), input.name) == profile.inputs.end()) {
            out.push_back(input.name);
        }
    }
    return out;
}

std::string output_beside(const Capabilities& capabilities, const std::string& base) {
    const auto slash = capabilities.energy_output.find('/');
    const std::string name = slash == std::string::npos ? base : base + capabilities.energy_output.substr(slash);
    const auto& outputs = capabilities.outputs;
    const bool there = std::any_of(outputs.begin(), outputs.end(), [&](const auto& item) { return item.name == name; });
    return there ? name : "";
}

const OutputInfo* uncertainty_of_atoms(const Capabilities& capabilities) {
    const auto name = output_beside(capabilities, "energy_uncertainty");
    const auto& outputs = capabilities.outputs;
    const auto found = std::find_if(outputs.begin(), outputs.end(), [&](const auto& item) {
        return item.name == name && item.sample_kind == "atom";
    });
    return found == outputs.end() ? nullptr : &*found;
}

}  // namespace mtt
