#include "mtt/runner/expected.hpp"

#include <algorithm>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "mtt/engines/uses.hpp"
#include "mtt/runner/files.hpp"

namespace mtt {

namespace {

constexpr size_t longest = size_t(1) << 20;

std::string text_of(const nlohmann::json& item, const char* key, bool required, const std::string& where) {
    const auto value = item.find(key);
    if (value == item.end() || value->is_null()) {
        if (required) {
            throw std::invalid_argument(where + " has no '" + key + "'");
        }
        return "";
    }
    if (!value->is_string() || (required && value->get<std::string>().find_first_not_of(" \n\t") == std::string::npos)) {
        throw std::invalid_argument("'" + std::string(key) + "' of " + where + " is no text, or an empty one");
    }
    return value->get<std::string>();
}

ExpectedFailure expected_of(const nlohmann::json& item, const std::string& where) {
    if (!item.is_object()) {
        throw std::invalid_argument(where + " is no object");
    }
    for (const auto& [key, value] : item.items()) {
        if (key != "check" && key != "reason" && key != "message" && key != "system" && key != "engine" && key != "worst") {
            throw std::invalid_argument(where + " has the unknown key '" + key + "'");
        }
    }
    ExpectedFailure out;
    out.check = text_of(item, "check", true, where);
    out.reason = text_of(item, "reason", true, where);
    out.message = text_of(item, "message", true, where);
    out.system = text_of(item, "system", false, where);
    if (const auto engine = text_of(item, "engine", false, where); !engine.empty()) {
        out.uses = uses_named(engine);
    }
    if (item.contains("worst") && !item["worst"].is_null()) {
        if (!item["worst"].is_number()) {
            throw std::invalid_argument("'worst' of " + where + " is no number");
        }
        out.worst = item["worst"].get<double>();
    }
    if (out.check == "LOAD" || out.check.compare(0, 5, "LOAD/") == 0) {
        throw std::invalid_argument(where + " is about " + out.check + ": what cannot be loaded safely cannot be waived");
    }
    return out;
}

bool matches(const ExpectedFailure& item, const ReportEntry& entry) {
    return item.check == entry.family || item.check == entry.family + "/" + entry.result.name;
}

/// Every system that fails is one of those that were expected to, or the circumstances are.
bool of_these_systems(const ExpectedFailure& item, const Result& result) {
    const auto named = [&](const std::string& text) { return text.find(item.system) != std::string::npos; };
    if (item.system.empty() || (!result.unless.empty() && named(result.unless))) {
        return true;
    }
    return !result.failing.empty() && std::all_of(result.failing.begin(), result.failing.end(), named);
}

bool is_expected(const ExpectedFailure& item, const Result& result) {
    return result.message.find(item.message) != std::string::npos && of_these_systems(item, result) &&
           (!item.worst.has_value() || (result.measured.has_value() && *result.measured <= *item.worst));
}

void take(ReportEntry& entry, const ExpectedFailure& item) {
    for (const auto& use : entry.uses) {
        const bool meant = item.uses.empty() || std::find(item.uses.begin(), item.uses.end(), use) != item.uses.end();
        if (meant && std::find(entry.expected_for.begin(), entry.expected_for.end(), use) == entry.expected_for.end()) {
            entry.expected_for.push_back(use);
        }
    }
    entry.result.waived_because = item.reason;
    if (entry.expected_for.size() == entry.uses.size()) {
        entry.result.status = Status::waived;
    }
}

}  // namespace

std::vector<ExpectedFailure> parse_expected_failures(const std::string& text) {
    const auto content = nlohmann::json::parse(text, nullptr, false);
    if (!content.is_object() || !content.contains("waivers") || !content["waivers"].is_array() || content.size() != 1) {
        throw std::invalid_argument("waivers are an object with one list, \"waivers\"");
    }
    std::vector<ExpectedFailure> out;
    for (const auto& item : content["waivers"]) {
        out.push_back(expected_of(item, "waiver " + std::to_string(out.size() + 1)));
    }
    return out;
}

std::vector<ExpectedFailure> read_expected_failures(const std::string& path) {
    return parse_expected_failures(read_input(path, longest));
}

void expect(Report& report) {
    for (auto& entry : report.entries) {
        // A file can be asked again without losing what is known.
        if (entry.result.status == Status::waived && !entry.expected_for.empty()) {
            continue;
        }
        bool other_message = false;
        for (auto& item : report.expected) {
            if (!matches(item, entry) || entry.result.status == Status::skip) {
                continue;
            }
            item.tried = true;
            if (entry.result.status != Status::fail) {
                continue;
            }
            if (is_expected(item, entry.result)) {
                item.used = true;
                take(entry, item);
            } else {
                other_message = true;
            }
        }
        if (other_message && entry.result.status == Status::fail && entry.expected_for.empty()) {
            entry.result.message += " (a waiver expects another failure)";
        }
    }
}

}  // namespace mtt
