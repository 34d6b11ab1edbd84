#include "mtt/supervisor.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <future>
#include <random>
#include <stdexcept>

#include "mtt/isolation/orders.hpp"
#include "mtt/isolation/process.hpp"
#include "mtt/isolation/sandbox.hpp"
#include "mtt/isolation/wire.hpp"
#include "mtt/model/archive.hpp"
#include "mtt/physics/compare.hpp"
#include "mtt/runner/runner.hpp"

namespace mtt {

namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr size_t most_deaths = 10;
constexpr double total_over_check = 10.0;
constexpr double turn = 0.02;
constexpr uint64_t default_memory = uint64_t(16) << 30;
/// The model can start threads, and many of them starve the machine.
constexpr uint64_t most_threads = 1024;
constexpr const char* not_loaded = "the model could not be loaded";

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

double default_time_limit(Level level) {
    return level == Level::quick ? 60.0 : (level == Level::full ? 300.0 : 3600.0);
}

/// Most of what the machine or the container has, so that the limit comes before the kernel's own choice.
uint64_t default_memory_limit() {
    uint64_t there = uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGE_SIZE));
    uint64_t group = 0;
    if (std::ifstream("/sys/fs/cgroup/memory.max") >> group) {
        there = std::min(there, group);
    }
    return std::min(default_memory, there / 4 * 3);
}

std::string random_token() {
    std::random_device random;
    char text[33];
    std::snprintf(text, sizeof text, "%08x%08x%08x%08x", random(), random(), random(), random());
    return text;
}

std::string signal_text(int number) {
    switch (number) {
        case SIGSEGV: return "crashes its process (SIGSEGV: a wild memory access, or a stack that overflows)";
        case SIGBUS: return "crashes its process (SIGBUS: memory that is not there)";
        case SIGABRT: return "aborts its process (SIGABRT)";
        case SIGFPE: return "crashes its process (SIGFPE: division by zero, or a trap of the floating-point unit)";
        case SIGILL: return "crashes its process (SIGILL: an instruction that this processor does not have)";
        case SIGXCPU: return "takes more processor time than a verification may (SIGXCPU)";
        case SIGXFSZ: return "writes into a file (SIGXFSZ)";
        case SIGKILL: return "was killed by the system, most likely because memory ran out (SIGKILL)";
        default: break;
    }
    return "ends its process by signal " + std::to_string(number);
}

/// What a process said last, in one line, if it said anything.
std::string last_output(const std::string& output) {
    std::string line;
    size_t end = output.find_last_not_of(" \n\r\t");
    if (end == std::string::npos) {
        return "";
    }
    const size_t begin = output.rfind('\n', end);
    line = output.substr(begin == std::string::npos ? 0 : begin + 1, end - (begin == std::string::npos ? 0 : begin + 1) + 1);
    for (char& letter : line) {
        letter = uint8_t(letter) < 32 || letter == 127 ? ' ' : letter;  // nothing for the terminal to obey
    }
    return "; its last words: " + line.substr(0, 200);
}

class Supervisor {
public:
    Supervisor(const VerifyOptions& options, const Supervision& how);
    Report run();

private:
    void run_from(size_t first);
    void watch(ChildProcess& child);
    /// @throws std::exception if the line is none that a worker writes
    void receive(const std::string& line);
    void receive_results(const json& content);
    void take_end(const ChildProcess& child);
    void blame(const std::string& message);
    void advance_past(size_t k);
    void give_up(const std::string& reason);
    void assemble();
    [[nodiscard]] std::string reason_of_end(const ChildProcess& child) const;

    VerifyOptions options_;
    const Supervision& how_;
    std::vector<Selected> selection_;
    Report report_;
    std::vector<std::vector<Result>> results_;
    Clock::time_point start_ = Clock::now();

    /// Everything below is about the worker of the moment.
    std::string token_;
    Clock::time_point since_;
    std::optional<size_t> running_;
    /// Of the check that runs, if the model has several.
    std::string target_;
    bool sandboxed_ = false;
    bool refused_ = false;
    bool loading_ = false;
    bool end_received_ = false;
    bool checked_ = false;
    std::string killed_because_;
    uint64_t calls_ = 0;

    bool warned_ = false;
    size_t next_ = 0;
    size_t deaths_ = 0;
    uint64_t calls_before_ = 0;
    std::string load_failure_;
    /// Why the checks that are left do not run.
    std::string given_up_;
};

Supervisor::Supervisor(const VerifyOptions& options, const Supervision& how):
    options_(options), how_(how), selection_(select_checks(options)), results_(selection_.size()) {
    if (!std::ifstream(options.path)) {
        throw std::runtime_error("can not open '" + options.path + "'");
    }
    if (options_.time_limit <= 0) {
        options_.time_limit = default_time_limit(options_.level);
    }
    if (options_.memory_limit == 0) {
        options_.memory_limit = default_memory_limit();
    }
}

Report Supervisor::run() {
    describe_options(options_, report_);
    report_.isolation.process = true;
    // Beside the worker: both read the whole file.
    auto sum = std::async(std::launch::async, file_sha256, options_.path);
    if (how_.owns_children) {
        adopt_orphans();
        close_to_others();
    }
    while (next_ < selection_.size() && selection_[next_].wanted.empty()) {
        ++next_;
    }
    while (next_ < selection_.size() && given_up_.empty()) {
        run_from(next_);
    }
    report_.isolation.time_limit = options_.time_limit;
    report_.isolation.memory_limit = options_.memory_limit;
    report_.calls = calls_before_ + calls_;
    report_.sha256 = sum.get();
    assemble();
    report_.seconds = seconds_since(start_);
    return std::move(report_);
}

void Supervisor::run_from(size_t first) {
    Orders orders;
    orders.options = options_;
    orders.first = first;
    const double threads = std::max(1, options_.threads);
    orders.cpu_seconds = uint64_t(threads * total_over_check * options_.time_limit) + 60;
    orders.without = how_.without;
    orders.token = token_ = random_token();
    running_.reset();
    target_.clear();
    sandboxed_ = loading_ = end_received_ = checked_ = false;
    killed_because_.clear();
    since_ = Clock::now();
    ChildProcess child(how_.worker, to_text(orders));
    watch(child);
    child.kill();
    if (how_.owns_children) {
        kill_leftovers();
    }
    if (refused_) {
        throw std::runtime_error(
            "the model was not run: this system offers no sandbox to run it in (neither seccomp nor Landlock 3), so it "
            "could read, change and send away all that you can; --no-require-sandbox runs it all the same"
        );
    }
    take_end(child);
    calls_before_ += calls_;
    calls_ = 0;
}

void Supervisor::watch(ChildProcess& child) {
    auto looked = Clock::now();
    while (!child.finished()) {
        if (const auto line = child.next_line(turn)) {
            try {
                receive(*line);
            } catch (const std::exception&) {
                killed_because_ = "writes into the channel through which results are reported: it tampers with the "
                                  "program that checks it";
                return;
            }
        }
        if (how_.interrupted != nullptr && *how_.interrupted != 0) {
            throw Interrupted{*how_.interrupted};
        }
        if (seconds_since(since_) > options_.time_limit) {
            killed_because_ = "takes more than " + short_number(options_.time_limit) +
                              " s for this check (--time-limit): an MD engine would hang or crawl";
            return;
        }
        if (seconds_since(start_) > total_over_check * options_.time_limit) {
            killed_because_ = "has used up the time for the whole verification, " +
                              short_number(total_over_check * options_.time_limit) + " s";
            give_up("the time for the whole verification was used up");
            return;
        }
        if (seconds_since(looked) > turn) {
            looked = Clock::now();
            const auto usage = child.usage();
            if (usage.threads > most_threads + 4 * uint64_t(std::max(0, options_.threads))) {
                killed_because_ = "starts " + std::to_string(usage.threads) + " threads";
                return;
            }
            if (usage.memory > options_.memory_limit) {
                killed_because_ = "takes more memory than the limit of " +
                                  std::to_string(options_.memory_limit >> 20) + " MB (--memory-limit)";
                return;
            }
        }
    }
}

void Supervisor::receive(const std::string& line) {
    if (line.compare(0, token_.size(), token_) != 0) {
        throw std::runtime_error("no token");
    }
    const auto message = json::parse(line.begin() + std::ptrdiff_t(token_.size()), line.end());
    const auto kind = message.at("kind").get<std::string>();
    const auto& content = message.at("content");
    if (!sandboxed_ && kind != "isolation" && kind != "refused") {
        throw std::runtime_error("out of order");
    }
    if (kind == "refused" && !sandboxed_) {
        refused_ = true;
    } else if (kind == "isolation" && !sandboxed_) {  // once: what it said before the model was there holds
        sandboxed_ = true;
        report_.isolation.network = content.at("network").get<std::string>();
        report_.isolation.filesystem = content.at("filesystem").get<std::string>();
        report_.isolation.notes = content.at("notes").get<std::vector<std::string>>();
        if (how_.warn && !warned_ && !weakness(report_.isolation).empty()) {
            warned_ = true;
            how_.warn(weakness(report_.isolation));
        }
    } else if (kind == "file") {
        report_.torch = content.at("torch").get<std::string>();
        report_.metatensor_torch = content.at("metatensor_torch").get<std::string>();
        report_.metatomic_torch = content.at("metatomic_torch").get<std::string>();
        report_.bytes = content.at("bytes").get<uint64_t>();
        report_.extensions.clear();
        for (const auto& item : content.at("extensions")) {
            report_.extensions.push_back({item.at(0).get<std::string>(), item.at(1).get<std::string>()});
        }
    } else if (kind == "loading") {
        loading_ = content.get<bool>();
    } else if (kind == "begin") {
        const auto k = content.get<size_t>();
        if (running_.has_value() || k < next_ || k >= selection_.size() || selection_[k].wanted.empty()) {
            throw std::runtime_error("out of order");
        }
        running_ = k;
        target_.clear();
        since_ = Clock::now();
        if (options_.progress) {
            options_.progress(selection_[k].check->family, selection_[k].check->name);
        }
    } else if (kind == "target") {  // the time limit holds for each of them
        if (!running_.has_value()) {
            throw std::runtime_error("out of order");
        }
        target_ = content.get<std::string>();
        since_ = Clock::now();
    } else if (kind == "done") {
        receive_results(content);
    } else if (kind == "end") {
        end_received_ = !running_.has_value();
        since_ = Clock::now();
    } else {
        throw std::runtime_error("no such kind");
    }
}

void Supervisor::receive_results(const json& content) {
    const auto k = content.at("check").get<size_t>();
    if (running_ != k) {
        throw std::runtime_error("out of order");
    }
    std::vector<Result> results;
    for (const auto& item : content.at("results")) {
        results.push_back(result_from_json(item));
        const auto& wanted = selection_[k].wanted;
        if (std::find(wanted.begin(), wanted.end(), results.back().name) == wanted.end()) {
            throw std::runtime_error("no such result");
        }
    }
    if (!content.at("model").is_null()) {
        auto model = model_from_json(content.at("model"));
        if (!model.receptive_field.has_value() && report_.model.has_value()) {
            model.receptive_field = report_.model->receptive_field;  // of a process that has died since
        }
        report_.model = std::move(model);
        report_.golden_pack = content.at("golden_pack").get<bool>();
    }
    if (!content.at("recorded").is_null()) {
        report_.recorded = content.at("recorded").get<std::string>();
    }
    calls_ = content.at("calls").get<uint64_t>();
    if (load_failure_.empty()) {
        load_failure_ = content.at("problem").get<std::string>();
    }
    results_[k] = std::move(results);
    running_.reset();
    checked_ = true;
    advance_past(k);
    since_ = Clock::now();
}

/// Checks that are waived as a whole do not run.
void Supervisor::advance_past(size_t k) {
    next_ = k + 1;
    while (next_ < selection_.size() && selection_[next_].wanted.empty()) {
        ++next_;
    }
}

std::string Supervisor::reason_of_end(const ChildProcess& child) const {
    if (!killed_because_.empty()) {
        return killed_because_;
    }
    const auto& ended = child.ended();
    if (ended.signal != 0 && speaks_of_memory(child.output())) {
        return "asks for more memory than it may have; the limit is " + std::to_string(options_.memory_limit >> 20) +
               " MB (--memory-limit)" + last_output(child.output());
    }
    if (ended.signal != 0) {
        return signal_text(ended.signal) + ": an MD engine would die in the same way" + last_output(child.output());
    }
    return "ends its process with exit code " + std::to_string(ended.exit_code) +
           ": an MD engine would stop here without a word" + last_output(child.output());
}

void Supervisor::take_end(const ChildProcess& child) {
    report_.peak_memory = std::max(report_.peak_memory, child.ended().peak_memory);
    const bool clean = child.ended().signal == 0 && child.ended().exit_code == 0 && killed_because_.empty();
    if (end_received_ && clean) {
        next_ = selection_.size();
        return;
    }
    ++deaths_;
    blame(reason_of_end(child));
    if (deaths_ >= most_deaths && given_up_.empty()) {
        give_up("the model has killed " + std::to_string(deaths_) + " processes already");
    }
}

/// Writes the end of a worker down as the failure that it is.
void Supervisor::blame(const std::string& message) {
    const std::string text = "the model " + message;
    if (end_received_ || (checked_ && next_ == selection_.size())) {
        load_failure_ = "when its process ends, after all checks, " + text;
        next_ = selection_.size();
        return;
    }
    if (!running_.has_value() && checked_) {
        running_ = next_;  // between two checks: the second can not run
    }
    const bool in_load_check = running_.has_value() && selection_[*running_].check->family == "LOAD";
    if (!running_.has_value() || (loading_ && !in_load_check)) {
        load_failure_ = (loading_ ? "while it is loaded, " : "before anything was checked, ") + text;
        give_up(not_loaded);
        return;
    }
    const size_t k = *running_;
    const auto& wanted = selection_[k].wanted;
    results_[k].push_back(failed(wanted.front(), (loading_ ? "while it is loaded, " : "") + text));
    results_[k].front().seconds = seconds_since(since_);
    for (size_t n = 1; n < wanted.size(); ++n) {
        results_[k].push_back(skipped(wanted[n], "the process ended before this was measured"));
    }
    for (auto& result : results_[k]) {
        result.target = target_;
    }
    advance_past(k);
    if (loading_) {
        give_up(not_loaded);
    }
}

void Supervisor::give_up(const std::string& reason) { given_up_ = reason; }

void Supervisor::assemble() {
    for (size_t k = 0; k < selection_.size(); ++k) {
        const auto& selected = selection_[k];
        if (results_[k].empty() && !selected.wanted.empty() && !given_up_.empty()) {
            for (const auto& name : selected.wanted) {
                results_[k].push_back(skipped(name, given_up_));
            }
        }
        add_results(*selected.check, std::move(results_[k]), report_);
        add_results(*selected.check, selected.waived, report_);
    }
    if (!load_failure_.empty()) {
        add_load_failure(load_failure_, report_);
    }
}

}  // namespace

Report supervise(const VerifyOptions& options, const Supervision& how) { return Supervisor(options, how).run(); }

}  // namespace mtt
