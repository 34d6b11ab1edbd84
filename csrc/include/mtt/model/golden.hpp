// The golden pack: check systems and what the eager float64 model said about them, stored inside the .pt file.
#pragma once

#include <string>
#include <vector>

#include "mtt/model/model.hpp"

namespace mtt {

struct GoldenPack {
    std::string length_unit;
    std::string energy_unit;
    std::string output;
    std::vector<System> systems;
    std::vector<Properties> references;
};

/// Record of the archive that holds the pack.
inline constexpr const char* golden_record = "extra/mtt/golden.safetensors";
inline constexpr const char* provenance_record = "extra/mtt/provenance.json";

/// Parses a safetensors buffer with the layout described in docs/pipeline/export.md.
/// @throws std::runtime_error naming the tensor or field that is wrong; safe on hostile input
GoldenPack parse_golden(const std::string& bytes);

}  // namespace mtt
