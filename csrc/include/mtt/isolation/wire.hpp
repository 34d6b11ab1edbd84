// Parts of a report as JSON: for the report itself, and for what the worker tells the supervisor.
#pragma once

#include <nlohmann/json.hpp>

#include "mtt/report.hpp"

namespace mtt {

nlohmann::json to_json(const Result& result);
nlohmann::json to_json(const ReportModel& model);
nlohmann::json to_json(const Isolation& isolation);

/// @throws std::exception for anything that `to_json` does not write
Result result_from_json(const nlohmann::json& json);
ReportModel model_from_json(const nlohmann::json& json);

/// JSON knows no NaN and no infinity: these become null.
nlohmann::json json_number(double value);

/// One line or a whole document. Error texts may hold bytes that are no UTF-8; they must not cost the report.
std::string dump(const nlohmann::json& json, int indent = -1);

}  // namespace mtt
