// From a file to a report.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "mtt/report.hpp"

namespace mtt {

struct VerifyOptions {
    std::string path;
    std::optional<std::string> extensions;
    /// Families to run; empty: all.
    std::vector<std::string> only;
    std::vector<std::string> skip;
    /// 0: what libtorch chooses.
    int threads = 0;
    /// Called before each check with its family and name.
    std::function<void(const std::string&, const std::string&)> progress;
};

/// Runs the checks. Nothing that a model does makes this throw; an exception inside a check is a failed result.
/// @throws std::invalid_argument for an unknown family, std::runtime_error if the file cannot be opened
Report verify(const VerifyOptions& options);

}  // namespace mtt
