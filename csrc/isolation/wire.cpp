#include "mtt/isolation/wire.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>

namespace mtt {

namespace {

using nlohmann::json;

json optional_number(const std::optional<double>& value) {
    return value.has_value() ? json_number(*value) : json(nullptr);
}

/// The measured value of a failed check may be NaN, which arrives as null; it fails all the same.
std::optional<double> number_or_none(const json& value) {
    return value.is_null() ? std::nullopt : std::optional<double>(value.get<double>());
}

Status parse_status(const std::string& text) {
    for (const auto status : {Status::pass, Status::fail, Status::skip, Status::waived}) {
        if (text == name_of(status)) {
            return status;
        }
    }
    throw std::runtime_error("no status: " + text);
}

}  // namespace

json json_number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

std::string dump(const json& value, int indent) {
    return value.dump(indent, ' ', false, json::error_handler_t::replace) + "\n";
}

json to_json(const Result& result) {
    std::optional<double> margin;
    if (result.measured.has_value() && result.tolerance.has_value() && *result.measured > 0) {
        margin = *result.tolerance / *result.measured;
    }
    json out = {
        {"name", result.name}, {"status", name_of(result.status)}, {"measured", optional_number(result.measured)},
        {"tolerance", optional_number(result.tolerance)}, {"unit", result.unit}, {"margin", optional_number(margin)},
        {"message", result.message}, {"systems", result.systems}, {"seconds", json_number(result.seconds)},
    };
    if (!result.target.empty()) {
        out["target"] = result.target;
    }
    if (!result.series.empty()) {
        out["series"] = json::array();
        for (const auto& point : result.series) {
            out["series"].push_back({{"x", json_number(point.x)}, {"y", json_number(point.y)}, {"label", point.label}});
        }
    }
    return out;
}

Result result_from_json(const json& value) {
    Result out;
    out.name = value.at("name").get<std::string>();
    out.target = value.value("target", "");
    out.status = parse_status(value.at("status").get<std::string>());
    out.measured = number_or_none(value.at("measured"));
    out.tolerance = number_or_none(value.at("tolerance"));
    out.unit = value.at("unit").get<std::string>();
    out.message = value.at("message").get<std::string>();
    out.systems = value.at("systems").get<std::vector<std::string>>();
    out.seconds = number_or_none(value.at("seconds")).value_or(0.0);
    for (const auto& point : value.value("series", json::array())) {
        const auto coordinate = [&point](const char* key) {
            return number_or_none(point.at(key)).value_or(std::numeric_limits<double>::quiet_NaN());
        };
        out.series.push_back({coordinate("x"), coordinate("y"), point.at("label").get<std::string>()});
    }
    return out;
}

json to_json(const ReportModel& model) {
    const auto& declared = model.capabilities;
    json outputs = json::array();
    for (const auto& output : declared.outputs) {
        outputs.push_back({{"name", output.name}, {"unit", output.unit}, {"sample_kind", output.sample_kind}});
    }
    json requests = json::array();
    for (const auto& request : model.requests) {
        requests.push_back(
            {{"cutoff", json_number(request.cutoff)}, {"full_list", request.full_list}, {"strict", request.strict}}
        );
    }
    return {
        {"name", declared.name}, {"dtype", declared.dtype},
        {"interaction_range", json_number(declared.interaction_range)}, {"length_unit", declared.length_unit},
        {"energy_unit", declared.energy_unit}, {"atomic_types", declared.atomic_types}, {"outputs", outputs},
        {"devices", declared.devices}, {"requests", requests},
        {"receptive_field", optional_number(model.receptive_field)},
    };
}

ReportModel model_from_json(const json& value) {
    ReportModel out;
    auto& declared = out.capabilities;
    declared.name = value.at("name").get<std::string>();
    declared.dtype = value.at("dtype").get<std::string>();
    declared.interaction_range =
        number_or_none(value.at("interaction_range")).value_or(std::numeric_limits<double>::infinity());
    declared.length_unit = value.at("length_unit").get<std::string>();
    declared.energy_unit = value.at("energy_unit").get<std::string>();
    declared.atomic_types = value.at("atomic_types").get<std::vector<int64_t>>();
    declared.devices = value.at("devices").get<std::vector<std::string>>();
    for (const auto& item : value.at("outputs")) {
        declared.outputs.push_back({item.at("name").get<std::string>(), item.at("unit").get<std::string>(),
                                    item.at("sample_kind").get<std::string>(), ""});
    }
    for (const auto& item : value.at("requests")) {
        out.requests.push_back({number_or_none(item.at("cutoff")).value_or(std::numeric_limits<double>::infinity()),
                                item.at("full_list").get<bool>(), item.at("strict").get<bool>()});
    }
    out.receptive_field = number_or_none(value.at("receptive_field"));
    return out;
}

json to_json(const Isolation& isolation) {
    return {
        {"process", isolation.process}, {"time_limit_s", json_number(isolation.time_limit)},
        {"memory_limit_bytes", isolation.memory_limit}, {"network", isolation.network},
        {"filesystem", isolation.filesystem}, {"notes", isolation.notes},
    };
}

}  // namespace mtt
