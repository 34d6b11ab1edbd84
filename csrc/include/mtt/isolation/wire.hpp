// Parts of a report as JSON.
#pragma once

#include <nlohmann/json.hpp>

#include "mtt/report.hpp"

namespace mtt {

nlohmann::json to_json(const Result& result);
nlohmann::json to_json(const ReportModel& model);
nlohmann::json to_json(const Isolation& isolation);

/// JSON knows no NaN and no infinity: these become null.
nlohmann::json json_number(double value);

/// One line or a whole document. Error texts may hold bytes that are no UTF-8; they must not cost the report.
std::string dump(const nlohmann::json& json, int indent = -1);

}  // namespace mtt
