// Landlock: a process gives up rights on the file system, without privileges and for good. Numbers are written out,
// because the headers of a build machine are often older than the kernel that runs the program.
#include "mtt/isolation/sandbox.hpp"

#ifdef __linux__
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
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
constexpr uint64_t all_writing = 0xfff2;
constexpr uint64_t write_file = 1U << 1;
constexpr uint64_t truncate_file = 1U << 14;

struct Ruleset {
    uint64_t files;
    uint64_t network;  // version 4: bind 0, connect 1
    uint64_t scopes;   // version 6: abstract sockets 0, signals 1
};

struct __attribute__((packed)) Rule {
    uint64_t allowed;
    int32_t folder;
};

uint64_t writing_rights(long version) {
    const uint64_t newest = version >= 5 ? 16 : (version >= 3 ? 15 : (version == 2 ? 14 : 13));
    return all_writing & ((uint64_t(1) << newest) - 1);
}

bool allow(int ruleset, const std::string& path, uint64_t rights) {
    const int folder = open(path.c_str(), O_PATH | O_CLOEXEC);
    if (folder < 0) {
        return false;
    }
    const Rule rule{rights, folder};
    const bool added = syscall(add_rule, ruleset, path_beneath, &rule, 0) == 0;
    close(folder);
    return added;
}

}  // namespace

bool restrict_writing(const std::string& scratch) {
    const long version = syscall(create_ruleset, nullptr, 0, version_flag);
    if (version < 1) {
        return false;
    }
    const uint64_t rights = writing_rights(version);
    const Ruleset wanted{rights, version >= 4 ? 3U : 0U, version >= 6 ? 3U : 0U};
    const size_t size = version >= 6 ? sizeof(Ruleset) : (version >= 4 ? 16 : 8);
    const int ruleset = int(syscall(create_ruleset, &wanted, size, 0));
    if (ruleset < 0) {
        return false;
    }
    const bool allowed = allow(ruleset, scratch, rights) &&
                         allow(ruleset, "/dev/null", rights & (write_file | truncate_file));
    const bool restricted = allowed && syscall(restrict_self, ruleset, 0) == 0;
    close(ruleset);
    return restricted;
}

#else

bool restrict_writing(const std::string&) { return false; }

#endif

}  // namespace mtt::landlock
