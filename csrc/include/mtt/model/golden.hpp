// The golden pack: check systems and what the eager float64 model said about them, stored inside the .pt file.
#pragma once

#include <string>
#include <vector>

#include "mtt/model/model.hpp"
#include "mtt/model/target.hpp"

namespace mtt {

/// What the eager model gave for one target and one system: rows of properties.
struct GoldenValues {
    /// [atom * properties + property]
    std::vector<double> atoms;
    /// [property]; empty for a target per atom.
    std::vector<double> total;
};

struct GoldenTarget {
    Target target;
    /// One entry per system.
    std::vector<GoldenValues> values;
    /// The same with forces and virial, for a target with gradients.
    std::vector<Properties> references;
};

struct GoldenPack {
    /// 1 has one energy, 2 any number of targets.
    int format = 2;
    std::string length_unit;
    /// Its architecture turns with the system exactly.
    bool turns_exactly = false;
    std::vector<System> systems;
    std::vector<GoldenTarget> targets;
};

/// Record of the archive that holds the pack.
inline constexpr const char* golden_record = "extra/mtt/golden.safetensors";
inline constexpr const char* provenance_record = "extra/mtt/provenance.json";

/// Parses a safetensors buffer with the layout described in docs/reference/golden-pack.md.
/// @throws std::runtime_error naming the tensor or field that is wrong; safe on hostile input
GoldenPack parse_golden(const std::string& bytes);

}  // namespace mtt
