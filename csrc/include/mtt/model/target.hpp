// One thing that a model predicts, as data. Checks say what kind of target they are about, and run for each that fits.
#pragma once

#include <cstddef>
#include <string>

namespace mtt {

struct Target {
    /// The output that asks for it.
    std::string name = "energy";
    std::string quantity = "energy";
    /// In which it was trained; empty if nobody says.
    std::string unit;
    /// A value belongs to a system; otherwise to an atom.
    bool per_system = true;
    /// The value of a system is the sum of what each of its atoms adds; engines sum over MPI ranks.
    bool additive = true;
    /// The golden pack says what the numbers are, or an engine knows them; otherwise a call shows it.
    bool described = true;
    /// Numbers for each system or atom, if it is described.
    size_t properties = 1;
    /// By positions and strain: the target is an energy, and these are minus its forces and virial.
    bool gradients = true;
};

}  // namespace mtt
