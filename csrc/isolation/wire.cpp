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

}  // namespace

json json_number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

std::string dump(const json& value, int indent) {
    // In ASCII: what is no printable text is escaped, and a terminal that shows the document obeys nothing.
    return value.dump(indent, ' ', true, json::error_handler_t::replace) + "\n";
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
    if (!result.details.empty()) {
        out["details"] = result.details;
    }
    if (!result.failing.empty()) {
        out["failing"] = result.failing;
    }
    if (!result.unless.empty()) {
        out["unless"] = result.unless;
    }
    if (!result.waived_because.empty()) {
        out["waived_because"] = result.waived_because;
    }
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
        {"receptive_field", optional_number(model.receptive_field)}, {"potential", model.potential},
        {"targets", model.targets},
    };
}

json to_json(const Isolation& isolation) {
    return {
        {"process", isolation.process}, {"processes", isolation.processes}, {"time_limit_s", json_number(isolation.time_limit)},
        {"memory_limit_bytes", isolation.memory_limit}, {"network", isolation.network},
        {"filesystem", isolation.filesystem}, {"notes", isolation.notes},
    };
}

}  // namespace mtt
