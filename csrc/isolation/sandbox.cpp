#include "mtt/isolation/sandbox.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "mtt/isolation/libraries.hpp"

#ifdef __linux__
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace mtt {

namespace {

constexpr const char* weak = "weak sandbox: ";
constexpr const char* missing = "no sandbox: ";

}  // namespace

std::string weakness(const Isolation& isolation) {
    for (const auto& note : isolation.notes) {
        if (note.rfind(weak, 0) == 0 || note.rfind(missing, 0) == 0) {
            return note;
        }
    }
    return "";
}

#ifdef __linux__

namespace {

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
    bool all = true;
    for (const int nothing : {RLIMIT_CORE, RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, RLIMIT_RTPRIO, RLIMIT_NICE}) {
        all = set_limit(nothing, 0) && all;
    }
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
}

/// Bits of the first 32; those that this process does not have are not given to it.
bool set_capabilities(uint32_t permitted, uint32_t effective) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    if (syscall(SYS_capget, &header, data) != 0) {
        return false;
    }
    data[0].permitted &= permitted;
    data[0].effective = data[0].permitted & effective;
    data[0].inheritable = 0;
    data[1] = {};
    return syscall(SYS_capset, &header, data) == 0;
}

bool can_read(const std::vector<std::string>& paths) {
    return std::all_of(paths.begin(), paths.end(), [](const std::string& path) {
        return faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) == 0 || errno == ENOENT;
    });
}

/// All of them, but for one case: root verifies a file that belongs to somebody else. Where Landlock confines reading,
/// root then keeps the right to read what belongs to others.
void drop_capabilities(const std::vector<std::string>& readable, bool confined, Isolation& out) {
    constexpr uint32_t read_all = 1U << CAP_DAC_READ_SEARCH;
    if (confined && set_capabilities(read_all, 0) && !can_read(readable)) {
        set_capabilities(read_all, read_all);
    } else if (!set_capabilities(0, 0)) {
        out.notes.emplace_back("capabilities could not be dropped");
    }
}

/// For kernels without the filter.
bool leave_network() { return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && set_capabilities(0, 0); }

/// The kernel forgets this wish when rights change, and it does not look back: a parent may be gone already.
void die_with(pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
}

/// Rights belong to a thread, and those of threads that run already stay as they are.
bool is_only_thread() {
    std::error_code unreadable;
    const std::filesystem::directory_iterator threads("/proc/self/task", unreadable);
    return !unreadable && std::distance(begin(threads), end(threads)) == 1;
}

struct Means {
    /// 0: none.
    long landlock = 0;
    bool seccomp = false;
};

/// What is in force, in words; what is not comes first in the notes.
void describe(const Means& means, bool without_network, Isolation& out) {
    const bool confined = means.landlock > 0;
    const std::string version = "Landlock " + std::to_string(means.landlock);
    out.protects = means.seccomp || means.landlock >= landlock::against_all_writing;
    if (out.protects) {
        out.filesystem = std::string("nothing can be written (") + (means.seccomp ? "seccomp" : version) + ")";
        out.filesystem += confined ? ", only libraries, the model and its extensions can be read (" + version + ")" : "";
    }
    if (means.seccomp || without_network) {
        out.network = means.seccomp ? "none (seccomp)" : "none (namespace)";
    }
    std::string lack;
    if (!out.protects) {
        lack = std::string(missing) + "neither seccomp nor Landlock 3 (Linux 6.2) is there; the model can do what you can do";
    } else if (!means.seccomp) {
        lack = std::string(weak) + "no seccomp here: the model can start processes, change modes and attributes of files, "
               "and reach other processes of yours";
    } else if (!confined) {
        lack = std::string(weak) + "no Landlock here (Linux 5.13): the model can read all files that you can read, and "
               "put what it read into its messages";
    }
    if (!lack.empty()) {
        out.notes.insert(out.notes.begin(), lack);
    }
}

}  // namespace

Isolation enter_sandbox(const SandboxLimits& limits) {
    const auto use = [&limits](const char* mean) {
        return std::find(limits.without.begin(), limits.without.end(), mean) == limits.without.end();
    };
    const pid_t parent = getppid();
    Isolation out;
    out.process = true;
    // Should memory run out for others first, the kernel takes this process.
    std::ofstream("/proc/self/oom_score_adj") << 500;
    if (use("limits")) {
        apply_limits(limits, out);
    }
    umask(077);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    Means means;
    auto readable = library_paths();
    for (const auto& paths : {machine_paths(), limits.readable}) {
        readable.insert(readable.end(), paths.begin(), paths.end());
    }
    const long version = landlock::version(limits.without);
    const bool only_thread = is_only_thread();
    if (only_thread && landlock::restrict_files(version, readable)) {
        means.landlock = version;
    }
    drop_capabilities(limits.readable, means.landlock > 0, out);
    die_with(parent);
    means.seccomp = use("seccomp") && seccomp::install();
    const bool left_network = !means.seccomp && leave_network();
    if (left_network) {
        die_with(parent);
    }
    describe(means, left_network, out);
    if (!only_thread) {
        out.notes.emplace_back("threads ran before the sandbox was there, so Landlock was not used");
    }
    for (const auto& mean : limits.without) {
        out.notes.push_back("not used, as MTT_VERIFY_WITHOUT asks: " + mean);
    }
    return out;
}

#else

Isolation enter_sandbox(const SandboxLimits&) {
    Isolation out;
    out.process = true;
    out.notes.push_back(std::string(missing) + "the means to restrict a process exist on Linux only");
    return out;
}

#endif

}  // namespace mtt
