// One thing that a model predicts, as data. Checks say what kind of target they are about, and run for each that fits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace mtt {

/// What the numbers of a row are that come from one block of an output.
struct BlockLayout {
    /// Values of the block's key, in the order of the names of keys.
    std::vector<int32_t> key;
    /// Names and labels of the axes between samples and properties.
    std::vector<std::string> components;
    std::vector<std::vector<int32_t>> labels;
    uint64_t properties = 0;

    /// In each row.
    [[nodiscard]] uint64_t numbers() const;
    friend bool operator==(const BlockLayout&, const BlockLayout&) = default;
};

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
    /// Divided by the volume of the cell: systems without one have no value.
    bool per_volume = false;
    /// The golden pack says what the numbers are, or an engine knows them; otherwise a call shows it.
    bool described = true;
    /// Of its blocks, if it is described.
    std::vector<std::string> key_names = {"_"};
    std::vector<BlockLayout> blocks = {{{0}, {}, {}, 1}};
    /// By positions and strain: the target is an energy, and these are minus its forces and virial.
    bool gradients = true;

    /// For each system or atom, if it is described.
    [[nodiscard]] size_t numbers() const;
    /// How far values may be off; no sum of what atoms add.
    [[nodiscard]] bool is_uncertainty() const;
    /// What each member of an ensemble predicts.
    [[nodiscard]] bool is_ensemble() const;
    /// Of the output with what members of an ensemble predict of this target.
    [[nodiscard]] std::string ensemble_name() const;
};

}  // namespace mtt
