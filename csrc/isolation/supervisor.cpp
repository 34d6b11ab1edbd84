// Runs the checks here, and the model in processes of its own, which are replaced when the model has ended them.
#include "mtt/supervisor.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <fstream>
#include <functional>
#include <future>
#include <mutex>
#include <random>

#include "mtt/isolation/machine.hpp"
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
uint64_t default_memory_limit(int processes) {
    uint64_t there = uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGE_SIZE));
    uint64_t group = 0;
    if (std::ifstream("/sys/fs/cgroup/memory.max") >> group) {
        there = std::min(there, group);
    }
    return std::min(default_memory, there / 4 * 3 / uint64_t(processes));
}

/// A text that is the first that somebody says, from whichever thread; empty until then.
class FirstText {
public:
    [[nodiscard]] std::string get() const {
        const std::lock_guard<std::mutex> guard(lock_);
        return text_;
    }
    void say(const std::string& text) {
        const std::lock_guard<std::mutex> guard(lock_);
        text_ = text_.empty() ? text : text_;
    }

private:
    mutable std::mutex lock_;
    std::string text_;
};

/// What the processes share, of which one may stop the other.
struct Verdict {
    /// Why the checks that are left do not run; empty: they run.
    FirstText given_up;
    FirstText load_failure;
    std::atomic<size_t> deaths{0};

    void count_death() {
        if (const size_t n = ++deaths; n >= most_deaths) {
            given_up.say("the model has killed " + std::to_string(n) + " processes already");
        }
    }
};

/// What gets out of the checks of one process, such as a signal, ends those of the other.
class StopsOther {
public:
    explicit StopsOther(Verdict& verdict): verdict_(verdict) {}
    ~StopsOther() {
        if (std::uncaught_exceptions() > before_) {
            verdict_.given_up.say("checks in the other process could not go on");
        }
    }
    StopsOther(const StopsOther&) = delete;
    StopsOther& operator=(const StopsOther&) = delete;

private:
    Verdict& verdict_;
    int before_ = std::uncaught_exceptions();
};

/// The model in a process, or in one after the other as it ends them, and the checks that run there.
class Lane {
public:
    Lane(const VerifyOptions& options, const Supervision& how, const std::vector<Selected>& selection, Verdict& verdict):
        options_(options), selection_(selection), verdict_(verdict), results_(selection.size()),
        host_(std::make_shared<RemoteHost>(options, how)), runner_(options, host_) {
        runner_.on_target([this](const std::string& name) {
            target_ = name;
            began_ = Clock::now();
            host_->begin();  // the time limit holds for each of them
        });
    }

    /// Starts the process, and says what is known before anything is loaded.
    void describe_file() {
        host_->begin();
        runner_.describe_file(report_);
    }
    /// Whether the system lets us have the process.
    bool can_start() {
        try {
            host_->begin();
            return true;
        } catch (const ModelProcessEnded&) {
            return true;  // the first check says so
        } catch (const std::runtime_error&) {
            return false;
        }
    }
    /// Runs the checks of this turn that `mine` is true of.
    void run(Turn turn, const std::function<bool(const Check&)>& mine);
    /// Lets the process end by itself.
    void finish();
    [[nodiscard]] std::vector<Result>& results(size_t k) { return results_[k]; }
    [[nodiscard]] Report& report() { return report_; }
    [[nodiscard]] const RemoteHost& host() const { return *host_; }

private:
    void run_check(size_t k);
    void blame(const Selected& selected, const ModelProcessEnded& end, std::vector<Result>& results);
    void describe_model();

    const VerifyOptions& options_;
    const std::vector<Selected>& selection_;
    Verdict& verdict_;
    std::vector<std::vector<Result>> results_;
    /// What this process has shown of file and model.
    Report report_;
    std::shared_ptr<RemoteHost> host_;
    Runner runner_;
    Clock::time_point began_ = Clock::now();
    /// Of the check that runs, if the model has several.
    std::string target_;
};

void Lane::run(Turn turn, const std::function<bool(const Check&)>& mine) {
    for (size_t k = 0; k < selection_.size() && verdict_.given_up.get().empty(); ++k) {
        const auto& check = *selection_[k].check;
        if (!selection_[k].wanted.empty() && check.turn == turn && mine(check)) {
            run_check(k);
        }
    }
}

void Lane::run_check(size_t k) {
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
        verdict_.count_death();
        if (host_->out_of_time()) {
            verdict_.given_up.say("the time for the whole verification was used up");
        }
    }
    if (!runner_.problem().empty()) {
        verdict_.load_failure.say(runner_.problem());
    }
}

/// Writes the end of the model's process down as the failure that it is.
void Lane::blame(const Selected& selected, const ModelProcessEnded& end, std::vector<Result>& results) {
    const std::string text = (end.loading ? "while it is loaded, the model " : "the model ") + end.reason;
    if (end.loading) {
        verdict_.given_up.say(not_loaded);
        if (selected.check->family != "LOAD") {
            verdict_.load_failure.say(text);
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
void Lane::describe_model() {
    const auto field = report_.model.has_value() ? report_.model->receptive_field : std::nullopt;
    runner_.describe_model(report_);
    if (report_.model.has_value() && !report_.model->receptive_field.has_value()) {
        report_.model->receptive_field = field;
    }
}

void Lane::finish() {
    try {
        runner_.forget_instances();
        host_->finish();
    } catch (const ModelProcessEnded& end) {
        verdict_.load_failure.say("when its process ends, after all checks, the model " + end.reason);
    }
}

bool loads(const Check& check) { return check.family == "LOAD"; }
bool of_second(const Check& check) { return is_second(check.family); }
bool others(const Check& check) { return !loads(check); }
bool of_first(const Check& check) { return others(check) && !of_second(check); }

/// In one process if there is nothing to do for two.
VerifyOptions prepared(VerifyOptions options) {
    const auto selection = select_checks(options);
    const auto any = [&](bool (*mine)(const Check&)) {
        return std::any_of(selection.begin(), selection.end(), [&](const Selected& selected) {
            return !selected.wanted.empty() && selected.check->turn != Turn::last && mine(*selected.check);
        });
    };
    if (!any(of_first) || !any(of_second)) {
        options.processes = 1;
    }
    return with_limits(std::move(options));
}

class Supervisor {
public:
    Supervisor(const VerifyOptions& options, const Supervision& how): options_(prepared(options)), how_(how) {
        if (options_.progress) {
            options_.progress = [this, shown = options_.progress](const std::string& family, const std::string& name) {
                const std::lock_guard<std::mutex> guard(progress_lock_);
                shown(family, name);
            };
        }
    }
    Report run();

private:
    void run_checks();
    void merge();
    void assemble();

    VerifyOptions options_;
    Supervision how_;
    std::mutex progress_lock_;
    std::vector<Selected> selection_ = select_checks(options_);
    Verdict verdict_;
    Lane first_{options_, how_, selection_, verdict_};
    /// Beside the first, if there are two.
    std::unique_ptr<Lane> second_;
    Report report_;
};

Report Supervisor::run() {
    const auto start = Clock::now();
    describe_options(options_, first_.report());
    // Beside the worker: both read the whole file.
    auto sum = std::async(std::launch::async, file_sha256, options_.path);
    try {
        first_.describe_file();
        run_checks();
    } catch (const ModelProcessEnded& end) {
        verdict_.load_failure.say("before anything was checked, the model " + end.reason);
        verdict_.given_up.say(not_loaded);
    }
    merge();
    report_.sha256 = sum.get();
    assemble();
    leave_out_domains(options_, report_);
    judge(report_);
    report_.seconds = seconds_since(start);
    return std::move(report_);
}

void Supervisor::run_checks() {
    first_.run(Turn::any, loads);
    const bool goes_on = verdict_.given_up.get().empty() && verdict_.load_failure.get().empty();
    if (options_.processes > 1 && goes_on) {
        auto how = how_;
        how.warn = nullptr;  // the first has said it
        second_ = std::make_unique<Lane>(options_, how, selection_, verdict_);
        // The process that a thread starts ends with the thread.
        auto beside = std::async(std::launch::async, [&] {
            const StopsOther guard(verdict_);
            if (!second_->can_start()) {
                return false;
            }
            second_->run(Turn::any, of_second);
            second_->run(Turn::last, others);
            second_->finish();
            return true;
        });
        {
            const StopsOther guard(verdict_);
            first_.run(Turn::any, of_first);
        }
        if (!beside.get()) {
            second_.reset();
            first_.run(Turn::any, of_second);
        }
    } else {
        first_.run(Turn::any, others);
    }
    first_.run(Turn::alone, others);
    first_.run(Turn::last, others);
    first_.finish();
}

/// One report of what both processes have shown.
void Supervisor::merge() {
    report_ = std::move(first_.report());
    report_.isolation = first_.host().isolation();
    report_.isolation.process = true;
    report_.isolation.processes = second_ == nullptr ? 1 : 2;
    report_.isolation.time_limit = options_.time_limit;
    report_.isolation.memory_limit = options_.memory_limit;
    report_.peak_memory = first_.host().peak_memory();
    if (second_ == nullptr) {
        return;
    }
    for (const auto& note : second_->host().isolation().notes) {
        auto& notes = report_.isolation.notes;
        if (std::find(notes.begin(), notes.end(), note) == notes.end()) {
            notes.push_back(note);
        }
    }
    auto& other = second_->report();
    report_.peak_memory += second_->host().peak_memory();
    report_.calls += other.calls;
    if (!report_.model.has_value()) {
        report_.model = other.model;
        report_.golden_pack = other.golden_pack;
    } else if (other.model.has_value() && !report_.model->receptive_field.has_value()) {
        report_.model->receptive_field = other.model->receptive_field;
    }
}

/// Of one check in both processes: a failure stands for what passed, and beside another failure.
std::vector<Result> both(std::vector<Result> first, std::vector<Result> second) {
    const size_t n = first.size();
    for (auto& other : second) {
        const auto end = first.begin() + std::ptrdiff_t(n);
        const auto same = std::find_if(first.begin(), end, [&](const Result& one) {
            return one.name == other.name && one.target == other.target;
        });
        if (same == end || (other.status == Status::fail && same->status == Status::fail && other.message != same->message)) {
            first.push_back(std::move(other));
        } else if (other.status == Status::fail && same->status != Status::fail) {
            *same = std::move(other);
        }
    }
    return first;
}

void Supervisor::assemble() {
    for (size_t k = 0; k < selection_.size(); ++k) {
        const auto& selected = selection_[k];
        auto results = std::move(first_.results(k));
        if (second_ != nullptr) {
            results = both(std::move(results), std::move(second_->results(k)));
        }
        if (results.empty() && !verdict_.given_up.get().empty()) {
            for (const auto& name : selected.wanted) {
                results.push_back(skipped(name, verdict_.given_up.get()));
            }
        }
        add_results(*selected.check, std::move(results), report_);
        add_results(*selected.check, selected.waived, report_);
    }
    if (!verdict_.load_failure.get().empty()) {
        add_load_failure(verdict_.load_failure.get(), report_);
    }
}

}  // namespace

VerifyOptions with_limits(VerifyOptions options) {
    check_input(options.path);
    if (options.time_limit <= 0) {
        options.time_limit = default_time_limit(options.level);
    }
    if (options.processes <= 0) {
        // Without a number of threads, each takes all cores.
        options.processes = options.threads == 0 ? 1 : std::clamp(usable_cores() / options.threads, 1, 2);
    }
    if (options.memory_limit == 0) {
        options.memory_limit = default_memory_limit(options.processes);
    }
    if (!options.seed.has_value() && !options.record) {  // what is recorded is the same every time
        options.seed = 1 + std::random_device{}() % (uint64_t(1) << 31);
    }
    return options;
}

Report supervise(const VerifyOptions& options, const Supervision& how) { return Supervisor(options, how).run(); }

}  // namespace mtt
