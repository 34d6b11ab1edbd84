// The model in a process of its own: the other side of worker.cpp, which is not trusted.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "mtt/isolation/orders.hpp"
#include "mtt/isolation/process.hpp"
#include "mtt/model/host.hpp"
#include "mtt/runner/clock.hpp"
#include "mtt/supervisor.hpp"
#include "mtt/verify.hpp"

namespace mtt {

/// The process of the model has ended before it answered. No std::exception: no check may take it for an error that the
/// model throws.
struct ModelProcessEnded {
    /// What follows "the model ...".
    std::string reason;
    /// While the first instance was loaded.
    bool loading = false;
};

/// An answer without content.
struct Nothing {};
template <class P>
void describe(P&, Nothing&) {}

class RemoteHost final : public Host {
public:
    /// @param options with limits that are set
    RemoteHost(const VerifyOptions& options, const Supervision& how);
    ~RemoteHost() override;

    /// Starts the clock of what is allowed `time_limit` seconds. A process that has ended is followed by a new one.
    void begin();
    /// Asks the process to end by itself, and waits for that.
    /// @throws ModelProcessEnded if it ends in another way
    void finish();
    /// The whole verification may not take longer.
    [[nodiscard]] bool out_of_time() const;
    /// Largest resident memory of all processes that have ended.
    [[nodiscard]] uint64_t peak_memory() const { return peak_memory_; }
    [[nodiscard]] const Isolation& isolation() const { return isolation_; }

    /// Loads the model to ask for its numbers; once.
    Capabilities open_predictor(bool widened);
    std::vector<Prediction> predict(const std::vector<System>& systems, const std::vector<Wanted>& wanted);

    std::shared_ptr<const ArchiveView> archive() override;
    std::vector<Foreign> foreign() override { return foreign_; }
    std::unique_ptr<Model> load() override;
    std::map<std::string, std::string> state() override;
    MemoryUse memory() override;
    void reset_peak_memory() override;
    std::shared_ptr<void> with_executor(const Executor& executor) override;
    int threads() override;
    void set_threads(int threads) override;
    bool has_cuda() override;
    std::array<SideBySide, 2> side_by_side(const std::array<Model*, 2>& models, const std::vector<Call>& calls,
                                           int rounds) override;
    uint64_t calls() override { return calls_; }

private:
    friend class RemoteModel;
    friend class RemoteArchive;
    void start();
    /// @throws std::runtime_error where nothing protects the user from the model
    void judge_sandbox();
    /// Asks, and reads the answer as one value.
    template <class R, class... T>
    R ask(Question question, const T&... arguments);
    template <class... T>
    void tell(Question question, const T&... arguments) {
        ask<Nothing>(question, arguments...);
    }
    /// @throws ModelProcessEnded, Interrupted, and for the model EngineError, std::bad_alloc, std::runtime_error or
    ///     StrangeException
    Unpacker ask_packed(Question question, const std::string& arguments);
    /// @throws ModelProcessEnded, Interrupted
    std::string await();
    void check_limits();
    [[noreturn]] void end(const std::string& reason);

    VerifyOptions options_;
    Supervision how_;
    std::unique_ptr<ChildProcess> child_;
    /// Counts the processes: an instance of one that has ended can not be asked.
    uint64_t generation_ = 0;
    /// To be asked before the next question: of destructors, which could not tell how it ends.
    std::vector<std::pair<Question, uint64_t>> pending_;
    bool loaded_ = false;
    bool loading_ = false;
    Clock::time_point start_ = Clock::now();
    Clock::time_point since_ = Clock::now();
    Clock::time_point looked_ = Clock::now();
    uint64_t calls_ = 0;
    uint64_t peak_memory_ = 0;
    bool warned_ = false;
    Isolation isolation_;
    std::shared_ptr<const ArchiveView> archive_;
    std::vector<Foreign> foreign_;
};

}  // namespace mtt
