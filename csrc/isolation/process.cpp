#include "mtt/isolation/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "mtt/isolation/environment.hpp"

extern char** environ;

namespace mtt {

namespace fs = std::filesystem;

namespace {

constexpr size_t longest_line = size_t(64) << 20;
constexpr size_t kept_output = 4096;
/// Read at one go: a process that writes without end must not keep us from looking at the clock.
constexpr int pieces_per_turn = 16;
constexpr int channel_number = 3;

struct Pipe {
    int read = -1;
    int write = -1;
    Pipe() {
        int ends[2];
        if (pipe(ends) != 0) {
            throw std::runtime_error(std::string("can not make a pipe: ") + std::strerror(errno));
        }
        read = ends[0];
        write = ends[1];
        for (const int end : ends) {
            fcntl(end, F_SETFD, FD_CLOEXEC);
        }
    }
};

void close_one(int& fd) {
    if (fd >= 0) {
        close(fd);
    }
    fd = -1;
}

std::vector<std::string> own_environment() {
    std::vector<std::string> out;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        out.emplace_back(*entry);
    }
    return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (auto& text : texts) {
        out.push_back(text.data());
    }
    out.push_back(nullptr);
    return out;
}

/// Ends with the process that started it. The kernel does not look back: that one may be gone already.
void die_with(pid_t parent) {
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(127);
    }
#else
    (void)parent;
#endif
}

void close_from(int first, int most_open) {
#ifdef __linux__
    constexpr long close_range_number = 436;  // missing from older headers, and from kernels before 5.9
    if (syscall(close_range_number, first, ~0U, 0) == 0) {
        return;
    }
#endif
    for (int fd = first; fd < most_open; ++fd) {
        close(fd);
    }
}

/// After fork: only what is safe there. Standard descriptors and the channel are put in place, all others closed.
[[noreturn]] void become(char** command, char** environment, int input, int channel, int output, int most_open,
                         pid_t parent) {
    die_with(parent);
    setsid();  // no terminal, and a group of its own
    // Out of the way first: an end may already have one of the numbers wanted.
    input = fcntl(input, F_DUPFD, 10);
    channel = fcntl(channel, F_DUPFD, 10);
    output = fcntl(output, F_DUPFD, 10);
    dup2(input, 0);
    dup2(output, 1);
    dup2(output, 2);
    dup2(channel, channel_number);
    close_from(channel_number + 1, most_open);
    // Signals that the parent ignores or blocks are not to be inherited.
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    execve(command[0], command, environment);
    _exit(127);
}

int most_open_files() {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    return int(std::min<rlim_t>(limit.rlim_cur, 65536));
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& command, const std::string& input) {
    auto words = command;
    auto variables = worker_environment(own_environment());
    const auto arguments = pointers(words);
    const auto environment = pointers(variables);
    const int most_open = most_open_files();
    Pipe in;
    Pipe channel;
    Pipe out;
    // Before there is a reader, so that it can not have gone away; the pipe holds this much.
    fcntl(in.write, F_SETFL, O_NONBLOCK);
    if (write(in.write, input.data(), input.size()) != ssize_t(input.size())) {
        for (int fd : {in.read, in.write, channel.read, channel.write, out.read, out.write}) {
            close_one(fd);
        }
        throw std::runtime_error("the options are too long");
    }
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ == 0) {
        become(const_cast<char**>(arguments.data()), const_cast<char**>(environment.data()), in.read, channel.write,
               out.write, most_open, parent);
    }
    const int error = errno;
    close_one(in.read);
    close_one(in.write);
    close_one(channel.write);
    close_one(out.write);
    channel_fd_ = channel.read;
    output_fd_ = out.read;
    if (pid_ < 0) {
        close_all();
        throw std::runtime_error(std::string("can not start a process: ") + std::strerror(error));
    }
    for (const int fd : {channel_fd_, output_fd_}) {
        fcntl(fd, F_SETFL, O_NONBLOCK);
    }
}

ChildProcess::~ChildProcess() {
    kill();
    close_all();
}

void ChildProcess::close_all() {
    close_one(channel_fd_);
    close_one(output_fd_);
}

void ChildProcess::kill() {
    if (!ended_.has_value()) {
        ::kill(-pid_, SIGKILL);
        ::kill(pid_, SIGKILL);
        reap(true);
    }
}

void ChildProcess::reap(bool wait) {
    if (ended_.has_value()) {
        return;
    }
    int status = 0;
    rusage usage{};
    pid_t ended_pid = 0;
    do {
        ended_pid = wait4(pid_, &status, wait ? 0 : WNOHANG, &usage);
    } while (ended_pid < 0 && errno == EINTR);
    if (ended_pid == 0) {
        return;
    }
    ::kill(-pid_, SIGKILL);  // whatever it left in its group
    Ended ended;
    if (ended_pid == pid_) {
        ended.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
        ended.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        ended.peak_memory = uint64_t(usage.ru_maxrss) * 1024;
    }
    ended_ = ended;
}

void ChildProcess::read_channel() {
    std::vector<char> piece(size_t(1) << 16);
    for (int k = 0; k < pieces_per_turn && channel_fd_ >= 0; ++k) {
        const ssize_t count = read(channel_fd_, piece.data(), piece.size());
        if (count < 0) {
            return;
        }
        if (count == 0) {
            close_one(channel_fd_);
            return;
        }
        partial_.append(piece.data(), size_t(count));
        size_t start = 0;
        for (size_t end = partial_.find('\n'); end != std::string::npos; end = partial_.find('\n', start)) {
            lines_.push_back(partial_.substr(start, end - start));
            start = end + 1;
        }
        partial_.erase(0, start);
        if (partial_.size() > longest_line) {
            lines_.push_back(std::move(partial_));
            partial_.clear();
        }
    }
}

void ChildProcess::read_output() {
    std::vector<char> piece(size_t(1) << 16);
    for (int k = 0; k < pieces_per_turn && output_fd_ >= 0; ++k) {
        const ssize_t count = read(output_fd_, piece.data(), piece.size());
        if (count < 0) {
            return;
        }
        if (count == 0) {
            close_one(output_fd_);
            return;
        }
        output_.append(piece.data(), size_t(count));
        if (output_.size() > kept_output) {
            output_.erase(0, output_.size() - kept_output);
        }
    }
}

std::optional<std::string> ChildProcess::next_line(double seconds) {
    if (lines_.empty()) {
        pollfd wanted[2] = {{channel_fd_, POLLIN, 0}, {output_fd_, POLLIN, 0}};
        if (!ended_.has_value()) {
            poll(wanted, 2, std::max(0, int(seconds * 1000)));
        }
        // Looked at before reading: what it wrote before its end is then there to be read.
        reap(false);
        read_channel();
        read_output();
        // Someone else may hold the other end open, so an end is the end of the process.
        if (ended_.has_value() && lines_.empty()) {
            if (!partial_.empty()) {
                lines_.push_back(std::move(partial_));
                partial_.clear();
            }
        }
    }
    if (lines_.empty()) {
        return std::nullopt;
    }
    std::string out = std::move(lines_.front());
    lines_.pop_front();
    return out;
}

Usage ChildProcess::usage() const {
    constexpr uint64_t kernel_memory_of_thread = uint64_t(32) << 10;
    Usage out;
    std::ifstream file("/proc/" + std::to_string(pid_) + "/status");
    for (std::string line; std::getline(file, line);) {
        const size_t colon = line.find(':');
        const std::string name = line.substr(0, colon);
        const uint64_t number = colon == std::string::npos ? 0 : std::strtoull(line.c_str() + colon + 1, nullptr, 10);
        if (name == "RssAnon" || name == "RssShmem" || name == "VmSwap" || name == "VmPTE") {
            out.memory += number * 1024;
        } else if (name == "Threads") {
            out.threads = number;
        }
    }
    out.memory += out.threads * kernel_memory_of_thread;
    return out;
}

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

void kill_leftovers() {
#ifdef __linux__
    const std::string self = std::to_string(getpid());
    // Each round kills those whose parents died in the last one.
    for (int round = 0; round < 1000; ++round) {
        bool any = false;
        std::error_code ignored;
        for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
            const std::string pid = entry.path().filename().string();
            if (pid.find_first_not_of("0123456789") != std::string::npos) {
                continue;
            }
            std::string stat;
            std::getline(std::ifstream(entry.path() / "stat"), stat);
            // "PID (NAME) STATE PARENT ...", where NAME may hold anything.
            const size_t name_end = stat.rfind(')');
            if (name_end != std::string::npos && stat.compare(name_end + 3, self.size() + 2, " " + self + " ") == 0) {
                any = true;
                kill(pid_t(std::stol(pid)), SIGKILL);
            }
        }
        if (!any) {
            return;
        }
        while (waitpid(-1, nullptr, WNOHANG) > 0) {
        }
        usleep(1000);
    }
#endif
}

}  // namespace mtt
