// From results to findings, one for each cause, and from these to a verdict for each use.
#pragma once

#include "mtt/report.hpp"

namespace mtt {

/// Groups the failures by cause, worst first.
std::vector<Finding> findings_of(const Report& report);

/// Notes expected failures, and makes findings and verdicts.
void judge(Report& report);

}  // namespace mtt
