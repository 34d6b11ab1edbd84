// What one check found.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mtt/export.hpp"

namespace mtt {

enum class Status { pass, fail, skip, waived };
enum class Level { quick, full, soak };
/// What a failure means to those who use the model, worst first.
enum class Severity {
    wrong,    ///< a simulation runs, with wrong numbers
    stops,    ///< a simulation ends in the middle
    refuses,  ///< the engine does not start with it
    costs,    ///< right, but slower or larger than need be
    cosmetic  ///< right, but hard to understand
};

/// One point of a plot that belongs to a result, for example reference and value of one force component.
struct Point {
    double x = 0.0;
    double y = 0.0;
    std::string label;
};

struct Result {
    std::string name;
    /// What it is about, where a model has more than one target.
    std::string target;
    Status status = Status::pass;
    std::optional<double> measured;
    std::optional<double> tolerance;
    std::string unit;
    /// For a failure: what an engine would do wrong. For a skip or a waiver: why.
    std::string message;
    /// The rest of the message, where it is more than a line: the traceback of an exception.
    std::string details;
    /// What was tried, and what of it failed.
    std::vector<std::string> systems;
    std::vector<std::string> failing;
    /// Of a failure; empty: that of its check.
    std::optional<Severity> severity;
    /// Uses or engines that it matters to, as `--for` takes them; empty: those of its check.
    std::vector<std::string> matters;
    /// The circumstances under which alone it fails, in a few words: "a rank has no atoms". Empty: always.
    std::string unless;
    /// Kinds of the systems that failed, as kind_of() names them; empty if nobody knows.
    std::vector<std::string> kinds;
    /// Key of the cause, in findings.cpp, where the check knows it. Results with one key are one finding.
    std::string cause;
    /// What the exception said, where there was one. Equal errors are one finding.
    std::string error;
    /// Why an expected failure is accepted.
    std::string waived_because;
    double seconds = 0.0;
    /// For plots, where there is something to plot; a thousand points at most.
    std::vector<Point> series;

    /// The same, as a failure of that severity.
    [[nodiscard]] Result as(Severity how) &&;
    /// The same, for these uses or engines only.
    [[nodiscard]] Result only(std::vector<std::string> whom) &&;
    /// The same, under these circumstances only.
    [[nodiscard]] Result when(std::string circumstances) &&;
    /// The same, with this cause.
    [[nodiscard]] Result because(std::string key) &&;
};

/// "quick", "full" and "soak".
MTT_EXPORT const char* name_of(Level level);
MTT_EXPORT const char* name_of(Status status);
/// "wrong numbers", "stops", "refuses", "costs" and "cosmetic".
MTT_EXPORT const char* name_of(Severity severity);

}  // namespace mtt
