// What each MD engine asks of a model. To add an engine, add a profile to engines/profiles.cpp, and its uses to
// engines/uses.cpp: `--for`, the catalogue and Python know them then, ENGINE makes its calls, and the report judges it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "mtt/model/model.hpp"
#include "mtt/model/torch_model.hpp"

namespace mtt {

struct EngineProfile {
    /// Of the uses that make its calls, see uses.hpp.
    const char* name;
    const char* title;
    /// Units of length and energy that its users choose from.
    std::vector<std::pair<std::string, std::string>> units;
    Select select = Select::none;
    bool leaf_in_model_dtype = true;
    bool strain = true;
    /// Asks for the kind of samples that the model declares and adds the rows up, instead of one row per system.
    bool as_declared = false;
    bool sorted_pairs = true;
    /// Several systems in one call.
    bool batch = false;
    /// A system without atoms comes first, to learn the shape of the output.
    bool starts_empty = false;
    /// Coordinates pass through float32 in the engine itself.
    bool single_precision = false;
    /// Cuts the box into domains with ghost atoms.
    bool decomposes = false;
    /// Calls the model without any atoms, or with none selected.
    bool calls_without_atoms = false;
    /// Asks for the uncertainty and for non-conservative outputs where a model has them.
    bool optional_outputs = false;
    Executor executor = {};
    /// Runs at the level `quick`. The calls of the others are much like those of these.
    bool quick = false;
};

/// In the order of reports.
const std::vector<EngineProfile>& engine_profiles();

}  // namespace mtt
