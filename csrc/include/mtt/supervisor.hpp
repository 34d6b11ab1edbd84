// Runs the model in processes of its own, one after the other as it kills them. This process never loads the model.
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
    /// Means of protection not to use, for tests of the others.
    std::vector<std::string> without;
};

struct MTT_EXPORT Interrupted {
    int signal;
};

/// The same report as `verify`. Whatever the model does to its process is a failure of the check that ran.
/// @throws std::invalid_argument, std::runtime_error as `verify`; Interrupted
MTT_EXPORT Report supervise(const VerifyOptions& options, const Supervision& how);

/// The other end: reads its orders from standard input, runs checks and writes what they found, line by line.
MTT_EXPORT int run_worker();

}  // namespace mtt
