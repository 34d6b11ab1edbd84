#include <nlohmann/json.hpp>

#include <cmath>

#include "mtt/report.hpp"

namespace mtt {

namespace {

using nlohmann::json;

/// JSON knows no NaN and no infinity: these become null.
json number(const std::optional<double>& value) {
    return value.has_value() && std::isfinite(*value) ? json(*value) : json(nullptr);
}

const char* text(Status status) {
    return status == Status::pass ? "pass" : (status == Status::fail ? "fail" : "skip");
}

json entry_json(const ReportEntry& entry) {
    const auto& result = entry.result;
    std::optional<double> margin;
    if (result.measured.has_value() && result.tolerance.has_value() && *result.measured > 0) {
        margin = *result.tolerance / *result.measured;
    }
    return {
        {"family", entry.family}, {"name", result.name}, {"status", text(result.status)},
        {"measured", number(result.measured)}, {"tolerance", number(result.tolerance)}, {"unit", result.unit},
        {"margin", number(margin)}, {"message", result.message}, {"systems", result.systems},
        {"seconds", result.seconds},
    };
}

json model_json(const Capabilities& model) {
    json outputs = json::array();
    for (const auto& output : model.outputs) {
        outputs.push_back({{"name", output.name}, {"unit", output.unit}, {"sample_kind", output.sample_kind}});
    }
    return {
        {"name", model.name}, {"dtype", model.dtype}, {"interaction_range", number(model.interaction_range)},
        {"length_unit", model.length_unit}, {"energy_unit", model.energy_unit},
        {"atomic_types", model.atomic_types}, {"outputs", outputs},
    };
}

}  // namespace

bool Report::passed() const {
    bool any = false;
    for (const auto& entry : entries) {
        if (entry.result.status == Status::fail) {
            return false;
        }
        any = any || entry.result.status == Status::pass;
    }
    return any;  // a report in which everything was skipped proves nothing
}

std::string to_json(const Report& report) {
    json checks = json::array();
    for (const auto& entry : report.entries) {
        checks.push_back(entry_json(entry));
    }
    const json out = {
        {"schema", 1},
        {"program", {{"name", "mtt-verify"}, {"version", report.program_version}, {"torch", report.torch},
                     {"metatensor_torch", report.metatensor_torch}, {"metatomic_torch", report.metatomic_torch}}},
        {"file", {{"path", report.path}, {"sha256", report.sha256}, {"bytes", report.bytes}}},
        {"model", report.model.has_value() ? model_json(*report.model) : json(nullptr)},
        {"golden_pack", report.golden_pack},
        {"checks", checks},
        {"verdict", report.passed() ? "pass" : "fail"},
        {"seconds", report.seconds},
    };
    // Error texts may hold bytes that are no UTF-8; they must not cost the report.
    return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace mtt
