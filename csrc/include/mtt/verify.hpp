// From a file to a report.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "mtt/export.hpp"
#include "mtt/report.hpp"

namespace mtt {

struct VerifyOptions {
    std::string path;
    std::optional<std::string> extensions;
    /// Operators beside those on the list, which the caller vouches for; the report says so.
    std::vector<std::string> allowed_operators;
    Level level = Level::full;
    /// Uses or engines that the exit code judges, and for which checks run; empty: all that run MD.
    std::vector<std::string> judged;
    /// Variant of the energy to check ("pbe" of "energy/pbe"); empty: all.
    std::string variant;
    /// Units of a model that declares none.
    std::string length_unit;
    std::string energy_unit;
    /// Families or checks ("FD" or "FD/virial") to run; empty: all.
    std::vector<std::string> only;
    /// Those not to run; the report says so.
    std::vector<Waiver> waivers;
    /// Failures that are known and accepted; their checks run.
    std::vector<ExpectedFailure> expected;
    /// Largest change of energy (meV per atom) and forces (meV/angstrom) under rotation; empty: report only.
    std::optional<double> max_rotation_error;
    /// A reference of another machine or version to compare with.
    std::optional<std::string> against;
    /// Make such a reference: Report::recorded.
    bool record = false;
    /// Of the noise on the check systems and the order in which they come; 0: none, and the order of the file.
    std::optional<uint64_t> seed;
    /// 0: what libtorch chooses.
    int threads = 0;
    /// Supervised runs only: in how many processes the model runs at a time, 1 or 2; 0: two where two cores may be used.
    int processes = 0;
    /// Seconds for one check; 0: as the level asks. Used by supervised runs only, as is the next.
    double time_limit = 0.0;
    /// Bytes; 0: chosen by the memory of the machine.
    uint64_t memory_limit = 0;
    /// Supervised runs only: do not run the model where nothing keeps it from the user's files.
    bool require_sandbox = true;
    /// Called before each check with its family and name.
    std::function<void(const std::string&, const std::string&)> progress;
};

/// Runs the checks in this process. An exception inside a check is a failed result; what kills a process, kills this.
/// @throws std::invalid_argument for a family, check or engine that does not exist, std::runtime_error if the file
///     cannot be opened
MTT_EXPORT Report verify(const VerifyOptions& options);

}  // namespace mtt
