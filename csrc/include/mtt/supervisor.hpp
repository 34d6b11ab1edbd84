// Runs the model in processes of its own, one or two at a time, and others as it kills them. This process never loads the
// model.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "mtt/export.hpp"
#include "mtt/verify.hpp"

namespace mtt {

/// How `mtt-verify` is started as worker.
inline constexpr const char* worker_flag = "--worker";
/// First argument of `mtt-verify` for `serve_predictions`.
inline constexpr const char* predict_flag = "--predict";

struct Supervision {
    /// The program to start as worker, with its arguments: {"path/to/mtt-verify", worker_flag}, or one of your own that
    /// calls `run_worker`.
    std::vector<std::string> worker;
    /// Set by a signal handler: end at once.
    const std::atomic<int>* interrupted = nullptr;
    /// This program has no children but workers, so all that is left when one has ended can be killed.
    bool owns_children = false;
    /// Called, before the model is loaded, with what is missing of the sandbox here; not if nothing is.
    std::function<void(const std::string&)> warn;
    /// Seconds below which no answer to a call can be the work of a model: through metatomic a pair of atoms takes five
    /// times as long.
    double fastest_call = 60e-6;
    /// Means of protection not to use, for tests of the others.
    std::vector<std::string> without;
};

struct MTT_EXPORT Interrupted {
    int signal;
};

/// The same report as `verify` of a sound model. Whatever the model does to its process is a failure of the check that ran.
/// @throws std::invalid_argument, std::runtime_error as `verify`; Interrupted
MTT_EXPORT Report supervise(const VerifyOptions& options, const Supervision& how);

/// Options with time and memory limits, chosen by level and machine where the caller left them open.
/// @throws std::runtime_error if there is no such file
VerifyOptions with_limits(VerifyOptions options);

/// Answers requests on standard input with numbers of the model, until there are no more.
/// @return exit code
MTT_EXPORT int serve_predictions(VerifyOptions options, const Supervision& how, bool widened);

/// The other end: reads its orders from standard input, and answers one question after the other.
MTT_EXPORT int run_worker();

}  // namespace mtt
