// What the supervisor tells a worker, and how a worker marks its answers.
#pragma once

#include <string>
#include <vector>

#include "mtt/verify.hpp"

namespace mtt {

struct Orders {
    VerifyOptions options;
    /// Position in `select_checks` of the first check to run.
    size_t first = 0;
    uint64_t cpu_seconds = 0;
    std::vector<std::string> without;
    /// Starts every line of an answer. A model that writes into all descriptors it finds does not know it.
    std::string token;
};

std::string to_text(const Orders& orders);
Orders orders_from_text(const std::string& text);

}  // namespace mtt
