// From results to findings, one for each cause, and from these to a verdict for each use.
#pragma once

#include "mtt/report.hpp"

namespace mtt {

/// Notes circumstances in results that share a cause with one that knows them.
void spread_circumstances(Report& report);
/// Groups the failures by cause, worst first.
std::vector<Finding> findings_of(const Report& report);
/// What a failure means, in a few words.
std::string brief_of(const ReportEntry& entry);
/// Families and FAMILY/name that the tables of causes know, for tests.
std::vector<std::string> names_in_tables();

/// Notes expected failures, and makes findings and verdicts.
void judge(Report& report);

}  // namespace mtt
