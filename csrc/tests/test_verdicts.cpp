// From failures to findings, and from these to what each engine can expect.
#include <algorithm>
#include <set>

#include "mtt/engines/uses.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/expected.hpp"
#include "mtt/runner/runner.hpp"
#include "mtt/runner/verdicts.hpp"
#include "testing.hpp"

using namespace mtt;

namespace {

/// A report in which the calls of every engine passed, and what else is given.
Report report_of(std::vector<ReportEntry> entries, std::vector<std::string> judged = {}) {
    Report out;
    out.judged = judged.empty() ? uses_with(&Use::runs_md) : std::move(judged);
    for (const auto& use : uses()) {
        out.entries.push_back({"ENGINE", passed(use.engine), "", "", {use.id}});
    }
    const bool decomposed = std::any_of(entries.begin(), entries.end(), [](const auto& entry) {
        return entry.family == "DD" && entry.result.name == "energy";
    });
    if (!decomposed) {
        out.entries.push_back({"DD", passed("energy"), "", "", uses_with(&Use::decomposes)});
    }
    out.entries.insert(out.entries.end(), entries.begin(), entries.end());
    return out;
}

ReportEntry entry(const std::string& family, Result result, Severity severity = Severity::wrong) {
    const auto uses = result.matters.empty() ? uses_named("all") : uses_named(result.matters);
    return {family, std::move(result), "", "", uses, severity};
}

const Verdict& verdict(const Report& report, const std::string& use) {
    return *std::find_if(report.verdicts.begin(), report.verdicts.end(), [&](const auto& item) { return item.use == use; });
}

Usable answer(const Report& report, const std::string& use) { return verdict(report, use).answer; }

ExpectedFailure expected(const std::string& check, const std::string& message) {
    return {.check = check, .reason = "we know", .message = message};
}

}  // namespace

TEST("words of --for name uses, engines and numbers of ranks") {
    CHECK(uses_named("ase") == std::vector<std::string>{"ase"});
    CHECK(uses_named("lammps:ranks=4") == std::vector<std::string>{"lammps:ranks=several"});
    CHECK(uses_named("lammps:ranks=1") == std::vector<std::string>{"lammps:ranks=1"});
    CHECK(uses_named("lammps").size() == 2);
    CHECK(uses_named("all").size() == uses().size());
    CHECK_THROWS(uses_named("lammps:ranks=0"), std::invalid_argument, "there is no engine 'lammps:ranks=0'");
    CHECK_THROWS(uses_named("ase:ranks=2"), std::invalid_argument, "there is no engine 'ase:ranks=2'");
    CHECK_THROWS(uses_named("gulp"), std::invalid_argument, "there is no engine 'gulp'");
}

TEST("a failure counts for the engines that it matters to") {
    auto report = report_of({entry("DD", failed("energy", "does not add up").only({"lammps:ranks=several"}))});
    judge(report);
    CHECK(answer(report, "lammps:ranks=several") == Usable::no);
    CHECK(verdict(report, "lammps:ranks=several").reason == "domains do not add up");
    CHECK(answer(report, "lammps:ranks=1") == Usable::yes);
    CHECK(!report.passed());
    auto narrow = report_of(report.entries, {"lammps:ranks=1", "ase"});
    judge(narrow);
    CHECK(narrow.passed());
}

TEST("circumstances make a condition of a verdict, and one failure without any a no") {
    auto slab = failed("periodicity", "wrong");
    slab.unless = "slabs (pbc TTF)";
    auto report = report_of({entry("GEO", slab)});
    judge(report);
    CHECK(answer(report, "ase") == Usable::unless && verdict(report, "ase").reason == "slabs (pbc TTF)");
    CHECK(!report.passed());
    report = report_of({entry("GEO", slab), entry("FD", failed("forces", "wrong"))});
    judge(report);
    CHECK(answer(report, "ase") == Usable::no);
    CHECK(verdict(report, "ase").reason == "forces are not derivatives of the energy");
}

TEST("a check that looks at slabs alone learns from others that the rest goes well") {
    const std::runtime_error error("no slabs");
    auto all = failed("periodicity", "fails", error);
    all.unless = "slabs (pbc FTT, TTF)";
    all.kinds = {"pbc FTT", "pbc TTF"};
    auto one = failed("output", "fails", error);
    one.kinds = {"pbc TTF"};
    auto report = report_of({entry("GEO", all), entry("SCHEMA", one)});
    judge(report);
    CHECK(report.findings.size() == 1 && answer(report, "ase") == Usable::unless);
    CHECK(verdict(report, "ase").reason == "slabs (pbc FTT, TTF)");
    one.kinds = {"pbc TTT, tilted"};
    report = report_of({entry("GEO", all), entry("SCHEMA", one)});
    judge(report);
    CHECK(answer(report, "ase") == Usable::no && verdict(report, "ase").reason == "fails: no slabs");
}

TEST("an engine whose calls were not made gets no yes") {
    Report report;
    report.judged = {"ase"};
    report.entries = {entry("FD", passed("forces"))};
    judge(report);
    CHECK(answer(report, "ase") == Usable::untried && !report.passed());
    report.entries.push_back(entry("ENGINE", skipped("ase", "no units")));
    judge(report);
    CHECK(answer(report, "ase") == Usable::untried && verdict(report, "ase").reason == "no units");
    report.only = {"FD"};
    judge(report);
    CHECK(report.passed());
    auto domains = report_of({entry("DD", skipped("energy", "infinite"))});
    judge(domains);
    CHECK(answer(domains, "lammps:ranks=1") == Usable::yes);
    CHECK(answer(domains, "lammps:ranks=several") == Usable::untried);
}

TEST("an engine whose calls were left out gets no yes, and keeps nobody from the model") {
    auto waived = passed("ase", "no units");
    waived.status = Status::waived;
    Report report;
    report.judged = {"ase"};
    report.entries = {entry("FD", passed("forces")), entry("ENGINE", waived)};
    judge(report);
    CHECK(answer(report, "ase") == Usable::untried && verdict(report, "ase").reason == "no units");
    CHECK(report.passed());
    // Another check that is left out is no reason to let it pass.
    waived.name = "scaling";
    report.entries = {entry("FD", passed("forces")), entry("ENGINE", skipped("ase", "no units")), entry("LIMITS", waived)};
    judge(report);
    CHECK(answer(report, "ase") == Usable::untried && !report.passed());
    waived.name = "energy";
    auto domains = report_of({entry("DD", waived)}, {"lammps:ranks=several"});
    judge(domains);
    CHECK(answer(domains, "lammps:ranks=several") == Usable::untried && domains.passed());
    CHECK(answer(domains, "lammps:ranks=1") == Usable::yes);
}

TEST("what costs or looks odd does not keep an engine from a model") {
    auto report = report_of({entry("LIMITS", failed("scaling", "slow"), Severity::costs)});
    judge(report);
    CHECK(report.passed() && report.findings.size() == 1 && report.findings[0].severity == Severity::costs);
}

TEST("failures of one cause are one finding, the worst first") {
    auto report = report_of({
        entry("LIMITS", failed("scaling", "slow"), Severity::costs),
        entry("DD", failed("energy", "a")), entry("DD", failed("forces", "b")),
        entry("DD", failed("receptive field", "c").because("range")),
        entry("SYM", failed("batch", "d", std::runtime_error("index 3 of 2"))),
        entry("GEO", failed("cells", "e", std::runtime_error("index 7 of 5"))),
    });
    judge(report);
    CHECK(report.findings.size() == 3);
    CHECK(report.findings[0].cause == "c" && report.findings[0].entries.size() == 3);
    CHECK(report.findings[1].entries.size() == 2);
    CHECK(report.findings[2].severity == Severity::costs);
}

TEST("failures of two targets are two findings") {
    auto first = failed("forces", "a");
    first.target = "energy";
    auto second = failed("virial", "b");
    second.target = "energy/pbe";
    auto report = report_of({entry("FD", first), entry("FD", second)});
    judge(report);
    CHECK(report.findings.size() == 2);
}

TEST("an expected failure is waived with its message, and only so") {
    const auto with = [](ExpectedFailure item, Result result) {
        auto report = report_of({entry("GEO", std::move(result))});
        report.expected = {std::move(item)};
        judge(report);
        return report;
    };
    auto failure = failed("periodicity", "slabs are wrong");
    failure.measured = 0.5;
    failure.failing = {"generated slab"};
    CHECK(with(expected("GEO/periodicity", "slabs"), failure).passed());
    CHECK(with(expected("GEO", "slabs"), failure).passed());
    CHECK(!with(expected("GEO/cells", "slabs"), failure).passed());
    CHECK(!with(expected("GEO/periodicity", "wires"), failure).passed());
    auto item = expected("GEO/periodicity", "slabs");
    item.worst = 0.1;
    CHECK(!with(item, failure).passed());
    item.worst = 1.0;
    CHECK(with(item, failure).passed());
    item.system = "slab";
    CHECK(with(item, failure).passed());
    failure.failing.push_back("molecule");
    CHECK(!with(item, failure).passed());
    const auto unused = with(expected("GEO/periodicity", "slabs"), passed("periodicity"));
    CHECK(unused.passed() && unused.expected[0].tried && !unused.expected[0].used);
}

TEST("a failure can be expected for one engine, and then counts for the others") {
    auto item = expected("GEO/periodicity", "slabs");
    item.uses = {"ase"};
    auto report = report_of({entry("GEO", failed("periodicity", "slabs are wrong"))});
    report.expected = {item};
    judge(report);
    CHECK(answer(report, "ase") == Usable::yes && verdict(report, "ase").reason == "1 failure is expected");
    CHECK(answer(report, "ipi") == Usable::no && !report.passed());
}

TEST("a file of waivers is read with care") {
    const std::string good = R"({"waivers": [{"check": "GEO/periodicity", "message": "m", "reason": "r", "engine": "ase"}]})";
    CHECK(parse_expected_failures(good).at(0).uses == std::vector<std::string>{"ase"});
    const std::pair<const char*, const char*> bad[] = {
        {"[]", "waivers are an object"},
        {R"({"waivers": [{"check": "GEO", "message": "m"}]})", "waiver 1 has no 'reason'"},
        {R"({"waivers": [{"check": "GEO", "message": " ", "reason": "r"}]})", "'message' of waiver 1"},
        {R"({"waivers": [{"check": "GEO", "message": "m", "reason": "r", "sytem": "x"}]})", "unknown key 'sytem'"},
        {R"({"waivers": [{"check": "GEO", "message": "m", "reason": "r", "engine": "gulp"}]})", "no engine 'gulp'"},
        {R"({"waivers": [{"check": "LOAD/operators", "message": "m", "reason": "r"}]})", "cannot be waived"},
        {R"({"waivers": [{"check": "GEO", "message": "m", "reason": "r", "worst": "x"}]})", "is no number"},
    };
    for (const auto& [text, message] : bad) {
        CHECK_THROWS(parse_expected_failures(text), std::invalid_argument, message);
    }
}

TEST("every result has a few words, and every rule names results that there are") {
    std::set<std::string> results;
    for (const auto& check : catalogue()) {
        for (const auto& name : check.results) {
            results.insert(check.family + "/" + name);
            const ReportEntry failure{check.family, failed(name, "wrong"), "", ""};
            CHECK(brief_of(failure) != check.family + "/" + name + " fails");
        }
    }
    for (const auto& name : names_in_tables()) {
        CHECK(results.count(name) == 1 || name.find('/') == std::string::npos);
    }
}
