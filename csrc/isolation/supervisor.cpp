// Runs the checks here, and the model in a process of its own that is replaced when the model has ended it.
#include "mtt/supervisor.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <future>
#include <random>
#include <stdexcept>

#include "mtt/isolation/remote.hpp"
#include "mtt/runner/files.hpp"
#include "mtt/runner/clock.hpp"
#include "mtt/runner/runner.hpp"
#include "mtt/runner/verdicts.hpp"

namespace mtt {

namespace {

constexpr size_t most_deaths = 10;
constexpr uint64_t default_memory = uint64_t(16) << 30;

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

class Supervisor {
public:
    Supervisor(const VerifyOptions& options, const Supervision& how):
        options_(with_limits(options)), selection_(select_checks(options_)), results_(selection_.size()),
        host_(std::make_shared<RemoteHost>(options_, how)), runner_(options_, host_) {
        runner_.on_target([this](const std::string& name) {
            target_ = name;
            began_ = Clock::now();
            host_->begin();  // the time limit holds for each of them
        });
    }
    Report run();

private:
    void run_check(size_t k);
    void blame(const Selected& selected, const ModelProcessEnded& end, std::vector<Result>& results);
    void describe_model();
    void finish();
    void assemble();

    VerifyOptions options_;
    std::vector<Selected> selection_;
    std::vector<std::vector<Result>> results_;
    Report report_;
    std::shared_ptr<RemoteHost> host_;
    Runner runner_;
    Clock::time_point began_ = Clock::now();
    /// Of the check that runs, if the model has several.
    std::string target_;
    size_t deaths_ = 0;
    std::string load_failure_;
    /// Why the checks that are left do not run.
    std::string given_up_;
};

Report Supervisor::run() {
    const auto start = Clock::now();
    describe_options(options_, report_);
    // Beside the worker: both read the whole file.
    auto sum = std::async(std::launch::async, file_sha256, options_.path);
    try {
        host_->begin();
        runner_.describe_file(report_);
        for (size_t k = 0; k < selection_.size() && given_up_.empty(); ++k) {
            if (!selection_[k].wanted.empty()) {
                run_check(k);
            }
        }
        finish();
    } catch (const ModelProcessEnded& end) {
        load_failure_ = "before anything was checked, the model " + end.reason;
        given_up_ = not_loaded;
    }
    report_.isolation = host_->isolation();
    report_.isolation.process = true;
    report_.isolation.time_limit = options_.time_limit;
    report_.isolation.memory_limit = options_.memory_limit;
    report_.peak_memory = host_->peak_memory();
    report_.sha256 = sum.get();
    if (load_failure_.empty()) {
        load_failure_ = runner_.problem();
    }
    assemble();
    leave_out_domains(options_, report_);
    judge(report_);
    report_.seconds = seconds_since(start);
    return std::move(report_);
}

void Supervisor::run_check(size_t k) {
    const auto& selected = selection_[k];
    if (options_.progress) {
        options_.progress(selected.check->family, selected.check->name);
    }
    target_.clear();
    began_ = Clock::now();
    try {
        host_->begin();
        results_[k] = runner_.run(selected);
        describe_model();
    } catch (const ModelProcessEnded& end) {
        runner_.forget_instances();
        blame(selected, end, results_[k]);
        if (++deaths_ >= most_deaths && given_up_.empty()) {
            given_up_ = "the model has killed " + std::to_string(deaths_) + " processes already";
        }
        if (host_->out_of_time()) {
            given_up_ = "the time for the whole verification was used up";
        }
    }
}

/// Writes the end of the model's process down as the failure that it is.
void Supervisor::blame(const Selected& selected, const ModelProcessEnded& end, std::vector<Result>& results) {
    const std::string text = (end.loading ? "while it is loaded, the model " : "the model ") + end.reason;
    if (end.loading) {
        given_up_ = not_loaded;
        if (selected.check->family != "LOAD") {
            load_failure_ = text;
            return;
        }
    }
    results = {failed(selected.wanted.front(), text).as(Severity::stops)};
    results.front().seconds = seconds_since(began_);
    for (size_t n = 1; n < selected.wanted.size(); ++n) {
        results.push_back(skipped(selected.wanted[n], "the process ended before this was measured"));
    }
    for (auto& result : results) {
        result.target = target_;
    }
}

/// After each check, since it may be the last for which there is an instance.
void Supervisor::describe_model() {
    const auto field = report_.model.has_value() ? report_.model->receptive_field : std::nullopt;
    runner_.describe_model(report_);
    if (report_.model.has_value() && !report_.model->receptive_field.has_value()) {
        report_.model->receptive_field = field;
    }
}

void Supervisor::finish() {
    try {
        runner_.forget_instances();
        host_->finish();
    } catch (const ModelProcessEnded& end) {
        load_failure_ = "when its process ends, after all checks, the model " + end.reason;
    }
}

void Supervisor::assemble() {
    for (size_t k = 0; k < selection_.size(); ++k) {
        const auto& selected = selection_[k];
        if (results_[k].empty() && !given_up_.empty()) {
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

VerifyOptions with_limits(VerifyOptions options) {
    check_input(options.path);
    if (options.time_limit <= 0) {
        options.time_limit = default_time_limit(options.level);
    }
    if (options.memory_limit == 0) {
        options.memory_limit = default_memory_limit();
    }
    if (!options.seed.has_value() && !options.record) {  // what is recorded is the same every time
        options.seed = 1 + std::random_device{}() % (uint64_t(1) << 31);
    }
    return options;
}

Report supervise(const VerifyOptions& options, const Supervision& how) { return Supervisor(options, how).run(); }

}  // namespace mtt
