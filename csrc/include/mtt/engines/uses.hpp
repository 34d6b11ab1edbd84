// What people use a model for: an engine, and how it runs. The report gives a verdict for each of them.
#pragma once

#include <string>
#include <vector>

namespace mtt {

struct Use {
    /// As `--for` takes it: "ase", "lammps:ranks=several".
    const char* id;
    /// Name of the profile whose calls ENGINE makes for it.
    const char* engine;
    const char* title;
    /// Runs molecular dynamics with forces from an energy. The exit code judges these unless `--for` names others.
    bool runs_md = true;
    /// Cuts the box into domains with ghost atoms.
    bool decomposes = false;
    /// Its users can ask for other outputs than the energy.
    bool other_outputs = false;
};

/// In the order of the table of verdicts.
const std::vector<Use>& uses();
/// @throws std::invalid_argument if there is no such use
const Use& use_of(const std::string& id);

/// Ids of the uses that a word stands for: an id, an engine with all numbers of its ranks, "lammps:ranks=4" as one of several, or
/// "all".
/// @throws std::invalid_argument if it stands for none
std::vector<std::string> uses_named(const std::string& word);
/// The same for several words, in the order of uses() and each once.
std::vector<std::string> uses_named(const std::vector<std::string>& words);

/// Ids of the uses with that property.
std::vector<std::string> uses_with(bool Use::*property);

}  // namespace mtt
