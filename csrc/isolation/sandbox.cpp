#include "mtt/isolation/sandbox.hpp"

#include <algorithm>
#include <fstream>

#ifdef __linux__
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace mtt {

#ifdef __linux__

namespace {

constexpr uint64_t largest_file = uint64_t(256) << 20;
constexpr uint64_t most_open_files = 1024;

bool set_limit(int resource, uint64_t value) {
    rlimit limit{};
    if (getrlimit(__rlimit_resource_t(resource), &limit) != 0) {
        return false;
    }
    limit.rlim_cur = std::min<rlim_t>(value, limit.rlim_max);
    limit.rlim_max = limit.rlim_cur;
    return setrlimit(__rlimit_resource_t(resource), &limit) == 0;
}

/// Address space is not limited, since libtorch reserves much more than it uses; nor is the number of processes,
/// which is counted over all that the user runs: the filter refuses new ones.
void apply_limits(const SandboxLimits& limits, Isolation& out) {
    bool all = set_limit(RLIMIT_CORE, 0);
    all = set_limit(RLIMIT_FSIZE, largest_file) && all;
    all = set_limit(RLIMIT_NOFILE, most_open_files) && all;
    if (limits.cpu_seconds > 0) {
        all = set_limit(RLIMIT_CPU, limits.cpu_seconds) && all;
    }
#ifndef MTT_SANITIZED  // the shadow memory of a sanitizer is larger than any limit
    if (limits.memory > 0) {
        // For what is asked for at once; the supervisor looks at what is used.
        all = set_limit(RLIMIT_DATA, 2 * limits.memory) && all;
    }
#endif
    if (!all) {
        out.notes.emplace_back("the system refused some of the limits");
    }
    // Should memory run out for others first, the kernel takes this process.
    std::ofstream("/proc/self/oom_score_adj") << 500;
}

/// Root keeps the right to read; the model file may belong to someone else.
bool drop_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    if (syscall(SYS_capget, &header, data) != 0) {
        return false;
    }
    data[0].effective &= 1U << CAP_DAC_READ_SEARCH;
    data[0].permitted &= 1U << CAP_DAC_READ_SEARCH;
    data[0].inheritable = 0;
    data[1] = {};
    return syscall(SYS_capset, &header, data) == 0;
}

/// For kernels without the filter.
bool leave_network() { return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && drop_capabilities(); }

/// The kernel forgets this wish when rights change.
void die_with_parent() { prctl(PR_SET_PDEATHSIG, SIGKILL); }

}  // namespace

Isolation enter_sandbox(const SandboxLimits& limits) {
    const auto use = [&limits](const char* mean) {
        return std::find(limits.without.begin(), limits.without.end(), mean) == limits.without.end();
    };
    Isolation out;
    out.process = true;
    if (use("limits")) {
        apply_limits(limits, out);
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const bool landlocked = use("landlock") && landlock::restrict_writing(limits.scratch);
    if (!drop_capabilities()) {
        out.notes.emplace_back("capabilities could not be dropped");
    }
    die_with_parent();
    const bool filtered = use("seccomp") && seccomp::install(landlocked);
    if (landlocked) {
        out.filesystem = "read-only outside a scratch folder (Landlock)";
    } else if (filtered) {
        out.filesystem = "read-only (seccomp)";
    }
    if (filtered) {
        out.network = "none (seccomp)";
    } else {
        out.notes.emplace_back("no filter of system calls: the model can start processes and change attributes of files");
        if (leave_network()) {
            out.network = "none (namespace)";
        }
        die_with_parent();
    }
    out.notes.emplace_back("the model can read what you can read");
    return out;
}

#else

Isolation enter_sandbox(const SandboxLimits&) {
    Isolation out;
    out.process = true;
    out.notes.emplace_back("the means to restrict a process exist on Linux only");
    return out;
}

#endif

}  // namespace mtt
