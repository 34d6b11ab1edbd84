// What the sandbox is made of. What it keeps a model from is tried from outside: tests/verify/test_sandbox.py.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "mtt/isolation/libraries.hpp"
#include "mtt/isolation/sandbox.hpp"
#include "testing.hpp"

using namespace mtt;

namespace {

/// What `deed` returns in a process of its own, since a sandbox is for good; -1: it died.
int in_child(const std::function<int()>& deed) {
    const pid_t child = fork();
    if (child == 0) {
        _exit(deed());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool contains(const std::vector<std::string>& paths, const std::string& path) {
    return std::find(paths.begin(), paths.end(), path) != paths.end();
}

bool can_open(const std::string& path) { return open(path.c_str(), O_RDONLY) >= 0; }

}  // namespace

TEST("a folder counts as one of libraries by its name only") {
    for (const char* folder : {"/usr/lib/x86_64-linux-gnu", "/lib64", "/some/env/lib", "/of/me/env/lib64",
                               "/of/me/env/site-packages/numpy.libs"}) {
        if (!holds_libraries(folder)) {
            testing::fail(__FILE__, __LINE__, folder);
        }
    }
    for (const char* folder : {"", "/", "/of/me", "/of/me/build", "/var/lib/runner", "/of/me/.libs", "/tmp",
                               "/usr", "/usr/library"}) {
        if (holds_libraries(folder)) {
            testing::fail(__FILE__, __LINE__, folder);
        }
    }
}

TEST("libraries are found where this program has them") {
    const auto paths = library_paths();
    CHECK(contains(paths, "/etc/ld.so.cache"));
    CHECK(std::any_of(paths.begin(), paths.end(), [](const std::string& path) {
        return path.find("libtorch_cpu") != std::string::npos;
    }));
    CHECK(std::all_of(paths.begin(), paths.end(), [](const std::string& path) { return path[0] == '/'; }));
    CHECK(!contains(paths, "/") && !contains(paths, "/etc"));
}

TEST("a kernel with an older Landlock can be played, a newer one not") {
    const long here = landlock::version({});
    CHECK(landlock::version({"landlock"}) == 0);
    CHECK(landlock::version({"seccomp", "landlock3"}) == std::min(here, 2L));
    CHECK(landlock::version({"landlock99"}) == here);
    CHECK(landlock::version({"landlock0"}) == 0 && landlock::version({"landlock-5"}) == 0);
}

TEST("what is named can be read, and nothing beside it") {
    if (landlock::version({}) < 1) {
        return;
    }
    CHECK(in_child([] {
        SandboxLimits limits;
        limits.readable = {"/etc/passwd", "/no/such/file"};
        const auto isolation = enter_sandbox(limits);
        const bool right = isolation.protects && weakness(isolation).empty();
        return right && can_open("/etc/passwd") && !can_open("/etc/group") && can_open("/proc/self/status") ? 0 : 1;
    }) == 0);
}

TEST("threads that run before the sandbox is there are told, since Landlock does not reach them") {
    CHECK(in_child([] {
        std::thread([] { std::this_thread::sleep_for(std::chrono::hours(1)); }).detach();
        const auto isolation = enter_sandbox({});
        const auto& notes = isolation.notes;
        const bool told = std::any_of(notes.begin(), notes.end(), [](const std::string& note) {
            return note.find("threads ran before") == 0;
        });
        return told && !weakness(isolation).empty() && isolation.filesystem.find("Landlock") == std::string::npos ? 0 : 1;
    }) == 0);
}

TEST("the filter holds for threads that run already") {
    CHECK(in_child([] {
        int refused = -1;
        std::atomic<bool> entered{false};
        std::thread other([&] {
            while (!entered) {
                std::this_thread::yield();
            }
            refused = open("/dev/null", O_WRONLY) < 0 ? 1 : 0;
        });
        enter_sandbox({});
        entered = true;
        other.join();
        return refused == 1 ? 0 : 1;
    }) == 0);
}
