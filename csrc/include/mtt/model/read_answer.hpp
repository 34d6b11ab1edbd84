// From what a model returns to plain numbers. Only files that see libtorch include this.
#pragma once

#include <torch/script.h>

#include <metatensor/torch.hpp>

#include <vector>

#include "mtt/model/model.hpp"

namespace mtt {

/// All numbers of a tensor, in float64.
std::vector<double> to_doubles(const torch::Tensor& tensor);

/// The first block, which is all that engines read of an energy.
void read_block(const metatensor_torch::TensorMap& map, Answer& answer);
/// The same of an output beside the energy.
Block read_extra(const metatensor_torch::TensorMap& map);
/// The other blocks, beside the first.
void read_other_blocks(const metatensor_torch::TensorMap& map, Answer& answer);

}  // namespace mtt
