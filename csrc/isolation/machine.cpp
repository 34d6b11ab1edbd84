#include "mtt/isolation/machine.hpp"

#include <fenv.h>
#include <locale.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>

extern char** environ;
#ifdef MTT_SANITIZED
// Of sanitizer/allocator_interface.h, which not every compiler brings with it.
extern "C" size_t __sanitizer_get_current_allocated_bytes();
#endif

namespace mtt {

namespace fs = std::filesystem;

namespace {

/// A line "NAME:  N kB" of /proc/self/status, in bytes.
uint64_t status_bytes(const std::string& name) {
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);) {
        if (line.compare(0, name.size() + 1, name + ":") == 0) {
            return 1024 * std::strtoull(line.c_str() + name.size() + 1, nullptr, 10);
        }
    }
    return 0;
}

std::string rounding() {
    switch (fegetround()) {
        case FE_TONEAREST: return "to nearest";
        case FE_UPWARD: return "upward";
        case FE_DOWNWARD: return "downward";
        default: return "towards zero";
    }
}

/// Microseconds of processor time in each so many, as a control group of version 2 or 1 has it; infinite without a limit.
double share_of(const fs::path& group, bool second) {
    double share = 0.0;
    double period = 0.0;
    if (second) {  // "max 100000" is no number
        std::ifstream(group / "cpu.max") >> share >> period;
    } else {
        std::ifstream(group / "cpu.cfs_quota_us") >> share;  // -1 without a limit
        std::ifstream(group / "cpu.cfs_period_us") >> period;
    }
    return share > 0.0 && period > 0.0 ? share / period : std::numeric_limits<double>::infinity();
}

/// What the control groups of this process allow, each of which is within others.
double allowed_processors() {
    double out = 1e6;
    std::ifstream file("/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {  // NUMBER:CONTROLLER,...:/PATH, without controllers in version 2
        const size_t first = line.find(':');
        const size_t last = first == std::string::npos ? first : line.find(':', first + 1);
        if (last == std::string::npos) {
            continue;
        }
        const std::string controllers = "," + line.substr(first + 1, last - first - 1) + ",";
        const bool second = controllers == ",,";
        if (!second && controllers.find(",cpu,") == std::string::npos) {
            continue;
        }
        const fs::path top = second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
        out = std::min(out, share_of(top, second));
        fs::path group = top;
        for (const auto& part : fs::path(line.substr(last + 1)).relative_path()) {
            out = std::min(out, share_of(group /= part, second));
        }
    }
    return out;
}

std::string text_of(const char* value) { return value == nullptr ? "" : value; }

}  // namespace

uint64_t allocated_bytes() {
#ifdef MTT_SANITIZED  // whose allocator is another
    return __sanitizer_get_current_allocated_bytes();
#endif
    const auto info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

uint64_t resident_bytes() { return status_bytes("VmRSS"); }

uint64_t peak_resident_bytes() { return status_bytes("VmHWM"); }

int usable_cores() {
    int out = 0;
#ifdef __linux__
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        out = CPU_COUNT(&allowed);
    }
#endif
    if (out == 0) {
        out = int(std::thread::hardware_concurrency());
    }
    out = std::min(out, int(allowed_processors()));
    const char* wish = std::getenv("OMP_NUM_THREADS");  // a number, or one for each level of nesting
    if (const int most = wish == nullptr ? 0 : std::atoi(wish); most > 0) {
        out = std::min(out, most);
    }
    return std::max(1, out);
}

bool reset_peak_resident_bytes() {
    std::ofstream file("/proc/self/clear_refs");
    file << "5" << std::flush;
    return bool(file);
}

std::map<std::string, std::string> process_state() {
    std::map<std::string, std::string> out;
    out["rounding mode"] = rounding();
    // Division, so that no compiler knows the result; 0 if the processor flushes denormal numbers.
    volatile double smallest = std::numeric_limits<double>::min();
    volatile double half = 2.0;
    out["denormal numbers"] = smallest / half == 0.0 ? "flushed to zero" : "kept";
    out["floating-point traps"] = std::to_string(fegetexcept());
    out["locale"] = text_of(setlocale(LC_ALL, nullptr));
    const mode_t mask = umask(0);
    umask(mask);
    out["umask"] = std::to_string(mask);
    char* folder = getcwd(nullptr, 0);
    out["working directory"] = text_of(folder);
    std::free(folder);
    for (int number = 1; number < NSIG; ++number) {
        struct sigaction action {};
        if (sigaction(number, nullptr, &action) == 0) {
            const auto handler = reinterpret_cast<uintptr_t>(action.sa_handler);
            out["handler of signal " + std::to_string(number)] =
                handler == 0 ? "default" : (handler == 1 ? "ignored" : "own (" + std::to_string(handler) + ")");
        }
    }
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string text = *entry;
        const size_t equal = text.find('=');
        out["environment variable " + text.substr(0, equal)] =
            equal == std::string::npos ? "" : text.substr(equal + 1);
    }
    return out;
}

FloatExceptions::FloatExceptions() { feclearexcept(FE_ALL_EXCEPT); }

std::string FloatExceptions::raised() const {
    std::string out;
    const std::pair<int, const char*> kinds[] = {
        {FE_DIVBYZERO, "division by zero"}, {FE_INVALID, "invalid operation"}, {FE_OVERFLOW, "overflow"}
    };
    for (const auto& [flag, name] : kinds) {
        if (fetestexcept(flag) != 0) {
            out += (out.empty() ? "" : ", ") + std::string(name);
        }
    }
    return out;
}

}  // namespace mtt
