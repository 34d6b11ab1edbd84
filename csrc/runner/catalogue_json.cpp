#include "mtt/engines/profiles.hpp"
#include "mtt/engines/uses.hpp"
#include "mtt/isolation/wire.hpp"
#include "mtt/physics/tolerances.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/options.hpp"

namespace mtt {

namespace {

using nlohmann::json;

json text_or_null(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }

json option_json(const OptionRow& row) {
    return {
        {"flag", row.flag}, {"metavar", text_or_null(row.metavar)}, {"type", name_of(row.type)},
        {"choices", row.choices.empty() ? json(nullptr) : json(row.choices)}, {"default", text_or_null(row.standard)},
        {"help", row.help}, {"group", text_or_null(row.group)}, {"keyword", text_or_null(row.keyword)},
        {"excludes", text_or_null(row.excludes)},
    };
}

json check_json(const Check& check) {
    return {
        {"family", check.family}, {"name", check.name}, {"description", check.description},
        {"tolerance", check.tolerance}, {"results", check.results}, {"level", name_of(check.from)},
        {"uses", check.uses()}, {"severity", name_of(check.severity)},
    };
}

}  // namespace

std::string catalogue_json() {
    json out = {
        {"version", MTT_VERSION}, {"engines", json::array()}, {"uses", json::array()}, {"severities", json::array()}, {"families", json::array()}, {"levels", json::array()},
        {"statuses", json::array()}, {"checks", json::array()}, {"tolerances", json::array()},
        {"options", json::array()},
    };
    for (const auto& profile : engine_profiles()) {
        out["engines"].push_back({{"name", profile.name}, {"title", profile.title}});
    }
    for (const auto& use : uses()) {
        out["uses"].push_back({{"id", use.id}, {"engine", use.engine}, {"title", use.title}, {"runs_md", use.runs_md}});
    }
    for (const auto severity :
         {Severity::wrong, Severity::stops, Severity::refuses, Severity::costs, Severity::cosmetic}) {
        out["severities"].push_back(name_of(severity));
    }
    for (const auto& family : family_table()) {
        out["families"].push_back({{"name", family.name}, {"question", family.question}});
    }
    for (const auto level : levels()) {
        out["levels"].push_back(name_of(level));
    }
    for (const auto status : {Status::pass, Status::fail, Status::skip, Status::waived}) {
        out["statuses"].push_back(name_of(status));
    }
    for (const auto& check : catalogue()) {
        out["checks"].push_back(check_json(check));
    }
    for (const auto& row : tolerance_table()) {
        out["tolerances"].push_back(
            {{"name", row.name}, {"float64", row.float64}, {"float32", row.float32}, {"reason", row.reason}}
        );
    }
    for (const auto& row : option_table()) {
        out["options"].push_back(option_json(row));
    }
    return dump(out, 2);
}

}  // namespace mtt
