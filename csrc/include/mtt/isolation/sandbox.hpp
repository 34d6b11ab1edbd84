// What the process that runs a stranger's model may do to the machine: compute, and read what it computes with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mtt/report.hpp"

namespace mtt {

struct SandboxLimits {
    /// Bytes of memory; a request that goes far beyond fails. 0: no limit.
    uint64_t memory = 0;
    /// Seconds of processor time; 0: no limit.
    uint64_t cpu_seconds = 0;
    /// What may be read besides libraries and the state of the machine: the model, its extensions, a reference.
    std::vector<std::string> readable;
    /// Means not to use ("landlock", "seccomp", "limits"), to try what is left on kernels without them. "landlock3" is
    /// a kernel whose Landlock is older than version 3.
    std::vector<std::string> without;
};

/// Applied once, by a process with one thread, for good. What the kernel refuses is left out and said in the notes.
Isolation enter_sandbox(const SandboxLimits& limits);

/// The note of `isolation` that a user must see even if no report is read, or an empty text: part of the sandbox, or
/// all of it, is missing here.
std::string weakness(const Isolation& isolation);

namespace landlock {
/// Version that the kernel offers, or the older one that `without` plays; 0: none.
long version(const std::vector<std::string>& without);
/// From the first version that keeps files from being emptied (O_TRUNC with O_RDONLY), which is a way to write.
inline constexpr long against_all_writing = 3;
/// From here on files and folders below `readable` can be read, nothing else, and nothing can be written, created or
/// removed (but see `against_all_writing`). False: the kernel can not do it.
bool restrict_files(long version, const std::vector<std::string>& readable);
}  // namespace landlock

namespace seccomp {
/// Allows what a computation needs, and refuses every other system call: files are not opened for writing, threads are
/// the only new processes, and no call that can reach another process or the network is left.
/// @return false: the kernel can not do it
bool install();
}  // namespace seccomp

}  // namespace mtt
