// What the operating system and the processor know about this process. No torch here.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace mtt {

/// Bytes that malloc has given out and not got back. Unlike resident memory it does not depend on what the allocator
/// keeps for later, so a leak of a few bytes per call shows.
uint64_t allocated_bytes();
uint64_t resident_bytes();
/// Largest resident memory since the start, or since the last successful reset.
uint64_t peak_resident_bytes();
/// False where the kernel does not allow it.
bool reset_peak_resident_bytes();

/// Cores that this process may use at a time, at least 1: by affinity, control group and OMP_NUM_THREADS.
int usable_cores();

/// Settings that an engine shares with the model, in words: floating point, locale, signals, folder, environment.
std::map<std::string, std::string> process_state();

/// What would stop an engine that traps floating-point exceptions (feenableexcept): the flags raised in this thread
/// since the object was made.
class FloatExceptions {
public:
    FloatExceptions();
    /// Empty, or for example "division by zero, overflow".
    [[nodiscard]] std::string raised() const;
};

}  // namespace mtt
