// From results to findings, one for each cause, and from these to a verdict for each use.
#pragma once

#include "mtt/report.hpp"

namespace mtt {

/// Groups the failures by cause, worst first. Notes circumstances in results that share a cause with one that knows them.
std::vector<Finding> findings_of(Report& report);
/// What a failure means, in a few words.
std::string brief_of(const ReportEntry& entry);

/// Notes expected failures, and makes findings and verdicts.
void judge(Report& report);

}  // namespace mtt
