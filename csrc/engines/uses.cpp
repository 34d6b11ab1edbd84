#include "mtt/engines/uses.hpp"

#include <algorithm>
#include <stdexcept>

#include "mtt/joined.hpp"

namespace mtt {

namespace {

/// "lammps:ranks=4" is "lammps:ranks=several"; other words are what they are.
std::string canonical(const std::string& word) {
    const std::string key = ":ranks=";
    const auto at = word.find(key);
    if (at == std::string::npos) {
        return word;
    }
    const std::string count = word.substr(at + key.size());
    const bool digits = !count.empty() && count.find_first_not_of("0123456789") == std::string::npos;
    return digits && count != "1" && count[0] != '0' ? word.substr(0, at) + key + "several" : word;
}

std::string all_words() {
    std::vector<std::string> out;
    for (const auto& use : uses()) {
        out.emplace_back(use.id);
    }
    return joined(out);
}

}  // namespace

const std::vector<Use>& uses() {
    static const std::vector<Use> all = {
        {.id = "ase", .engine = "ase", .title = "ASE", .other_outputs = true},
        {.id = "ipi", .engine = "ipi", .title = "i-PI", .other_outputs = true},
        {.id = "torch-sim", .engine = "torch-sim", .title = "torch-sim", .other_outputs = true},
        {.id = "lammps:ranks=1", .engine = "lammps", .title = "LAMMPS on one rank"},
        {.id = "lammps:ranks=several", .engine = "lammps", .title = "LAMMPS on several ranks", .decomposes = true},
        {.id = "gromacs:ranks=1", .engine = "gromacs", .title = "GROMACS on one rank"},
        {.id = "gromacs:ranks=several", .engine = "gromacs", .title = "GROMACS on several ranks", .decomposes = true},
        {.id = "eon", .engine = "eon", .title = "eOn"},
        {.id = "plumed", .engine = "plumed", .title = "PLUMED", .runs_md = false, .other_outputs = true},
        {.id = "lammps:fix", .engine = "lammps:fix", .title = "LAMMPS fix metatomic", .runs_md = false,
         .other_outputs = true},
        {.id = "lammps:compute", .engine = "lammps:compute", .title = "LAMMPS compute metatomic", .runs_md = false,
         .other_outputs = true},
    };
    return all;
}

const Use& use_of(const std::string& id) {
    for (const auto& use : uses()) {
        if (id == use.id) {
            return use;
        }
    }
    throw std::invalid_argument("there is no engine '" + id + "'; there are " + all_words());
}

std::vector<std::string> uses_named(const std::string& word) {
    std::vector<std::string> out;
    const std::string wanted = canonical(word);
    for (const auto& use : uses()) {
        const std::string id = use.id;
        if (wanted == "all" || wanted == id || wanted == use.engine) {
            out.push_back(id);
        }
    }
    if (out.empty()) {
        throw std::invalid_argument("there is no engine '" + word + "'; there are " + all_words());
    }
    return out;
}

std::vector<std::string> uses_named(const std::vector<std::string>& words) {
    std::vector<std::string> chosen;
    for (const auto& word : words) {
        const auto some = uses_named(word);
        chosen.insert(chosen.end(), some.begin(), some.end());
    }
    std::vector<std::string> out;
    for (const auto& use : uses()) {
        if (std::find(chosen.begin(), chosen.end(), use.id) != chosen.end()) {
            out.emplace_back(use.id);
        }
    }
    return out;
}

std::vector<std::string> uses_with(bool Use::*property) {
    std::vector<std::string> out;
    for (const auto& use : uses()) {
        if (use.*property) {
            out.emplace_back(use.id);
        }
    }
    return out;
}

}  // namespace mtt
