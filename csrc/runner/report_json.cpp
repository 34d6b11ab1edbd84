#include <set>

#include "mtt/isolation/wire.hpp"

namespace mtt {

namespace {

using nlohmann::json;

json entry_json(const ReportEntry& entry) {
    json out = to_json(entry.result);
    out["family"] = entry.family;
    out["description"] = entry.description;
    out["tolerance_source"] = entry.tolerance_source;
    return out;
}

json file_json(const Report& report) {
    json extensions = json::array();
    for (const auto& extension : report.extensions) {
        const bool present = !extension.sha256.empty();
        extensions.push_back(
            {{"name", extension.name}, {"sha256", present ? json(extension.sha256) : json(nullptr)}}
        );
    }
    return {
        {"path", report.path}, {"sha256", report.sha256}, {"bytes", report.bytes}, {"extensions", extensions},
    };
}

json coverage_json(const Report& report) {
    size_t run = 0;
    std::set<std::string> systems;
    for (const auto& entry : report.entries) {
        const auto status = entry.result.status;
        run += status == Status::pass || status == Status::fail ? 1 : 0;
        systems.insert(entry.result.systems.begin(), entry.result.systems.end());
    }
    return {
        {"checks_run", run}, {"checks_total", report.checks_total}, {"systems", systems}, {"calls", report.calls},
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
    return any;
}

std::string to_json(const Report& report) {
    json checks = json::array();
    for (const auto& entry : report.entries) {
        checks.push_back(entry_json(entry));
    }
    json waivers = json::array();
    for (const auto& waiver : report.waivers) {
        waivers.push_back({{"check", waiver.check}, {"reason", waiver.reason}});
    }
    const json out = {
        {"schema", 2},
        {"program", {{"name", "mtt-verify"}, {"version", report.program_version}, {"torch", report.torch},
                     {"metatensor_torch", report.metatensor_torch}, {"metatomic_torch", report.metatomic_torch}}},
        {"file", file_json(report)},
        {"model", report.model.has_value() ? to_json(*report.model) : json(nullptr)},
        {"golden_pack", report.golden_pack},
        {"level", name_of(report.level)},
        {"engine", report.engine},
        {"only", report.only},
        {"waivers", waivers},
        {"allowed_operators", report.allowed_operators},
        {"seed", report.seed},
        {"isolation", to_json(report.isolation)},
        {"checks", checks},
        {"coverage", coverage_json(report)},
        {"peak_memory_bytes", report.peak_memory},
        {"verdict", report.passed() ? "pass" : "fail"},
        {"seconds", json_number(report.seconds)},
    };
    return dump(out, 2);
}

}  // namespace mtt
