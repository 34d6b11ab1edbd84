// Which checks run: by level, engine, --only and --skip.
#pragma once

#include <string>
#include <vector>

#include "mtt/runner/check.hpp"
#include "mtt/verify.hpp"

namespace mtt {

/// The part of one check that a run asks for.
struct Selected {
    const Check* check;
    /// Names of results that are wanted, in the order of the check; none: it does not run.
    std::vector<std::string> wanted;
    /// Results that the caller waived, with the reason as message.
    std::vector<Result> waived;
    /// The caller named this very check, and hears about it if the model has no target that it is about.
    bool named = false;
};

/// Ids of the uses that the exit code judges.
/// @throws std::invalid_argument for words that name none
std::vector<std::string> judged_uses(const VerifyOptions& options);
/// All checks that a run asks for or waives, in order.
/// @throws std::invalid_argument for names that do not exist
std::vector<Selected> select_checks(const VerifyOptions& options);

/// "A=reason,B" as `--skip` takes it; commas are allowed in reasons.
std::vector<Waiver> parse_waivers(const std::string& text);
/// @throws std::invalid_argument
Level parse_level(const std::string& text);

}  // namespace mtt
