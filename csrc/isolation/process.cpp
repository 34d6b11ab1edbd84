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
#include "mtt/isolation/packing.hpp"

extern char** environ;

namespace mtt {

namespace fs = std::filesystem;

namespace {

/// Forces and rows of a million atoms.
constexpr uint64_t longest_frame = uint64_t(256) << 20;
constexpr size_t kept_output = 4096;
/// Read at one go: a process that writes without end must not keep us from looking at the clock.
constexpr int pieces_per_turn = 16;

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

std::mutex& RunningChildren::lock() {
    static std::mutex one;
    return one;
}

std::set<pid_t>& RunningChildren::pids() {
    static std::set<pid_t> all;
    return all;
}

ChildProcess::ChildProcess(const std::vector<std::string>& command) {
    auto words = command;
    auto variables = worker_environment(own_environment());
    const auto arguments = pointers(words);
    const auto environment = pointers(variables);
    const int most_open = most_open_files();
    Pipe in;
    Pipe channel;
    Pipe out;
    const pid_t parent = getpid();
    RunningChildren running;
    pid_ = fork();
    if (pid_ == 0) {
        become(const_cast<char**>(arguments.data()), const_cast<char**>(environment.data()), in.read, channel.write,
               out.write, most_open, parent);
    }
    const int error = errno;
    close_one(in.read);
    close_one(channel.write);
    close_one(out.write);
    input_fd_ = in.write;
    channel_fd_ = channel.read;
    output_fd_ = out.read;
    if (pid_ < 0) {
        close_all();
        throw std::runtime_error(std::string("can not start a process: ") + std::strerror(error));
    }
    running.pids().insert(pid_);
    for (const int fd : {input_fd_, channel_fd_, output_fd_}) {
        fcntl(fd, F_SETFL, O_NONBLOCK);
    }
}

ChildProcess::~ChildProcess() {
    kill();
    close_all();
}

void ChildProcess::close_all() {
    close_one(input_fd_);
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
    // Once it is waited for, its number may be another's.
    RunningChildren running;
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
    running.pids().erase(pid_);
    Ended ended;
    if (ended_pid == pid_) {
        ended.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
        ended.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        ended.peak_memory = uint64_t(usage.ru_maxrss) * 1024;
    }
    ended_ = ended;
}

std::string framed(const std::string& content) {
    const uint64_t size = content.size();
    std::string out(reinterpret_cast<const char*>(&size), sizeof size);
    return out += content;
}

bool read_all(int fd, char* data, size_t size) {
    for (size_t got = 0; got < size;) {
        const ssize_t count = read(fd, data + got, size - got);
        if (count == 0 || (count < 0 && errno != EINTR)) {
            return false;
        }
        got += count > 0 ? size_t(count) : 0;
    }
    return true;
}

bool write_all(int fd, const std::string& bytes) {
    for (size_t sent = 0; sent < bytes.size();) {
        const ssize_t count = write(fd, bytes.data() + sent, bytes.size() - sent);
        if (count < 0 && errno != EINTR) {
            return false;
        }
        sent += count > 0 ? size_t(count) : 0;
    }
    return true;
}

void ChildProcess::send(const std::string& bytes) {
    outgoing_.erase(0, sent_);
    sent_ = 0;
    outgoing_ += bytes;
    write_input();
}

namespace {

/// Without the signal that a reader who has gone away sends to programs, which may not expect it.
ssize_t write_quietly(int fd, const char* data, size_t size) {
    sigset_t pipe_signal;
    sigset_t before;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    const ssize_t count = write(fd, data, size);
    const int error = errno;
    if (count < 0 && error == EPIPE && sigismember(&before, SIGPIPE) == 0) {
        const timespec at_once{0, 0};
        sigtimedwait(&pipe_signal, nullptr, &at_once);
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    errno = error;
    return count;
}

}  // namespace

/// What the pipe takes. A child that has closed it is noticed by its end, or by the clock.
void ChildProcess::write_input() {
    while (input_fd_ >= 0 && sent_ < outgoing_.size()) {
        const ssize_t count = write_quietly(input_fd_, outgoing_.data() + sent_, outgoing_.size() - sent_);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            if (errno != EAGAIN) {
                close_one(input_fd_);
            }
            return;
        }
        sent_ += size_t(count);
    }
}

void ChildProcess::read_channel() {
    static thread_local std::vector<char> piece(size_t(1) << 16);
    for (int k = 0; k < pieces_per_turn && channel_fd_ >= 0; ++k) {
        const ssize_t count = read(channel_fd_, piece.data(), piece.size());
        if (count < 0) {
            return;
        }
        if (count == 0) {
            close_one(channel_fd_);
            return;
        }
        incoming_.append(piece.data(), size_t(count));
        if (size_t(count) < piece.size()) {
            return;
        }
    }
}

std::optional<std::string> ChildProcess::take_frame() {
    uint64_t size = 0;
    if (incoming_.size() < sizeof size) {
        return std::nullopt;
    }
    std::memcpy(&size, incoming_.data(), sizeof size);
    if (size > longest_frame) {
        throw PackingError("a frame longer than any answer");
    }
    if (incoming_.size() - sizeof size < size) {
        return std::nullopt;
    }
    auto out = incoming_.substr(sizeof size, size);
    incoming_.erase(0, sizeof size + size);
    return out;
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

std::optional<std::string> ChildProcess::next_frame(double seconds) {
    if (auto frame = take_frame()) {
        return frame;
    }
    pollfd wanted[3] = {
        {channel_fd_, POLLIN, 0}, {output_fd_, POLLIN, 0},
        {sent_ < outgoing_.size() ? input_fd_ : -1, POLLOUT, 0},
    };
    if (!ended_.has_value()) {
        poll(wanted, 3, std::max(0, int(seconds * 1000)));
    }
    if ((wanted[2].revents) != 0) {
        write_input();
    }
    // While answers come there is no need to ask the system for more than the next one.
    if ((wanted[0].revents & POLLIN) != 0) {
        read_channel();
        if (auto frame = take_frame()) {
            return frame;
        }
    }
    // Looked at before reading: what it wrote before its end is then there to be read.
    reap(false);
    read_channel();
    read_output();
    return take_frame();
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

}  // namespace mtt
