// Failures that are known and accepted: read from a file, and recognized in a report.
#pragma once

#include <string>
#include <vector>

#include "mtt/report.hpp"

namespace mtt {

/// Reads {"waivers": [{"check", "reason", "message", "system", "engine", "worst"}, ...]}.
/// @throws std::runtime_error, std::invalid_argument saying what is wrong
std::vector<ExpectedFailure> read_expected_failures(const std::string& path);
/// @throws std::invalid_argument saying what is wrong
std::vector<ExpectedFailure> parse_expected_failures(const std::string& text);

/// Notes which of the failures are expected, and for whom.
void expect(Report& report);

}  // namespace mtt
