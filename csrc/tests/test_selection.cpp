#include <algorithm>

#include "mtt/engines/uses.hpp"
#include "mtt/runner/selection.hpp"
#include "testing.hpp"

using namespace mtt;

namespace {

std::vector<Selected> selected(std::vector<std::string> only, std::vector<Waiver> waivers = {}) {
    VerifyOptions options;
    options.level = Level::soak;
    options.only = std::move(only);
    options.waivers = std::move(waivers);
    return select_checks(options);
}

}  // namespace

TEST("families, checks and single results can be asked for") {
    CHECK(selected({}).size() == catalogue().size());
    for (const auto& item : selected({"FD"})) {
        CHECK(item.check->family == "FD");
    }
    const auto narrow = selected({"FD/virial"});
    CHECK(narrow.size() == 1 && narrow[0].wanted == std::vector<std::string>{"virial"});
    const auto check = selected({"LOAD/archive"});
    CHECK(check.size() == 1 && check[0].wanted == check[0].check->results);
}

TEST("names that do not exist are refused") {
    CHECK_THROWS(selected({"PARTY"}), std::invalid_argument, "there is no family 'PARTY'");
    CHECK_THROWS(selected({"FD/nonsense"}), std::invalid_argument, "there is no check 'FD/nonsense'");
    CHECK_THROWS(selected({}, {{"FD/nonsense", ""}}), std::invalid_argument, "there is no check 'FD/nonsense'");
    VerifyOptions options;
    options.judged = {"word"};
    CHECK_THROWS(select_checks(options), std::invalid_argument, "there is no engine 'word'");
    CHECK_THROWS(parse_level("fast"), std::invalid_argument, "there is no level 'fast'");
}

TEST("a waiver keeps its reason, with commas") {
    const auto waivers = parse_waivers("FD/virial=no stress, in this run,SYM,GEO=why, why");
    CHECK(waivers.size() == 3);
    CHECK(waivers[0].check == "FD/virial" && waivers[0].reason == "no stress, in this run");
    CHECK(waivers[1].check == "SYM" && waivers[1].reason.empty());
    CHECK(waivers[2].reason == "why, why");
    const auto items = selected({"FD"}, waivers);
    const auto waived = std::find_if(items.begin(), items.end(), [](const Selected& item) { return !item.waived.empty(); });
    CHECK(waived != items.end() && waived->waived[0].name == "virial");
    CHECK(std::find(waived->wanted.begin(), waived->wanted.end(), "virial") == waived->wanted.end());
}

TEST("levels add checks, engines take those of others away") {
    VerifyOptions options;
    options.level = Level::quick;
    const size_t quick = select_checks(options).size();
    options.level = Level::soak;
    CHECK(quick > 0 && quick <= select_checks(options).size());
    for (const auto& use : uses()) {
        options.judged = {use.id};
        for (const auto& item : select_checks(options)) {
            const auto list = item.check->uses();
            CHECK(std::find(list.begin(), list.end(), use.id) != list.end());
        }
    }
}
