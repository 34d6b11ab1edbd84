// What a model is given: one system with its autograd leaves and neighbor lists, in the order of LAMMPS' steps.
// Only files that see libtorch include this.
#pragma once

#include <torch/script.h>

#include <metatomic/torch.hpp>

#include <string>
#include <vector>

#include "mtt/model/model.hpp"

namespace mtt {

/// Copies of everything that the model gets, to see afterwards whether the call changed any of it.
class InputGuard {
public:
    void add(std::string name, const torch::Tensor& tensor) {
        names_.push_back(std::move(name));
        tensors_.push_back(tensor.detach());
        copies_.push_back(tensor.detach().clone());
    }
    [[nodiscard]] std::vector<std::string> changed() const {
        std::vector<std::string> out;
        for (size_t k = 0; k < names_.size(); ++k) {
            if (!torch::equal(tensors_[k], copies_[k])) {
                out.push_back(names_[k]);
            }
        }
        return out;
    }

private:
    std::vector<std::string> names_;
    std::vector<torch::Tensor> tensors_;
    std::vector<torch::Tensor> copies_;
};

/// One system with its autograd leaves.
struct Prepared {
    metatomic_torch::System system;
    torch::Tensor leaf;
    torch::Tensor strain;
};

/// The number type and place that a model wants its inputs in.
struct Placement {
    torch::Dtype dtype;
    torch::Device device;
};

/// System `index` of the call, without neighbor lists.
/// @param length factor from the unit of the call's systems to that of the engine
Prepared prepare(const Call& call, size_t index, double length, const Placement& place, InputGuard& guard);

/// Adds one list per request: the pairs of the call, or those built from its systems.
void add_neighbors(
    const Call& call, size_t index, double length, const Placement& place, const std::vector<NeighborRequest>& requests,
    const std::vector<metatomic_torch::NeighborListOptions>& lists, Prepared& prepared, InputGuard& guard
);

/// Whether add_requested_inputs() knows an input of that name and kind of samples.
bool can_supply(const OutputInfo& input);

/// Adds the inputs that the model requests, as ASE's calculator gives them: charge and spin multiplicity of
/// the system, masses of the elements, velocities and momenta of the call.
/// @throws EngineError for an input that no engine has
void add_requested_inputs(
    const Call& call, size_t index, const Placement& place, const std::vector<OutputInfo>& requested, Prepared& prepared,
    InputGuard& guard
);

}  // namespace mtt
