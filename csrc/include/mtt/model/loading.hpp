// From the bytes of an archive to a module: what is looked at is what is loaded. Only files that see libtorch include this.
#pragma once

#include <metatomic/torch.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mtt/model/archive.hpp"

namespace mtt {

/// The one gate before every load.
/// @throws EngineError naming what the file calls or holds that is not on the list
void check_operators(const std::shared_ptr<const Archive>& archive, const std::optional<std::string>& extensions,
                     const std::vector<std::string>& allowed);

/// After `check_operators`.
/// @throws EngineError or whatever libtorch throws
metatensor_torch::Module load_module(const Archive& archive, const std::optional<std::string>& extensions);

}  // namespace mtt
