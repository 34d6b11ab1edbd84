#include "mtt/isolation/remote.hpp"

#include <algorithm>
#include <new>
#include <random>

#include "mtt/isolation/answers.hpp"
#include "mtt/isolation/endings.hpp"
#include "mtt/isolation/sandbox.hpp"
#include "mtt/physics/compare.hpp"
#include "mtt/runner/clock.hpp"
#include "mtt/runner/runner.hpp"

namespace mtt {

namespace {

constexpr double total_over_check = 10.0;
constexpr double turn = 0.02;
/// The model can start threads, and many of them starve the machine.
constexpr uint64_t most_threads = 1024;
constexpr const char* ended_before = "has ended its process before";
constexpr const char* tampers = "writes into the channel that its numbers come through: it tampers with the program that checks it";

uint64_t random_number() {
    thread_local std::random_device random;
    return (uint64_t(random()) << 32) | random();
}

}  // namespace

/// The records that were read before anything was loaded.
class RemoteArchive final : public ArchiveView {
public:
    RemoteArchive(std::string path, FileFacts facts, RemoteHost& host):
        path_(std::move(path)), facts_(std::move(facts)), host_(host) {}

    [[nodiscard]] const std::string& path() const override { return path_; }
    [[nodiscard]] FileKind kind() const override {
        return facts_.kind > uint32_t(FileKind::unknown) ? FileKind::unknown : FileKind(facts_.kind);
    }
    [[nodiscard]] uint64_t bytes() const override { return facts_.bytes; }
    [[nodiscard]] std::vector<std::string> records() const override { return facts_.records; }
    [[nodiscard]] bool has(const std::string& record) const override {
        return std::find(facts_.records.begin(), facts_.records.end(), record) != facts_.records.end();
    }
    [[nodiscard]] std::string read(const std::string& record) const override {
        const auto content = facts_.contents.find(record);
        if (content != facts_.contents.end()) {
            return content->second;
        }
        const auto problem = facts_.problems.find(record);
        throw std::runtime_error(
            problem != facts_.problems.end() ? problem->second : "no record '" + record + "' in '" + path_ + "'"
        );
    }
    [[nodiscard]] std::vector<std::string> damaged_records() const override {
        return host_.ask<std::vector<std::string>>(Question::damaged);
    }

private:
    std::string path_;
    FileFacts facts_;
    RemoteHost& host_;
};

class RemoteModel final : public Model {
public:
    RemoteModel(RemoteHost& host, Instance instance):
        host_(host), generation_(host.generation_), id_(instance.id), capabilities_(std::move(instance.capabilities)),
        requests_(std::move(instance.requests)) {}
    ~RemoteModel() override {
        if (generation_ == host_.generation_) {
            host_.pending_.emplace_back(Question::unload, id_);
        }
    }

    [[nodiscard]] uint64_t id() const { return id_; }
    [[nodiscard]] const Capabilities& capabilities() const override { return capabilities_; }
    [[nodiscard]] const std::vector<NeighborRequest>& requests() const override { return requests_; }
    Answer evaluate(const Call& call) override;
    void ask_for(const std::string& output) override {
        capabilities_ = ask<Instance>(Question::ask_for, output).capabilities;
    }
    std::vector<std::string> modules_in_training_mode() override { return ask<Texts>(Question::training_mode); }
    std::vector<std::string> warnings() override { return ask<Texts>(Question::warnings); }
    std::vector<std::string> left_on_cpu() override { return ask<Texts>(Question::left_on_cpu); }
    std::unique_ptr<Model> widened() override { return if_any(ask<std::optional<Instance>>(Question::widened)); }
    std::unique_ptr<Model> on_device(const std::string& device) override {
        return if_any(ask<std::optional<Instance>>(Question::on_device, device));
    }
    void disturb(uint64_t seed) override { ask<Nothing>(Question::disturb, seed); }
    void move_again() override { ask<Nothing>(Question::move_again); }

private:
    using Texts = std::vector<std::string>;

    template <class R, class... T>
    R ask(Question question, const T&... arguments) {
        if (generation_ != host_.generation_) {
            throw ModelProcessEnded{ended_before, false};
        }
        return host_.ask<R>(question, id_, arguments...);
    }
    std::unique_ptr<Model> if_any(std::optional<Instance> instance) {
        return instance.has_value() ? std::make_unique<RemoteModel>(host_, std::move(*instance)) : nullptr;
    }

    RemoteHost& host_;
    uint64_t generation_;
    uint64_t id_;
    Capabilities capabilities_;
    std::vector<NeighborRequest> requests_;
};

Answer RemoteModel::evaluate(const Call& call) {
    ++host_.calls_;
    Answer answer;
    try {
        answer = ask<Answer>(Question::evaluate, call);
    } catch (const EngineError&) {
        throw;
    } catch (const std::runtime_error& error) {
        throw CallFailed(error.what(), call.systems);
    }
    try {
        check_answer(answer, call);
    } catch (const PackingError&) {
        host_.end(tampers);
    }
    return answer;
}

RemoteHost::RemoteHost(const VerifyOptions& options, const Supervision& how): options_(options), how_(how) {
    if (how_.owns_children) {
        adopt_orphans();
        close_to_others();
    }
}

RemoteHost::~RemoteHost() {
    if (child_ != nullptr) {
        child_->kill();
        if (how_.owns_children) {
            kill_leftovers();
        }
    }
}

bool RemoteHost::out_of_time() const { return seconds_since(start_) > total_over_check * options_.time_limit; }

void RemoteHost::begin() {
    since_ = Clock::now();
    if (child_ == nullptr) {
        start();
    }
}

void RemoteHost::start() {
    Orders orders;
    orders.path = options_.path;
    orders.extensions = options_.extensions;
    orders.allowed = options_.allowed_operators;
    orders.units = {options_.length_unit, options_.energy_unit};
    orders.threads = options_.threads;
    orders.memory_limit = options_.memory_limit;
    orders.cpu_seconds = uint64_t(std::max(1, options_.threads) * total_over_check * options_.time_limit) + 60;
    orders.without = how_.without;
    ++generation_;
    pending_.clear();
    loaded_ = loading_ = false;
    child_ = std::make_unique<ChildProcess>(how_.worker);
    child_->send(framed(to_text(orders)));
    isolation_ = ask<Isolation>(Question::isolation);
    judge_sandbox();
    if (archive_ == nullptr) {
        auto facts = ask<FileFacts>(Question::file);
        foreign_ = facts.foreign;
        archive_ = std::make_shared<const RemoteArchive>(options_.path, std::move(facts), *this);
    }
}

void RemoteHost::judge_sandbox() {
    if (!isolation_.protects && options_.require_sandbox) {
        throw std::runtime_error(
            "the model was not run: this system offers no sandbox to run it in (neither seccomp nor Landlock 3), so it "
            "could read, change and send away all that you can; --no-require-sandbox runs it all the same"
        );
    }
    if (how_.warn && !warned_ && !weakness(isolation_).empty()) {
        warned_ = true;
        how_.warn(weakness(isolation_));
    }
}

template <class R, class... T>
R RemoteHost::ask(Question question, const T&... arguments) {
    Packer pack;
    pack(arguments...);
    auto answer = ask_packed(question, pack.take());
    try {
        auto out = answer.take<R>();
        answer.finish();
        return out;
    } catch (const PackingError&) {
        end(tampers);
    }
}

Unpacker RemoteHost::ask_packed(Question question, const std::string& arguments) {
    if (child_ == nullptr) {
        throw ModelProcessEnded{ended_before, false};
    }
    while (!pending_.empty()) {
        const auto [before, argument] = pending_.front();
        pending_.erase(pending_.begin());
        tell(before, argument);
    }
    loading_ = (question == Question::load && !loaded_) || question == Question::open_predictor;
    const uint64_t number = random_number();
    Packer head;
    head(number, question);
    const auto asked = Clock::now();
    child_->send(framed(head.take() + arguments));
    Unpacker answer(await());
    const double seconds = seconds_since(asked);
    auto outcome = Outcome::strange;
    std::string text;
    try {
        demand(answer.take<uint64_t>() == number);
        outcome = answer.take<Outcome>();
        demand(outcome <= Outcome::strange);
        if (outcome != Outcome::fine) {
            answer(text);
        }
    } catch (const PackingError&) {
        end(tampers);
    }
    if (question == Question::evaluate && outcome == Outcome::fine && seconds < how_.fastest_call) {
        end("answers faster than the arithmetic of a call allows: something else than the model answers");
    }
    loaded_ = loaded_ || (question == Question::load && outcome == Outcome::fine);
    loading_ = false;
    switch (outcome) {
        case Outcome::fine: return answer;
        case Outcome::engine_error: throw EngineError(text);
        case Outcome::no_memory: throw std::bad_alloc();
        case Outcome::error: throw std::runtime_error(text);
        case Outcome::strange: break;
    }
    throw StrangeException{};
}

std::string RemoteHost::await() {
    while (true) {
        bool finished = false;
        try {
            if (auto frame = child_->next_frame(turn)) {
                check_limits();  // also of a model that never lets us wait
                return std::move(*frame);
            }
            finished = child_->finished();
        } catch (const PackingError&) {
            end(tampers);
        }
        if (finished) {
            end(reason_of_end(*child_, options_.memory_limit));
        }
        check_limits();
    }
}

void RemoteHost::check_limits() {
    if (how_.interrupted != nullptr && *how_.interrupted != 0) {
        throw Interrupted{*how_.interrupted};
    }
    if (seconds_since(since_) > options_.time_limit) {
        end("takes more than " + short_number(options_.time_limit) +
            " s for this check (--time-limit): an MD engine would hang or crawl");
    }
    if (out_of_time()) {
        end("has used up the time for the whole verification, " +
            short_number(total_over_check * options_.time_limit) + " s");
    }
    if (seconds_since(looked_) > turn) {
        looked_ = Clock::now();
        const auto usage = child_->usage();
        if (usage.threads > most_threads + 4 * uint64_t(std::max(0, options_.threads))) {
            end("starts " + std::to_string(usage.threads) + " threads");
        }
        if (usage.memory > options_.memory_limit) {
            end("takes more memory than the limit of " + std::to_string(options_.memory_limit >> 20) +
                " MB (--memory-limit)");
        }
    }
}

void RemoteHost::end(const std::string& reason) {
    child_->kill();
    if (how_.owns_children) {
        kill_leftovers();
    }
    peak_memory_ = std::max(peak_memory_, child_->ended().peak_memory);
    child_.reset();
    ++generation_;
    throw ModelProcessEnded{reason, loading_};
}

void RemoteHost::finish() {
    if (child_ == nullptr) {
        return;
    }
    begin();
    tell(Question::end);
    while (!child_->finished()) {
        if (child_->next_frame(turn).has_value()) {
            end(tampers);
        }
        check_limits();
    }
    const auto ended = child_->ended();
    if (ended.signal != 0 || ended.exit_code != 0) {
        end(reason_of_end(*child_, options_.memory_limit));
    }
    peak_memory_ = std::max(peak_memory_, ended.peak_memory);
    child_.reset();
    ++generation_;
    if (how_.owns_children) {
        kill_leftovers();
    }
}

Capabilities RemoteHost::open_predictor(bool widened) { return ask<Capabilities>(Question::open_predictor, widened); }

std::vector<Prediction> RemoteHost::predict(const std::vector<System>& systems, const std::vector<Wanted>& wanted) {
    auto out = ask<std::vector<Prediction>>(Question::predict, systems, wanted);
    try {
        check_predictions(out, systems, wanted);
    } catch (const PackingError&) {
        end(tampers);
    }
    return out;
}

std::shared_ptr<const ArchiveView> RemoteHost::archive() { return archive_; }

std::unique_ptr<Model> RemoteHost::load() {
    return std::make_unique<RemoteModel>(*this, ask<Instance>(Question::load));
}

std::map<std::string, std::string> RemoteHost::state() {
    return ask<std::map<std::string, std::string>>(Question::state);
}

MemoryUse RemoteHost::memory() { return ask<MemoryUse>(Question::memory); }

void RemoteHost::reset_peak_memory() { tell(Question::reset_peak); }

std::shared_ptr<void> RemoteHost::with_executor(const Executor& executor) {
    tell(Question::push_executor, executor);
    return {nullptr, [this, generation = generation_](void*) {
        if (generation == generation_) {
            pending_.emplace_back(Question::pop_executor, 0);
        }
    }};
}

int RemoteHost::threads() { return ask<int>(Question::threads); }

void RemoteHost::set_threads(int threads) { tell(Question::set_threads, threads); }

bool RemoteHost::has_cuda() { return ask<bool>(Question::has_cuda); }

std::array<SideBySide, 2> RemoteHost::side_by_side(
    const std::array<Model*, 2>& models, const std::vector<Call>& calls, int rounds
) {
    const auto id = [&](size_t k) { return dynamic_cast<RemoteModel&>(*models[k]).id(); };
    calls_ += 2 * calls.size() * uint64_t(rounds);
    auto out = ask<std::array<SideBySide, 2>>(Question::side_by_side, id(0), id(1), calls, rounds);
    try {
        for (const auto& item : out) {
            demand(item.answers.size() <= calls.size() * size_t(rounds));
            demand(!item.problem.empty() || item.answers.size() == calls.size() * size_t(rounds));
            for (size_t k = 0; k < item.answers.size(); ++k) {
                check_answer(item.answers[k], calls[k % calls.size()]);
            }
        }
    } catch (const PackingError&) {
        end(tampers);
    }
    return out;
}

}  // namespace mtt
