// The supervisor against workers that do everything but work. No model here: see tests/verify/test_verify_isolation.py.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <stdexcept>

#include "fake_worker.hpp"
#include "mtt/isolation/environment.hpp"
#include "mtt/isolation/orders.hpp"
#include "mtt/isolation/process.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/supervisor.hpp"
#include "testing.hpp"

using namespace mtt;

namespace {

VerifyOptions options() {
    VerifyOptions out;
    out.path = "/proc/self/exe";  // any file: the fake worker does not look at it
    out.only = {"LOAD", "FD"};
    out.time_limit = 20.0;
    out.processes = 1;
    return out;
}

/// For checks in two processes: DD runs in the second one.
VerifyOptions two_processes() {
    auto out = options();
    out.only = {"LOAD", "FD", "DD/domains", "LIMITS/traces"};
    out.processes = 2;
    out.seed = 1;
    return out;
}

Report report_on(const std::string& deed, VerifyOptions chosen = options()) {
    Supervision how;
    how.worker = {"/proc/self/exe", testing::fake_worker_flag, deed};
    return supervise(chosen, how);
}

const Result* find(const Report& report, const std::string& family, Status status) {
    for (const auto& entry : report.entries) {
        if (entry.family == family && entry.result.status == status) {
            return &entry.result;
        }
    }
    return nullptr;
}

size_t count(const Report& report, Status status) {
    size_t out = 0;
    for (const auto& entry : report.entries) {
        out += entry.result.status == status ? 1 : 0;
    }
    return out;
}

/// The first check fails with this text, and the checks after it pass.
void check_one_death(const std::string& deed, const std::string& text) {
    const auto report = report_on(deed);
    const auto* failure = find(report, "LOAD", Status::fail);
    CHECK(failure != nullptr && !report.passed());
    if (failure->message.find(text) == std::string::npos) {
        testing::fail(__FILE__, __LINE__, deed + ": " + failure->message);
    }
    CHECK(failure->name == "file");
    CHECK(count(report, Status::fail) == 1);
    CHECK(find(report, "FD", Status::pass) != nullptr);
}

/// Every call fails with this text.
void check_calls(const std::string& deed, const std::string& text) {
    const auto report = report_on(deed);
    const auto* failure = find(report, "FD", Status::fail);
    CHECK(failure != nullptr && !report.passed());
    if (failure->message.find(text) == std::string::npos) {
        testing::fail(__FILE__, __LINE__, deed + ": " + failure->message);
    }
    CHECK(find(report, "FD", Status::pass) == nullptr);
}

}  // namespace

TEST("a worker that works is reported") {
    const auto report = report_on("works");
    CHECK(report.passed());
    CHECK(report.calls > 10);
    CHECK(report.peak_memory > 1000000);
    CHECK(report.isolation.process);
    CHECK(report.sha256.size() == 64);
    CHECK(report.model->capabilities.name == "plain");
}

TEST("what ends a worker fails the check that ran, and the next ones run") {
    check_one_death("exits", "ends its process with exit code 0");
    check_one_death("half a frame", "ends its process with exit code 0");
    check_one_death("garbage", "tampers");
    check_one_death("another number", "tampers");
    check_one_death("no such outcome", "tampers");
    check_one_death("too much", "tampers");
    check_one_death("too many", "tampers");
    check_one_death("floods the channel", "tampers");
    check_one_death("colors its last words", "its last words: ");
}

TEST("answers that do not fit their questions are findings, not numbers") {
    check_calls("answers for another system", "tampers");
    check_calls("gives no forces", "tampers");
    check_calls("gives fewer numbers than rows", "tampers");
    check_calls("gives a shape without end", "tampers");
}

TEST("an answer that comes before it can have been computed is a finding") {
    Supervision how;
    how.worker = {"/proc/self/exe", testing::fake_worker_flag, "works"};
    how.fastest_call = 10.0;
    const auto report = supervise(options(), how);
    CHECK(find(report, "FD", Status::fail)->message.find("faster than the arithmetic of a call allows") != std::string::npos);
    CHECK(find(report, "FD", Status::pass) == nullptr);
}

TEST("a death while one target of several is checked names it") {
    auto chosen = options();
    chosen.only = {"LOAD", "FD/forces"};
    const auto report = report_on("exits in a target", chosen);
    CHECK(find(report, "FD", Status::fail)->target == "energy/pbe");
    CHECK(find(report, "LOAD", Status::pass)->target.empty());
}

TEST("a worker that hangs is killed in time") {
    auto chosen = options();
    chosen.time_limit = 1.0;
    const auto report = report_on("hangs", chosen);
    CHECK(find(report, "LOAD", Status::fail)->message.find("takes more than 1 s") != std::string::npos);
    CHECK(report.seconds < 10.0);
}

TEST("output without end costs nothing") { CHECK(report_on("floods the output").passed()); }

TEST("deaths outside of checks are told") {
    const auto before = report_on("dies before");
    CHECK(find(before, "LOAD", Status::fail)->message.find("before anything was checked, the model") == 0);
    CHECK(find(before, "FD", Status::skip)->message == "the model could not be loaded");
    CHECK(!before.passed());
    const auto after = report_on("dies at the end");
    CHECK(find(after, "LOAD", Status::fail)->message.find("when its process ends, after all checks") == 0);
    CHECK(find(after, "FD", Status::pass) != nullptr);
    const auto loading = report_on("dies while loading");
    CHECK(find(loading, "LOAD", Status::fail)->message.find("while it is loaded, the model crashes") == 0);
    CHECK(find(loading, "FD", Status::skip)->message == "the model could not be loaded");
}

TEST("the number of deaths is bounded") {
    auto chosen = options();
    chosen.only.clear();
    const auto report = report_on("dies always", chosen);
    CHECK(count(report, Status::fail) == 10);
    CHECK(find(report, "SYM", Status::skip)->message == "the model has killed 10 processes already");
}

TEST("two processes give the report of one") {
    auto chosen = two_processes();
    std::vector<std::string> shown;
    chosen.progress = [&](const std::string& family, const std::string& name) { shown.push_back(family + "/" + name); };
    const auto both = report_on("works", chosen);
    chosen.processes = 1;
    const auto one = report_on("works", chosen);
    CHECK(both.passed() && one.passed());
    CHECK(both.entries.size() == one.entries.size());
    for (size_t k = 0; k < one.entries.size(); ++k) {
        CHECK(both.entries[k].family == one.entries[k].family);
        CHECK(both.entries[k].result.name == one.entries[k].result.name);
        CHECK(both.entries[k].result.status == one.entries[k].result.status);
        CHECK(both.entries[k].result.measured == one.entries[k].result.measured);
    }
    CHECK(std::count(shown.begin(), shown.end(), "LIMITS/traces") == 3);  // in both, and in the run of one
    CHECK(both.calls > one.calls);
    CHECK(both.peak_memory > one.peak_memory * 3 / 2);
}

TEST("what ends one of two processes leaves the other alone") {
    Supervision how;
    how.worker = {"/proc/self/exe", testing::fake_worker_flag, "dies in selections"};
    how.owns_children = true;
    for (int round = 0; round < 5; ++round) {
        const auto report = supervise(two_processes(), how);
        CHECK(find(report, "DD", Status::fail)->message.find("crashes") != std::string::npos);
        CHECK(find(report, "FD", Status::pass) != nullptr && find(report, "FD", Status::fail) == nullptr);
        CHECK(count(report, Status::fail) == 1);
    }
}

TEST("what a call leaves behind is found in either process") {
    const auto report = report_on("selections change a setting", two_processes());
    CHECK(find(report, "DD", Status::fail) == nullptr);
    CHECK(find(report, "LIMITS", Status::fail)->message.find("rounding: to nearest before, upward now") != std::string::npos);
    CHECK(count(report, Status::fail) == 1);
    // It was the second one: the first has made no such call.
    auto chosen = two_processes();
    chosen.only = {"LOAD", "FD", "LIMITS/traces"};
    CHECK(report_on("selections change a setting", chosen).passed());
}

TEST("deaths in two processes are told and bounded") {
    auto chosen = two_processes();
    const auto at_the_end = report_on("dies at the end", chosen);
    CHECK(find(at_the_end, "LOAD", Status::fail)->message.find("when its process ends, after all checks") == 0);
    const auto before = report_on("dies while loading", chosen);
    CHECK(find(before, "DD", Status::skip)->message == "the model could not be loaded");
    CHECK(find(before, "FD", Status::skip)->message == "the model could not be loaded");
    chosen.only.clear();
    const auto always = report_on("dies always", chosen);
    CHECK(count(always, Status::fail) >= 10 && count(always, Status::fail) <= 11);  // one may be on its way
    CHECK(find(always, "LIMITS", Status::skip)->message == "the model has killed 10 processes already");
}

TEST("waived checks stay in the report and do not run") {
    auto chosen = options();
    chosen.waivers = {{"LOAD/file", "known"}, {"LOAD/checksums", "none"}, {"LOAD/metadata", ""}, {"FD", ""}};
    const auto report = report_on("works", chosen);
    CHECK(count(report, Status::waived) > 2);
    CHECK(find(report, "LOAD", Status::waived)->message == "known");
    CHECK(find(report, "FD", Status::waived)->message == "left out without a reason");
    CHECK(find(report, "FD", Status::pass) == nullptr);
    CHECK(report.passed() && count(report, Status::skip) == 0);
    // A check that is waived as a whole does not start.
    CHECK(count(report_on("exits", chosen), Status::fail) == 0);
}

TEST("what is missing of the sandbox is told once, before anything runs") {
    std::vector<std::string> warnings;
    Supervision how;
    how.worker = {"/proc/self/exe", testing::fake_worker_flag, "dies always"};
    how.warn = [&](const std::string& text) { warnings.push_back(text); };
    auto chosen = options();
    chosen.only.clear();
    chosen.processes = 2;
    const auto report = supervise(chosen, how);
    CHECK(count(report, Status::fail) > 1);  // several workers, one word
    CHECK(warnings == std::vector<std::string>{"weak sandbox: of paper"});
}

TEST("a worker without any sandbox ends the run") {
    CHECK_THROWS(report_on("refuses"), std::runtime_error, "--no-require-sandbox");
}

TEST("the number of threads is bounded") {
    const auto report = report_on("starts threads");
    const auto* failure = find(report, "LOAD", Status::fail);
    CHECK(failure != nullptr);
    if (failure->message.find("the model starts ") != 0 || failure->message.find(" threads") == std::string::npos) {
        testing::fail(__FILE__, __LINE__, failure->message);
    }
}

TEST("a worker gets the variables that a computation reads, and no other") {
    setenv("OMP_NUM_THREADS", "3", 1);
    setenv("LC_SECRET", "hidden", 1);
    setenv("HF_TOKEN", "hidden", 1);
    const auto report = report_on("prints its environment");
    const auto message = find(report, "LOAD", Status::fail)->message;
    CHECK(message.find("HOME=/nonexistent TMPDIR=/nonexistent ") != std::string::npos);
    CHECK(message.find("hidden") == std::string::npos);
    const auto variables = worker_environment({"A=1", "LANG=C", "LC_ALL=C=D", "LC_ALLX=1", "=", "", "HOME=/of/mine",
                                               "OMP_NUM_THREADS=3", "LANGX=1", "KMP_TOKEN=1"});
    CHECK(variables == std::vector<std::string>({"HOME=/nonexistent", "TMPDIR=/nonexistent", "LANG=C", "LC_ALL=C=D",
                                                 "OMP_NUM_THREADS=3"}));
}

TEST("a signal ends a supervised run") {
    std::atomic<int> interrupted{SIGINT};
    Supervision how;
    how.worker = {"/proc/self/exe", testing::fake_worker_flag, "hangs"};
    how.interrupted = &interrupted;
    bool thrown = false;
    try {
        supervise(options(), how);
    } catch (const Interrupted& error) {
        thrown = error.signal == SIGINT;
    }
    CHECK(thrown);
}

/// What starts in the first process after DD has begun in the second one, while `seen` happens there.
size_t started_after(VerifyOptions chosen, const Supervision& how, const std::function<void()>& seen, bool& thrown) {
    chosen.only = {"LOAD", "FD", "GEO", "SYM", "DTYPE", "DD/domains"};
    std::atomic<bool> begun{false};
    std::atomic<size_t> after{0};
    chosen.progress = [&](const std::string& family, const std::string&) {
        after += begun ? 1 : 0;
        if (family == "DD") {
            begun = true;
            seen();
        }
    };
    try {
        supervise(chosen, how);
    } catch (const Interrupted& error) {
        thrown = error.signal == SIGTERM;
    } catch (const std::domain_error&) {
        thrown = true;
    }
    return after;
}

TEST("a signal ends both of two processes") {
    std::atomic<int> interrupted{0};
    Supervision how;
    how.worker = {"/proc/self/exe", testing::fake_worker_flag, "works slowly"};
    how.interrupted = &interrupted;
    bool thrown = false;
    // One check of the first process may have looked for signals just before.
    CHECK(started_after(two_processes(), how, [&] { interrupted = SIGTERM; }, thrown) <= 1);
    CHECK(thrown);
}

TEST("what gets out of one process ends the other") {
    Supervision how;
    how.worker = {"/proc/self/exe", testing::fake_worker_flag, "works slowly"};
    bool thrown = false;
    CHECK(started_after(two_processes(), how, [] { throw std::domain_error("out"); }, thrown) <= 1);
    CHECK(thrown);
}

TEST("memory is looked at while answers come at once") {
    auto chosen = options();
    chosen.memory_limit = uint64_t(400) << 20;
    const auto report = report_on("keeps 10 MB of each call", chosen);
    CHECK(find(report, "FD", Status::fail)->message.find("takes more memory than the limit of 400 MB") != std::string::npos);
}

TEST("a failure of either process stays beside one of the other") {
    auto chosen = two_processes();
    chosen.only = {"LOAD", "FD", "DD/domains", "LIMITS/traces"};
    const auto report = report_on("changes settings", chosen);
    std::vector<std::string> messages;
    for (const auto& entry : report.entries) {
        if (entry.result.name == "global state") {
            messages.push_back(entry.result.message);
        }
    }
    CHECK(messages.size() == 2);
    CHECK(messages[0].find("upward now") != std::string::npos && messages[1].find("downward now") != std::string::npos);
}

TEST("memory is divided between processes only where there are two") {
    auto chosen = two_processes();
    const auto both = report_on("works", chosen).isolation;
    chosen.only = {"DD/domains"};
    const auto one = report_on("works", chosen).isolation;
    CHECK(both.processes == 2 && one.processes == 1);
    chosen.processes = 1;
    CHECK(one.memory_limit == report_on("works", chosen).isolation.memory_limit);
    // Half of a large machine is more than a model may take in any case.
    CHECK(one.memory_limit > both.memory_limit || both.memory_limit == uint64_t(16) << 30);
    CHECK(one.memory_limit <= 2 * both.memory_limit + 2);
    chosen = two_processes();
    chosen.memory_limit = uint64_t(3) << 30;
    CHECK(report_on("works", chosen).isolation.memory_limit == uint64_t(3) << 30);
}

TEST("a worker that is not there is told") {
    Supervision how;
    how.worker = {"/no/such/program"};
    const auto report = supervise(options(), how);
    CHECK(find(report, "LOAD", Status::fail)->message.find("exit code 127") != std::string::npos);
}

TEST("orders survive the way, whatever bytes a path holds") {
    Orders orders;
    orders.path = "a\xff\xfe\n\"b";
    orders.extensions = "";
    orders.without = {"limits"};
    const auto back = orders_from_text(to_text(orders));
    CHECK(back.path == orders.path && back.extensions == std::optional<std::string>(""));
    CHECK(back.without == orders.without);
    CHECK_THROWS(orders_from_text("nonsense"), std::exception, "");
}
