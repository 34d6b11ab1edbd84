#include "mtt/engines/profiles.hpp"

namespace mtt {

const std::vector<EngineProfile>& engine_profiles() {
    static const std::vector<EngineProfile> all = {
        {.name = "lammps", .title = "LAMMPS", .units = {{"A", "eV"}, {"A", "kcal/mol"}, {"Bohr", "Hartree"}},
         .select = Select::all, .leaf_in_model_dtype = false, .sorted_pairs = false, .decomposes = true,
         .calls_without_atoms = true, .optional_outputs = true, .quick = true},
        {.name = "ase", .title = "ASE", .units = {{"angstrom", "ev"}}, .quick = true},
        {.name = "ipi", .title = "i-PI", .units = {{"Angstrom", "eV"}}, .batch = true},
        {.name = "torch-sim", .title = "torch-sim", .units = {{"angstrom", "eV"}}, .batch = true},
        {.name = "gromacs", .title = "GROMACS", .units = {{"nm", "kJ/mol"}}, .as_declared = true,
         .sorted_pairs = false, .single_precision = true, .decomposes = true, .calls_without_atoms = true},
        {.name = "plumed", .title = "PLUMED", .units = {{"nm", "kJ/mol"}, {"A", "kcal/mol"}}, .as_declared = true,
         .starts_empty = true, .calls_without_atoms = true},
        {.name = "eon", .title = "eOn", .units = {{"angstrom", "eV"}}, .strain = false, .as_declared = true,
         .executor = {.profiling = false, .optimize = true, .deterministic = true}},
    };
    return all;
}

}  // namespace mtt
