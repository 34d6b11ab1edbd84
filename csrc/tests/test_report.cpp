#include <cmath>
#include <limits>
#include <sstream>

#include <nlohmann/json.hpp>

#include "mtt/isolation/wire.hpp"
#include "mtt/report.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/printable.hpp"
#include "mtt/runner/verdicts.hpp"
#include "testing.hpp"

using namespace mtt;
using nlohmann::json;

namespace {

Report example() {
    Report report;
    report.program_version = "1.2.3";
    report.path = "folder/model.pt";
    report.sha256 = "abc";
    report.bytes = 12;
    report.model = ReportModel{};
    report.model->capabilities.name = "m";
    report.model->capabilities.interaction_range = std::numeric_limits<double>::infinity();
    Result result = passed("energy");
    result.measured = 0.5;
    result.tolerance = 2.0;
    result.unit = "eV";
    report.judged = {"ase"};
    report.entries.push_back({"PARITY", result, "compares", "float64", {"ase"}});
    report.entries.push_back({"ENGINE", passed("ase"), "", "", {"ase"}});
    report.entries.push_back({"DD", skipped("forces", "because"), "", "", {"ase"}});
    judge(report);
    return report;
}

}  // namespace

TEST("JSON holds what the schema promises") {
    const auto out = json::parse(to_json(example()));
    CHECK(out["schema"] == 3);
    CHECK(out["for"] == json::array({"ase"}));
    CHECK(out["verdicts"][0]["use"] == "ase" && out["verdicts"][0]["answer"] == "yes");
    CHECK(out["findings"].empty());
    CHECK(out["program"]["name"] == "mtt-verify");
    CHECK(out["file"]["sha256"] == "abc");
    CHECK(out["model"]["interaction_range"].is_null());
    CHECK(out["checks"][0]["margin"] == 4.0);
    CHECK(out["checks"][0]["status"] == "pass");
    CHECK(out["checks"][2]["measured"].is_null());
    CHECK(out["checks"][2]["message"] == "because");
    CHECK(out["verdict"] == "pass");
}

TEST("a result keeps its target on the way from the worker, and one without is written as before") {
    Result result = passed("forces");
    CHECK(!to_json(result).contains("target"));
    CHECK(!to_json(result).contains("target"));
    result.target = "energy/pbe";
    CHECK(to_json(result).at("target") == "energy/pbe");
    auto report = example();
    report.entries.push_back({"FD", result, "", ""});
    std::ostringstream out;
    print(report, out);
    CHECK(out.str().find("forces of energy/pbe") != std::string::npos);
}

TEST("one failure fails the verdict, and skipping everything is no pass") {
    auto report = example();
    report.entries.push_back({"FD", failed("virial", "wrong"), "", "", {"ase"}});
    judge(report);
    CHECK(!report.passed());
    CHECK(json::parse(to_json(report))["verdict"] == "fail");
    Report nothing;
    nothing.judged = {"ase"};
    nothing.only = {"DD"};
    nothing.entries.push_back({"DD", skipped("forces", "because"), "", ""});
    judge(nothing);
    CHECK(!nothing.passed());
    CHECK(!Report{}.passed());
}

TEST("NaN and broken text do not break the JSON") {
    auto report = example();
    report.entries[0].result.measured = std::nan("");
    report.entries[0].result.message = "bytes \xff\xfe that are no text";
    report.model.reset();
    const auto out = json::parse(to_json(report));
    CHECK(out["checks"][0]["measured"].is_null());
    CHECK(out["checks"][0]["margin"].is_null());
    CHECK(out["model"].is_null());
}

TEST("the table fits into 100 columns and says every reason") {
    auto report = example();
    report.path = std::string(300, 'x');
    report.entries.push_back({"FD", failed("virial", std::string(250, 'w') + " and " + std::string(180, 'y')), "", "", {"ase"}});
    judge(report);
    std::ostringstream out;
    print(report, out);
    std::istringstream lines(out.str());
    for (std::string line; std::getline(lines, line);) {
        CHECK(line.size() <= 100);
    }
    CHECK(out.str().find("because") != std::string::npos);
    CHECK(out.str().find("do not use this file") != std::string::npos);
    CHECK(out.str().find("2 passed, 1 failed, 1 skipped") != std::string::npos);
}

TEST("text of strangers is harmless") {
    CHECK(printable("plain text, \xc3\xa5ngstr\xc3\xb6m, \xe2\x82\xac") == "plain text, \xc3\xa5ngstr\xc3\xb6m, \xe2\x82\xac");
    CHECK(printable("\x1b[31mred\n\r\t") == "\\x1b[31mred\\x0a\\x0d\\x09");
    CHECK(printable("a\xe2\x80\xae""b") == "a\\u202eb");          // right-to-left override
    CHECK(printable("\xc2\x9b""31m") == "\\x9b31m");              // CSI in one character
    CHECK(printable("\xf3\xa0\x81\x81") == "\\U000e0041");        // tag characters, which nobody sees
    CHECK(printable("\xff\xc3") == "\\xff\\xc3");                // no UTF-8
    CHECK(printable("\xc0\xaf") == "\\xc0\\xaf");                // '/' in two bytes
    CHECK(printable("\xed\xa0\x80") == "\\ud800");               // half a pair
}

TEST("no line of the report is a command for a CI service") {
    CHECK(without_commands("a\n::error::b\n  ##[group]c\nd :: e\n") == "a\n\\::error::b\n  \\##[group]c\nd :: e\n");
    Report report;
    report.path = std::string(100, 'x') + "::error::owned";
    report.entries.push_back({"LOAD", failed("file", "\n::error::owned"), "", ""});
    report.entries.push_back({"LOAD", failed("model", "::set-output name=a::b \x1b]0;title\x07"), "", ""});
    judge(report);
    std::ostringstream out;
    print(report, out);
    std::istringstream lines(out.str());
    for (std::string line; std::getline(lines, line);) {
        const size_t start = line.find_first_not_of(' ');
        CHECK(start == std::string::npos || line.compare(start, 2, "::") != 0);
        CHECK(line.find('\x1b') == std::string::npos && line.find('\x07') == std::string::npos);
    }
    CHECK(to_json(report).find("\\u001b]0;title") != std::string::npos);
}
