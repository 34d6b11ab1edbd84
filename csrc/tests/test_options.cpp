#include <nlohmann/json.hpp>

#include <set>

#include "mtt/engines/profiles.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/options.hpp"
#include "testing.hpp"

using namespace mtt;

TEST("options are read into what a run is asked for") {
    const auto arguments = parse_arguments(
        {"model.pt", "--level", "quick", "--only", "FD,DD/energy", "--skip", "SYM=why", "--skip", "GEO", "--memory-limit",
         "7", "--max-rotation-error", "2.5", "--no-isolation"}
    );
    CHECK(arguments.options.path == "model.pt" && arguments.options.level == Level::quick && !arguments.isolated);
    CHECK(arguments.options.only == (std::vector<std::string>{"FD", "DD/energy"}));
    CHECK(arguments.options.waivers.size() == 2 && arguments.options.waivers[1].check == "GEO");
    CHECK(arguments.options.memory_limit == uint64_t(7) << 20);
    CHECK(arguments.options.max_rotation_error == 2.5);
}

TEST("what no option takes is refused") {
    CHECK_THROWS(parse_arguments({"--wrong"}), UsageError, "unknown option '--wrong'");
    CHECK_THROWS(parse_arguments({"a.pt", "b.pt"}), UsageError, "more than one file");
    CHECK_THROWS(parse_arguments({"a.pt", "--level"}), UsageError, "'--level' needs a value");
    CHECK_THROWS(parse_arguments({"a.pt", "--time-limit", "0"}), UsageError, "'0' is not a number of seconds");
    CHECK_THROWS(parse_arguments({"a.pt", "--max-rotation-error", "2x"}), UsageError, "'2x' is not a number of meV");
    CHECK_THROWS(parse_arguments({"a.pt", "--record", "r", "--against", "r"}), UsageError, "exclude each other");
    CHECK_THROWS(parse_arguments({}), UsageError, "no model file");
}

TEST("the catalogue has every option, engine, family and check, and the help every option") {
    const auto content = nlohmann::json::parse(catalogue_json());
    const auto usage = usage_text();
    std::set<std::string> keywords;
    CHECK(content["options"].size() == option_table().size());
    for (const auto& row : option_table()) {
        CHECK(usage.find("  " + row.flag) != std::string::npos);
        CHECK(row.keyword.empty() || keywords.insert(row.keyword).second);
        CHECK(row.keyword.empty() == row.group.empty());
    }
    CHECK(content["engines"].size() == engine_profiles().size());
    CHECK(content["families"].size() == families().size());
    CHECK(content["checks"].size() == catalogue().size());
}
