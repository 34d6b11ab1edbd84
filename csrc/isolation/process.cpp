#include "mtt/isolation/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

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

std::vector<std::string> environment_with(const std::string& folder) {
    std::vector<std::string> out = {"HOME=" + folder, "TMPDIR=" + folder};
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string text = *entry;
        if (text.rfind("HOME=", 0) != 0 && text.rfind("TMPDIR=", 0) != 0) {
            out.push_back(text);
        }
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

/// After fork: only what is safe there. Standard descriptors and the channel are put in place, all others closed.
[[noreturn]] void become(char** command, char** environment, int input, int channel, int output, int most_open) {
    setsid();  // no terminal, and a group of its own
    // Out of the way first: an end may already have one of the numbers wanted.
    input = fcntl(input, F_DUPFD, 10);
    channel = fcntl(channel, F_DUPFD, 10);
    output = fcntl(output, F_DUPFD, 10);
    dup2(input, 0);
    dup2(output, 1);
    dup2(output, 2);
    dup2(channel, channel_number);
    for (int fd = channel_number + 1; fd < most_open; ++fd) {
        close(fd);
    }
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

/// Takes away what is in the way of removing: a model may make folders that nobody may look into.
void open_up(const fs::path& folder) {
    std::error_code ignored;
    fs::permissions(folder, fs::perms::owner_all, fs::perm_options::add, ignored);
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
        if (entry.is_directory(ignored) && !entry.is_symlink(ignored)) {
            open_up(entry.path());
        }
    }
}

}  // namespace

ScratchFolder::ScratchFolder() {
    std::error_code none;
    const auto parent = fs::temp_directory_path(none);
    std::string name = ((none ? fs::path("/tmp") : parent) / "mtt-verify-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
        throw std::runtime_error("can not make a folder in '" + fs::path(name).parent_path().string() + "' (TMPDIR)");
    }
    path_ = name;
}

ScratchFolder::~ScratchFolder() {
    std::error_code error;
    fs::remove_all(path_, error);
    if (error) {
        open_up(path_);
        fs::remove_all(path_, error);
    }
}

ChildProcess::ChildProcess(
    const std::vector<std::string>& command, const std::string& folder
) {
    auto words = command;
    auto variables = environment_with(folder);
    const auto arguments = pointers(words);
    const auto environment = pointers(variables);
    const int most_open = most_open_files();
    Pipe in;
    Pipe channel;
    Pipe out;
    pid_ = fork();
    if (pid_ == 0) {
        become(const_cast<char**>(arguments.data()), const_cast<char**>(environment.data()), in.read, channel.write,
               out.write, most_open);
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

std::string framed(const std::string& content) {
    const uint64_t size = content.size();
    std::string out(reinterpret_cast<const char*>(&size), sizeof size);
    return out += content;
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

uint64_t ChildProcess::memory() const {
    uint64_t kilobytes = 0;
    std::ifstream file("/proc/" + std::to_string(pid_) + "/status");
    for (std::string line; std::getline(file, line);) {
        if (line.rfind("RssAnon:", 0) == 0 || line.rfind("RssShmem:", 0) == 0 || line.rfind("VmSwap:", 0) == 0) {
            kilobytes += std::strtoull(line.c_str() + line.find(':') + 1, nullptr, 10);
        }
    }
    return kilobytes * 1024;
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
