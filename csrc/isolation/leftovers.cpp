// What is left of processes that have ended, and what others may do to this one.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <filesystem>
#include <fstream>
#include <string>

#include "mtt/isolation/process.hpp"

namespace mtt {

namespace fs = std::filesystem;

void close_to_others() {
#ifdef __linux__
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

void end_with_caller() {
#ifdef __linux__
    // Somebody else's child, such as a script's that stands in for this program, does not know whom it is for.
    const char* caller = std::getenv("MTT_VERIFY_CALLER");
    const auto is_parent = [caller] { return std::to_string(getppid()) == caller; };
    if (caller != nullptr && is_parent()) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (!is_parent()) {
            raise(SIGTERM);
        }
    }
#endif
}

void adopt_orphans() {
#ifdef __linux__
    prctl(PR_SET_CHILD_SUBREAPER, 1);
#endif
}

namespace {

/// Whether there were any that are no `ChildProcess`.
bool kill_children(const std::string& self) {
    RunningChildren running;
    bool any = false;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
        const std::string name = entry.path().filename().string();
        if (name.find_first_not_of("0123456789") != std::string::npos) {
            continue;
        }
        const auto pid = pid_t(std::stol(name));
        if (running.pids().count(pid) > 0) {
            continue;
        }
        std::string stat;
        std::getline(std::ifstream(entry.path() / "stat"), stat);
        // "PID (NAME) STATE PARENT ...", where NAME may hold anything.
        const size_t name_end = stat.rfind(')');
        if (name_end != std::string::npos && stat.compare(name_end + 3, self.size() + 2, " " + self + " ") == 0) {
            any = true;
            kill(pid, SIGKILL);
            waitpid(pid, nullptr, WNOHANG);
        }
    }
    return any;
}

}  // namespace

void kill_leftovers() {
#ifdef __linux__
    const std::string self = std::to_string(getpid());
    // Each round kills those whose parents died in the last one.
    for (int round = 0; round < 1000 && kill_children(self); ++round) {
        usleep(1000);
    }
#endif
}

}  // namespace mtt
