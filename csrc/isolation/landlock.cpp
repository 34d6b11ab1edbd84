// Landlock: a process gives up rights on the file system, without privileges and for good. Numbers are written out,
// because the headers of a build machine are often older than the kernel that runs the program.
#include "mtt/isolation/sandbox.hpp"

#include <algorithm>
#include <cstdlib>

#ifdef __linux__
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace mtt::landlock {

#ifdef __linux__

namespace {

constexpr long create_ruleset = 444;
constexpr long add_rule = 445;
constexpr long restrict_self = 446;
constexpr uint32_t version_flag = 1;
constexpr int path_beneath = 1;

// Bits of `files`: execute 0, write 1, read 2, read folder 3, remove folder 4 and file 5, make ... 6 to 12,
// refer 13 (version 2), truncate 14 (version 3), device ioctl 15 (version 5).
constexpr uint64_t read_file = 1U << 2;
constexpr uint64_t read_folder = 1U << 3;

struct Ruleset {
    uint64_t files;
    uint64_t network;  // version 4: bind 0, connect 1
    uint64_t scopes;   // version 6: abstract sockets 0, signals 1
};

struct __attribute__((packed)) Rule {
    uint64_t allowed;
    int32_t path;
};

uint64_t all_rights(long version) {
    const uint64_t count = version >= 5 ? 16 : (version >= 3 ? 15 : (version == 2 ? 14 : 13));
    return (uint64_t(1) << count) - 1;
}

/// What is not there needs no rule, and what can have none (a pipe) is not to be read again.
void allow_reading(int ruleset, int path) {
    struct stat info {};
    if (path >= 0 && fstat(path, &info) == 0) {
        const Rule rule{S_ISDIR(info.st_mode) ? read_file | read_folder : read_file, path};
        syscall(add_rule, ruleset, path_beneath, &rule, 0);
    }
}

}  // namespace

long version(const std::vector<std::string>& without) {
    long out = std::max(0L, long(syscall(create_ruleset, nullptr, 0, version_flag)));
    for (const auto& mean : without) {
        const std::string name = "landlock";
        if (mean.compare(0, name.size(), name) == 0) {
            const long missing = std::max(1L, std::atol(mean.c_str() + name.size()));
            out = std::min(out, missing - 1);
        }
    }
    return out;
}

bool restrict_files(long version, const std::vector<std::string>& readable) {
    if (version < 1) {
        return false;
    }
    const Ruleset wanted{all_rights(version), version >= 4 ? 3U : 0U, version >= 6 ? 3U : 0U};
    const size_t size = version >= 6 ? sizeof(Ruleset) : (version >= 4 ? 16 : 8);
    const int ruleset = int(syscall(create_ruleset, &wanted, size, 0));
    if (ruleset < 0) {
        return false;
    }
    for (const auto& name : readable) {
        const int path = open(name.c_str(), O_PATH | O_CLOEXEC);
        allow_reading(ruleset, path);
        close(path);
    }
    // What the kernel tells of this process. These descriptors stay open: were an entry dropped from memory and made
    // anew, the rule would not hold for the new one.
    for (const char* name : {"environ", "maps", "stat", "statm", "status"}) {
        allow_reading(ruleset, open((std::string("/proc/self/") + name).c_str(), O_PATH | O_CLOEXEC));
    }
    const bool restricted = syscall(restrict_self, ruleset, 0) == 0;
    close(ruleset);
    return restricted;
}

#else

long version(const std::vector<std::string>&) { return 0; }
bool restrict_files(long, const std::vector<std::string>&) { return false; }

#endif

}  // namespace mtt::landlock
