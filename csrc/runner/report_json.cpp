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
    out["matters"] = entry.uses;
    if (entry.result.status == Status::fail || !entry.expected_for.empty()) {
        out["severity"] = name_of(entry.severity);
    }
    if (!entry.expected_for.empty()) {
        out["expected_for"] = entry.expected_for;
    }
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

json verdicts_json(const Report& report) {
    json out = json::array();
    for (const auto& verdict : report.verdicts) {
        out.push_back({
            {"use", verdict.use}, {"engine", verdict.engine}, {"title", verdict.title},
            {"answer", name_of(verdict.answer)}, {"reason", verdict.reason}, {"judged", verdict.judged},
            {"findings", verdict.findings},
        });
    }
    return out;
}

json findings_json(const Report& report) {
    json out = json::array();
    for (const auto& finding : report.findings) {
        json checks = json::array();
        for (const size_t k : finding.entries) {
            checks.push_back(report.entries[k].family + "/" + report.entries[k].result.name);
        }
        out.push_back({
            {"cause", finding.cause}, {"brief", finding.brief}, {"severity", name_of(finding.severity)},
            {"target", finding.target}, {"uses", finding.uses}, {"unless", finding.unless}, {"systems", finding.systems},
            {"checks", checks}, {"entries", finding.entries}, {"waived", finding.waived}, {"reason", finding.reason},
        });
    }
    return out;
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

std::string to_json(const Report& report) {
    json checks = json::array();
    for (const auto& entry : report.entries) {
        checks.push_back(entry_json(entry));
    }
    json waivers = json::array();
    for (const auto& waiver : report.waivers) {
        waivers.push_back({{"check", waiver.check}, {"reason", waiver.reason}, {"runs", false}});
    }
    for (const auto& item : report.expected) {
        waivers.push_back({
            {"check", item.check}, {"reason", item.reason}, {"runs", true}, {"message", item.message},
            {"system", item.system}, {"engines", item.uses}, {"used", item.used}, {"tried", item.tried},
            {"worst", item.worst.has_value() ? json_number(*item.worst) : json(nullptr)},
        });
    }
    const json out = {
        {"schema", 3},
        {"program", {{"name", "mtt-verify"}, {"version", report.program_version}, {"torch", report.torch},
                     {"metatensor_torch", report.metatensor_torch}, {"metatomic_torch", report.metatomic_torch}}},
        {"file", file_json(report)},
        {"model", report.model.has_value() ? to_json(*report.model) : json(nullptr)},
        {"golden_pack", report.golden_pack},
        {"level", name_of(report.level)},
        {"for", report.judged},
        {"verdicts", verdicts_json(report)},
        {"findings", findings_json(report)},
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
