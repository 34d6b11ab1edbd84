// What the checks know of a model: its declarations, and calls that go the way an MD engine makes them.
// TorchScript files implement this in torch_model.cpp; the C++ tests implement it with plain functions.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "mtt/capabilities.hpp"
#include "mtt/model/target.hpp"
#include "mtt/physics/neighbors.hpp"
#include "mtt/physics/system.hpp"

namespace mtt {

/// A model or file that an engine would refuse, in words for the person who has to fix it.
class EngineError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// A call that the model did not answer, and the systems that it was about.
class CallFailed : public std::runtime_error {
public:
    CallFailed(const std::string& what, const std::vector<System>& systems): std::runtime_error(what) {
        for (const auto& system : systems) {
            systems_.push_back(system.name);
            kinds_.push_back(kind_of(system));
        }
    }
    [[nodiscard]] const std::vector<std::string>& systems() const { return systems_; }
    [[nodiscard]] const std::vector<std::string>& kinds() const { return kinds_; }

private:
    std::vector<std::string> systems_;
    std::vector<std::string> kinds_;
};

enum class Kind { system, atom };
enum class Select { all, none, listed };

/// One call, with the calls of LAMMPS as defaults: one system, all atoms selected explicitly, float64 leaves.
struct Call {
    std::vector<System> systems;
    /// [system][request]; empty: built from the systems.
    std::vector<std::vector<PairList>> pairs;
    Select select = Select::all;
    /// (system, atom) rows when select is `listed`.
    std::vector<std::pair<int32_t, int32_t>> selected;
    Kind kind = Kind::system;
    bool gradients = true;
    bool strain = true;
    bool check_consistency = false;
    /// Leaves (positions, strain) have the dtype of the model (ASE, i-PI, torch-sim) instead of float64 (LAMMPS).
    bool leaf_in_model_dtype = false;
    /// Inputs in memory that is not contiguous.
    bool strided = false;
    /// "float32" or "float64": dtype of the inputs; empty: that of the model, as it must be.
    std::string dtype;
    /// Outputs that the engine asks for beside the energy.
    std::vector<OutputInfo> extra;
    /// Units of the engine; empty: those of the model.
    std::string length_unit;
    std::string energy_unit;
    /// Inputs that the model requests and this engine does not give.
    std::vector<std::string> withheld;
    /// [system][atom] in (eV/u)^(1/2), as ASE has them; empty: all atoms at rest.
    std::vector<std::vector<Vec3>> velocities;
};

/// Numbers of an output beside the energy.
struct Block {
    std::vector<double> values;
    std::vector<int64_t> shape;
    std::vector<std::string> sample_names;
    std::vector<std::vector<int32_t>> samples;
};

struct Answer {
    /// Of an energy, the first block, which is all that engines read. Of another output all blocks, side by side in each
    /// row; 0 where a block has no such row.
    std::vector<double> values;
    std::vector<int64_t> shape;
    /// Of the blocks in `values`.
    std::vector<BlockLayout> layout;
    /// "float32", "float64" or another name of libtorch's.
    std::string dtype;
    size_t blocks = 0;
    std::vector<std::string> sample_names;
    std::vector<std::vector<int32_t>> samples;
    std::vector<std::string> property_names;
    std::vector<std::string> explicit_gradients;
    std::vector<std::string> key_names;
    /// One entry per system; empty when no gradients were asked. forces = -dE/dx, virial = -dE/dstrain.
    std::vector<std::vector<Vec3>> forces;
    std::vector<Mat3> virials;
    /// Inputs (for example "positions of system 0") that the call changed.
    std::vector<std::string> changed_inputs;
    std::map<std::string, Block> extra;
    /// The call drew from libtorch's random number generator, or set its seed.
    bool random_numbers_used = false;
    /// Flags of the floating-point unit that the call raised: empty, or "division by zero, overflow".
    std::string float_exceptions;
};

class Model {
public:
    virtual ~Model() = default;
    [[nodiscard]] virtual const Capabilities& capabilities() const = 0;
    [[nodiscard]] virtual const std::vector<NeighborRequest>& requests() const = 0;
    /// @throws std::exception whatever the model throws
    virtual Answer evaluate(const Call& call) = 0;
    /// The output that calls ask for from here on; capabilities() describes it as the energy.
    virtual void ask_for(const std::string& output) { (void)output; }
    /// Facts about the loaded code that only the implementation knows; empty means nothing is wrong.
    virtual std::vector<std::string> modules_in_training_mode() { return {}; }
    virtual std::vector<std::string> warnings() { return {}; }
    /// A float32 model with all its numbers widened to float64, which shows errors that rounding hides. Null if it is
    /// no float32 model or its code does not run in float64.
    virtual std::unique_ptr<Model> widened() { return nullptr; }
    /// In a widened model: changes each number, from what the file holds, by up to half a unit of float32 at random.
    virtual void disturb(uint64_t seed) { (void)seed; }
    /// Module::to once more, as engines that switch devices do.
    virtual void move_again() {}
    /// A fresh instance on another device ("cuda"); null if the implementation has none.
    virtual std::unique_ptr<Model> on_device(const std::string& device) { (void)device; return nullptr; }
    /// Attributes with tensors that Module::to leaves on the CPU, in code that does not move tensors by itself.
    virtual std::vector<std::string> left_on_cpu() { return {}; }
};

/// Energy, per-atom energies, forces and virial of one system.
struct Properties {
    double energy = 0.0;
    std::vector<double> energies;
    std::vector<Vec3> forces;
    Mat3 virial{};
};

/// Properties of a supercell (see replicated()) divided among its copies.
Properties per_copy(const Properties& super, size_t copies);
/// What LAMMPS gets for one system: the energy as one number, forces and virial by backward.
/// @throws EngineError if the answer does not hold exactly one row
Properties evaluate(Model& model, const System& system, bool strain = true);
/// The same from an answer to a call of one system with gradients and strain.
Properties properties_of(const Answer& answer);
/// Energy of one system without gradients.
double energy(Model& model, const System& system);
/// Per-atom energies in the order of the atoms, from whatever row order the model uses.
/// @throws EngineError if a row is missing or comes twice
std::vector<double> atomic_energies(Model& model, const System& system);
/// Reads per-atom rows of `answer` for system `index` with `n` atoms; rows may come in any order.
/// @param columns numbers per row
std::vector<double> rows_by_atom(const Answer& answer, int32_t index, size_t n, size_t columns = 1);
/// The only row of a "system" answer, as LAMMPS reads it (reshape to one number).
double single_row(const Answer& answer);
/// Largest absolute component.
double largest(const std::vector<Vec3>& vectors);
double largest(const Mat3& matrix);

}  // namespace mtt
