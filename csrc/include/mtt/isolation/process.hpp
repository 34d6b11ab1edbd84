// A child process that may do anything: read from without trusting it, bounded in time and memory, and ended for good.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <sys/types.h>

namespace mtt {

/// Descriptor on which a child answers.
inline constexpr int channel_number = 3;

/// `content` after its length in eight bytes, as both ends write it.
std::string framed(const std::string& content);

/// All of `size` bytes; false at the end of the input or for an error.
bool read_all(int fd, char* data, size_t size);
/// False for an error, which errno names.
bool write_all(int fd, const std::string& bytes);

/// How a process ended.
struct Ended {
    int exit_code = 0;
    /// 0: it ended by itself.
    int signal = 0;
    /// Largest resident memory in bytes.
    uint64_t peak_memory = 0;
};

struct Usage {
    /// Bytes that no other process holds, with page tables and what the kernel keeps for threads.
    uint64_t memory = 0;
    uint64_t threads = 0;
};

class ChildProcess {
public:
    /// Starts `command` in a session of its own, with a pipe on standard input, a channel for frames on descriptor 3 and
    /// nothing else open, and the environment of a worker. It ends when this process does.
    /// @throws std::runtime_error if the system can not start it
    explicit ChildProcess(const std::vector<std::string>& command);
    /// Kills what still runs.
    ~ChildProcess();
    ChildProcess(const ChildProcess&) = delete;
    ChildProcess& operator=(const ChildProcess&) = delete;

    /// Puts bytes into the queue for its standard input; they go there while `next_frame` waits.
    void send(const std::string& bytes);
    /// Waits for a frame, an end or `seconds`, whatever comes first.
    /// @throws PackingError for a frame longer than any answer
    std::optional<std::string> next_frame(double seconds);
    /// True once it has ended and every frame has been read.
    [[nodiscard]] bool finished() const { return ended_.has_value(); }
    [[nodiscard]] const Ended& ended() const { return *ended_; }
    /// The last kilobytes of what it wrote on standard output and standard error.
    [[nodiscard]] const std::string& output() const { return output_; }
    /// Now.
    [[nodiscard]] Usage usage() const;
    void kill();

private:
    std::optional<std::string> take_frame();
    void write_input();
    void read_channel();
    void read_output();
    void reap(bool wait);
    void close_all();

    pid_t pid_ = -1;
    int input_fd_ = -1;
    int channel_fd_ = -1;
    int output_fd_ = -1;
    std::string outgoing_;
    size_t sent_ = 0;
    std::string incoming_;
    std::string output_;
    std::optional<Ended> ended_;
};

/// Numbers of the `ChildProcess`es that run. While the object is there, no other thread starts one or kills leftovers.
class RunningChildren {
public:
    std::set<pid_t>& pids();

private:
    std::lock_guard<std::mutex> guard_{lock()};
    static std::mutex& lock();
};

/// Ends this program (SIGTERM) when the process that started it is gone, if its number is in MTT_VERIFY_CALLER.
void end_with_caller();
/// Kills every child of this process that is left, also those inherited from children that have died, but for
/// `ChildProcess`es that still run. For programs that have no other children.
void kill_leftovers();
/// Children of children become ours when their parents die, so that `kill_leftovers` finds them.
void adopt_orphans();
/// Processes of the same user can not look into the memory of this one any more, nor trace it.
void close_to_others();

}  // namespace mtt
