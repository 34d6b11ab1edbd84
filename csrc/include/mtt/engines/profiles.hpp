// What each MD engine asks of an energy. To add an engine, add a profile to engines/profiles.cpp, and its uses to
// engines/uses.cpp: `--for`, the catalogue and Python know them then, ENGINE makes its calls, and the report judges it.
// Where each line comes from is in docs/reference/engine-calls.md.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "mtt/model/model.hpp"
#include "mtt/model/torch_model.hpp"

namespace mtt {

/// The systems that an engine puts into one call.
enum class Batch {
    one,
    replicas,  ///< the same atoms at other places
    any        ///< any, of one periodicity
};

/// Whether positions and cell hang on a strain, so that the virial can be had.
enum class Strain { always, sometimes, never };

struct EngineProfile {
    /// Of the uses that make its calls, see uses.hpp.
    const char* name;
    const char* title;
    /// Units of length and energy that its users choose from.
    std::vector<std::pair<std::string, std::string>> units;
    Select select = Select::none;
    bool leaf_in_model_dtype = true;
    Strain strain = Strain::always;
    /// Asks for the kind of samples that the model declares and adds the rows up, instead of one row per system.
    bool as_declared = false;
    /// Asks for energies of atoms where its user wants them.
    bool atomic_energies = false;
    bool sorted_pairs = true;
    Batch batch = Batch::one;
    /// Coordinates pass through float32 in the engine itself.
    bool single_precision = false;
    /// Has cells that are periodic along some of their vectors only.
    bool slabs = true;
    /// Asks for the uncertainty of each atom in every step if the model has one.
    bool uncertainty = false;
    /// Names under which it asks for non-conservative outputs if its user wants them; null: it can not use them.
    const char* direct_forces = nullptr;
    const char* direct_stress = nullptr;
    /// Inputs that it has for models that request them.
    std::vector<std::string> inputs = {};
    /// Runs models that request others as well, without giving them.
    bool goes_without = false;
    /// Can read an energy by the name of a variant.
    bool variants = true;
    Executor executor = {};
};

/// In the order of reports.
const std::vector<EngineProfile>& engine_profiles();
/// The one of that name, which must be there.
const EngineProfile& engine_profile(const std::string& name);

/// Inputs that the model requests and the engine has not.
std::vector<std::string> missing_inputs(const EngineProfile& profile, const Capabilities& capabilities);

/// The output that engines take for `base` ("energy_uncertainty") beside an energy, of the same variant; empty if there
/// is none.
std::string output_beside(const Capabilities& capabilities, const std::string& base);

/// The uncertainty of each atom that engines ask for beside an energy; null if there is none.
const OutputInfo* uncertainty_of_atoms(const Capabilities& capabilities);

}  // namespace mtt
