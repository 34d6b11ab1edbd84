// In words, why the process of a model has ended.
#pragma once

#include <cstdint>
#include <string>

#include "mtt/isolation/process.hpp"

namespace mtt {

/// What follows "the model ...", of a process that has ended.
std::string reason_of_end(const ChildProcess& child, uint64_t memory_limit);

}  // namespace mtt
