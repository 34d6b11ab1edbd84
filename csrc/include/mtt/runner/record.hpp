// What a model computed in one place, in a file, to be compared with what it computes in another: other machine, other
// libtorch, other device. For models that bring no golden pack, and for those that do.
#pragma once

#include <string>
#include <vector>

#include "mtt/model/model.hpp"

namespace mtt {

struct Record {
    /// Where the numbers come from: "torch 2.13.0 on x86_64, cpu, float64", for messages.
    std::string origin;
    std::string file_sha256;
    std::string dtype;
    std::string length_unit;
    std::string energy_unit;
    std::string output;
    std::vector<System> systems;
    std::vector<Properties> references;
};

/// @param records one for each energy of the model, of the same systems
/// @param versions "torch 2.13.0, metatomic-torch 0.1.19" and the like, by name
std::string record_text(const std::vector<Record>& records, const std::vector<std::pair<std::string, std::string>>& versions);

/// @throws std::runtime_error saying what is wrong; safe on hostile input
std::vector<Record> parse_record(const std::string& text);

/// Name and processor of this machine, in a few words.
std::string machine();

}  // namespace mtt
