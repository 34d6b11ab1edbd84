// Which variables of the environment a worker gets: those that a library which computes reads, and no other.
#pragma once

#include <string>
#include <vector>

namespace mtt {

/// Of `variables` ("NAME=VALUE") those that a worker may know, with HOME and TMPDIR that lead nowhere. What a shell
/// holds besides, such as tokens and passwords, is no concern of a model.
std::vector<std::string> worker_environment(const std::vector<std::string>& variables);

}  // namespace mtt
